package identity

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"pandu/modules/kit/fault"
	"pandu/modules/kit/secret"
)

// What a key is for.
const (
	purposeCheck  = "check"  // a known text, to recognise the wrong master key
	purposeData   = "data"   // seals secrets at rest, one per organization
	purposeDigest = "digest" // fingerprints, one per organization, never rotated
	purposeJWT    = "jwt"    // Ed25519 seed that signs tokens
	purposeCA     = "ca"     // the authority of agents: private key; its certificate is public
)

const (
	keySize     = 32
	sealVersion = 1 // first byte of everything sealed
	sealHeader  = 17
)

// errUnreadable never says which part did not fit.
var errUnreadable = errors.New("sealed value cannot be opened")

// keyring wraps keys with the master key and remembers the unwrapped ones, which never change.
type keyring struct {
	wrap  []byte // derived from the master key, for wrapping keys
	setup []byte // derived from the master key, for the set-up link

	mu      sync.RWMutex
	byID    map[uuid.UUID]key
	current map[slot]key
}

type slot struct {
	organization uuid.UUID
	purpose      string
}

type key struct {
	ID      uuid.UUID
	purpose string
	secret  []byte
	public  []byte
	retired *time.Time
}

func newKeyring(masterKey secret.Key) (*keyring, error) {
	master, err := base64.StdEncoding.DecodeString(masterKey.Reveal())
	if err != nil || len(master) != keySize {
		return nil, errors.New("there is no master key")
	}
	wrap, err := hkdf.Key(sha256.New, master, nil, "pandu wrap keys", keySize)
	if err != nil {
		return nil, fmt.Errorf("derive wrapping key: %w", err)
	}
	setup, err := hkdf.Key(sha256.New, master, nil, "pandu set-up link", keySize)
	if err != nil {
		return nil, fmt.Errorf("derive set-up key: %w", err)
	}
	return &keyring{wrap: wrap, setup: setup, byID: map[uuid.UUID]key{}, current: map[slot]key{}}, nil
}

// seal encrypts with AES-256-GCM under k: version, key id, box. The same place is needed to open it.
func seal(k key, place string, plain []byte) ([]byte, error) {
	box, err := secret.KeyFromBytes(k.secret)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	return append(append([]byte{sealVersion}, k.ID[:]...), box.Seal(plain, k.ID.String()+"|"+place)...), nil
}

// open is the reverse of seal; sealedBy says which key that takes.
func open(k key, place string, sealed []byte) ([]byte, error) {
	box, err := secret.KeyFromBytes(k.secret)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if len(sealed) < sealHeader {
		return nil, errUnreadable
	}
	return box.Open(sealed[sealHeader:], k.ID.String()+"|"+place)
}

// sealedBy reads the id of the key that a sealed value was sealed with.
func sealedBy(sealed []byte) (uuid.UUID, error) {
	if len(sealed) < sealHeader || sealed[0] != sealVersion {
		return uuid.Nil, errUnreadable
	}
	return uuid.UUID(sealed[1:sealHeader]), nil
}

// wrapAAD binds a wrapped key to its row.
func wrapAAD(organization uuid.UUID, purpose string) string {
	return "key|" + organization.String() + "|" + purpose
}

// wrapKey makes the stored form of a key; the wrapping key is named by the row's own id.
func (r *keyring) wrapKey(k key, at slot) ([]byte, error) {
	return seal(key{ID: k.ID, secret: r.wrap}, wrapAAD(at.organization, at.purpose), k.secret)
}

func (r *keyring) unwrapKey(id uuid.UUID, at slot, wrapped []byte) ([]byte, error) {
	plain, err := open(key{ID: id, secret: r.wrap}, wrapAAD(at.organization, at.purpose), wrapped)
	if err != nil {
		return nil, fmt.Errorf("unwrap %s key: %w", at.purpose, err)
	}
	return plain, nil
}

func (r *keyring) remember(at slot, k key, isCurrent bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byID[k.ID] = k
	if isCurrent {
		r.current[at] = k
	}
}

func (r *keyring) get(at slot) (key, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	k, ok := r.current[at]
	return k, ok
}

func (r *keyring) getByID(id uuid.UUID) (key, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	k, ok := r.byID[id]
	return k, ok
}

func mac(k key, parts ...[]byte) string {
	h := hmac.New(sha256.New, k.secret)
	for _, p := range parts {
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func newSecret() []byte {
	b := make([]byte, keySize)
	_, _ = rand.Read(b) // never fails
	return b
}

// errSealed is what a person sees when a secret cannot be opened: nothing goes on with an empty one.
var errSealed = fault.New(fault.Internal, "secret_unreadable",
	"A stored secret cannot be opened with this installation's master key. Check PANDU_MASTER_KEY.")
