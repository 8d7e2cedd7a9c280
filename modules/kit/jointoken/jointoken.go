// Package jointoken is the text that lets one server join once: a secret for the manager, and the fingerprint of the
// authority for the server, so that each proves itself to the other over a connection that nobody vouches for.
//
//	pandu1.<base64url of 32 random bytes>.<hex SHA-256 of the CA certificate>
//
// It knows nothing of expiry or of who may use a token: that is the business of whoever keeps the hash.
package jointoken

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"log/slog"
	"strings"
)

const prefix = "pandu1"

// ErrFormat says that a text is no join token. It does not repeat the text, which may be a secret with a typing error.
var ErrFormat = errors.New("not a join token: expected pandu1.SECRET.FINGERPRINT")

// Token is a parsed join token. It prints itself without its secret; Encode gives the whole text.
type Token struct {
	secret      [32]byte
	Fingerprint [sha256.Size]byte // of the CA certificate's DER form
}

// New makes a token with a fresh secret for the authority with this fingerprint.
func New(fingerprint [sha256.Size]byte) Token {
	t := Token{Fingerprint: fingerprint}
	_, _ = rand.Read(t.secret[:]) // never fails: the runtime ends the process instead
	return t
}

// Parse reads a token; white space around it is allowed, nothing else is forgiven. The error is ErrFormat.
func Parse(text string) (Token, error) {
	var t Token
	parts := strings.Split(strings.TrimSpace(text), ".")
	if len(parts) != 3 || parts[0] != prefix {
		return t, ErrFormat
	}
	secret, err := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	if err != nil || len(secret) != len(t.secret) || strings.ContainsAny(parts[1], "\r\n") {
		return t, ErrFormat
	}
	fingerprint, err := hex.DecodeString(parts[2])
	if err != nil || len(fingerprint) != len(t.Fingerprint) || strings.ToLower(parts[2]) != parts[2] {
		return t, ErrFormat
	}
	copy(t.secret[:], secret)
	copy(t.Fingerprint[:], fingerprint)
	return t, nil
}

// Encode is the whole text, with the secret.
func (t Token) Encode() string {
	return prefix + "." + base64.RawURLEncoding.EncodeToString(t.secret[:]) + "." + hex.EncodeToString(t.Fingerprint[:])
}

// Hash is what is kept at rest instead of the token. The secret has 256 random bits, so a plain SHA-256 is enough.
func (t Token) Hash() []byte {
	sum := sha256.Sum256(t.secret[:])
	return sum[:]
}

// String hides the secret.
func (t Token) String() string {
	return prefix + ".hidden." + hex.EncodeToString(t.Fingerprint[:])
}

// GoString hides the secret from %#v.
func (t Token) GoString() string { return t.String() }

// LogValue hides the secret from logs.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }
