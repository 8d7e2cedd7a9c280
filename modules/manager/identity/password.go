package identity

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"pandu/modules/kit/fault"
)

// hashing is how passwords are hashed: argon2id, version 19. Memory is in KiB.
type hashing struct {
	memory      uint32
	time        uint32
	parallelism uint8
}

// present are the parameters of new hashes; older hashes are replaced when their owner signs in.
var present = hashing{memory: 19 * 1024, time: 2, parallelism: 1}

const (
	saltSize    = 16
	hashSize    = 32
	minPassword = 10  // characters
	maxPassword = 256 // bytes
)

var errHash = errors.New("stored password hash is malformed")

// hashPassword makes a PHC string: $argon2id$v=19$m=…,t=…,p=…$salt$hash. It takes 19 MiB and some 20 ms.
func hashPassword(password string) string {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails
	sum := argon2.IDKey([]byte(password), salt, present.time, present.memory, present.parallelism, hashSize)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, present.memory, present.time, present.parallelism,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(sum))
}

// checkPassword compares in constant time; outdated says that the hash has other parameters than new ones.
func checkPassword(encoded, password string) (match, outdated bool, err error) {
	h, salt, sum, err := parseHash(encoded)
	if err != nil {
		return false, false, err
	}
	got := argon2.IDKey([]byte(password), salt, h.time, h.memory, h.parallelism, uint32(len(sum)))
	return subtle.ConstantTimeCompare(got, sum) == 1, h != present, nil
}

func parseHash(encoded string) (h hashing, salt, sum []byte, err error) {
	parts := strings.Split(encoded, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return h, nil, nil, errHash
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.parallelism); err != nil {
		return h, nil, nil, errHash
	}
	salt, saltErr := base64.RawStdEncoding.Strict().DecodeString(parts[4])
	sum, sumErr := base64.RawStdEncoding.Strict().DecodeString(parts[5])
	bounded := h.memory >= 8 && h.memory <= 1<<20 && h.time >= 1 && h.time <= 20 && h.parallelism >= 1 && len(sum) >= 16 && len(sum) <= 64
	if saltErr != nil || sumErr != nil || !bounded {
		return h, nil, nil, errHash
	}
	return h, salt, sum, nil
}

// judgePassword refuses passwords that are too short, too long or not text.
func judgePassword(password string) error {
	if utf8.RuneCountInString(password) < minPassword {
		return fault.Newf(fault.Invalid, "password_too_short", "Use a password of at least %d characters.", minPassword).
			With("minimum", fmt.Sprint(minPassword)).At("body.password", "too short")
	}
	if len(password) > maxPassword || !utf8.ValidString(password) {
		return fault.Newf(fault.Invalid, "password_too_long", "Use a password of at most %d bytes of text.", maxPassword).
			With("maximum", fmt.Sprint(maxPassword)).At("body.password", "too long")
	}
	return nil
}

// hash and check take a place in the queue for memory: each hash needs 19 MiB, so only a few run at once and the rest
// waits at most five seconds.
func (s *Service) hash(ctx context.Context, password string) (string, error) {
	if err := s.queueForHash(ctx); err != nil {
		return "", err
	}
	defer s.hashing.Release(1)
	return hashPassword(password), nil
}

func (s *Service) check(ctx context.Context, encoded, password string) (match, outdated bool, err error) {
	if err := s.queueForHash(ctx); err != nil {
		return false, false, err
	}
	defer s.hashing.Release(1)
	return checkPassword(encoded, password)
}

func (s *Service) queueForHash(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := s.hashing.Acquire(ctx, 1); err != nil {
		return fault.New(fault.Unavailable, "sign_in_busy", "Too many people are signing in at this moment. Try again in a few seconds.").
			After(3 * time.Second).Because(err)
	}
	return nil
}
