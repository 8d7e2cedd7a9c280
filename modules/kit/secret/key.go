package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// KeySize is the number of bytes in a key.
const KeySize = 32

// Errors of keys and sealed boxes.
var (
	ErrKey  = errors.New("a key is 32 random bytes in base64 or hexadecimal (make one with: openssl rand -base64 32)")
	ErrOpen = errors.New("sealed with another key, for another place, or damaged")
)

// Key seals bytes with AES-256-GCM. It cannot be printed. The zero value is no key: it neither seals nor opens.
type Key struct {
	aead cipher.AEAD
	raw  *[KeySize]byte
}

// NewKey makes a random key.
func NewKey() Key {
	var raw [KeySize]byte
	_, _ = rand.Read(raw[:]) // never fails: the runtime ends the process instead
	return keyOf(raw)
}

// ParseKey reads 32 bytes written in base64 (standard or URL alphabet, padded or not) or hexadecimal.
func ParseKey(text string) (Key, error) {
	text = strings.TrimSpace(text)
	if b, err := hex.DecodeString(text); err == nil && len(b) == KeySize {
		return keyOf([KeySize]byte(b)), nil
	}
	plain := strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(text), "=")
	b, err := base64.RawStdEncoding.DecodeString(plain)
	if err != nil || len(b) != KeySize {
		return Key{}, ErrKey
	}
	return keyOf([KeySize]byte(b)), nil
}

// KeyFromBytes makes a key of exactly 32 bytes.
func KeyFromBytes(b []byte) (Key, error) {
	if len(b) != KeySize {
		return Key{}, ErrKey
	}
	return keyOf([KeySize]byte(b)), nil
}

func keyOf(raw [KeySize]byte) Key {
	block, err := aes.NewCipher(raw[:])
	if err != nil {
		panic(err) // 32 bytes are always an AES-256 key
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // AES always has the block size that GCM needs
	}
	return Key{aead, &raw}
}

// IsZero reports whether there is no key.
func (k Key) IsZero() bool { return k.raw == nil }

// Reveal is the key in base64, for the file or the box it is kept in.
func (k Key) Reveal() string {
	if k.IsZero() {
		return ""
	}
	return base64.StdEncoding.EncodeToString(k.raw[:])
}

// Seal encrypts plain. place says what the box is for (table, row, column); a box opens only for the same place, so that
// nobody who can write to the database moves it elsewhere. One key may seal 2^32 boxes.
func (k Key) Seal(plain []byte, place string) []byte {
	return k.aead.Seal(nil, nil, plain, []byte(place))
}

// Open decrypts what Seal made for the same place, or fails with ErrOpen.
func (k Key) Open(box []byte, place string) ([]byte, error) {
	if k.IsZero() {
		return nil, ErrOpen
	}
	plain, err := k.aead.Open(nil, nil, box, []byte(place))
	if err != nil {
		return nil, ErrOpen
	}
	return plain, nil
}

// Format writes the redacted form whatever the verb is.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Redacted) }

// LogValue is the redacted form, for slog.
func (k Key) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalText is the redacted form; JSON and YAML use it too.
func (k Key) MarshalText() ([]byte, error) { return []byte(Redacted), nil }
