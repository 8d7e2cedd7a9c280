package identity

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"pandu/modules/kit/fault"
)

// tokenPrefix begins every API token, for people and for programs that scan for leaked secrets.
const tokenPrefix = "pandu_"

const (
	tokenName     = 8  // characters of the public part
	tokenSecret   = 52 // characters: 256 bits
	tokenChecksum = 7  // characters: CRC-32
)

// base32Lower writes five bits per character with a-z and 2-7.
func base32Lower(b []byte) string {
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}

// newToken makes pandu_<name>_<secret><checksum> and its name.
func newToken() (token, name string) {
	b := make([]byte, 37)
	_, _ = rand.Read(b) // never fails
	name = base32Lower(b[:5])
	body := tokenPrefix + name + "_" + base32Lower(b[5:])
	return body + checksum(body), name
}

func checksum(body string) string {
	sum := crc32.ChecksumIEEE([]byte(body))
	return base32Lower([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
}

// tokenNameOf finds the name in a well-formed token; a mistyped one is refused without asking the database.
func tokenNameOf(token string) (string, bool) {
	if len(token) != len(tokenPrefix)+tokenName+1+tokenSecret+tokenChecksum {
		return "", false
	}
	body := token[:len(token)-tokenChecksum]
	name, _, ok := strings.Cut(body[len(tokenPrefix):], "_")
	return name, ok && len(name) == tokenName && checksum(body) == token[len(body):]
}

// Token is an API token as it is listed. The secret is shown once, when it is made.
type Token struct {
	ID         uuid.UUID  `json:"id" db:"id"`
	Name       string     `json:"name" db:"name"`
	Prefix     string     `json:"prefix" db:"prefix" doc:"The public part, to recognise the token by."`
	UserID     *uuid.UUID `json:"user_id,omitempty" db:"user_id" doc:"Whose role it has; absent for tokens of the installation."`
	Scopes     []string   `json:"scopes" db:"scopes" nullable:"false"`
	CreatedAt  time.Time  `json:"created_at" db:"created_at"`
	ExpiresAt  *time.Time `json:"expires_at,omitempty" db:"expires_at"`
	LastUsedAt *time.Time `json:"last_used_at,omitempty" db:"last_used_at" doc:"To the minute."`
}

// judgeScopes refuses scopes that do not exist or that the maker does not have.
func judgeScopes(a Actor, scopes []string) error {
	if len(scopes) == 0 {
		return fault.New(fault.Invalid, "scopes_missing", "Say what the token may do.").At("body.scopes", "empty")
	}
	for i, scope := range scopes {
		at := fmt.Sprintf("body.scopes[%d]", i)
		if scope == AllScopes {
			if a.token != uuid.Nil {
				return fault.New(fault.Denied, "scope_beyond_own", "A token can only make tokens that may do no more than itself.").
					With("scope", scope).At(at, "not held")
			}
			continue
		}
		if !Permission(scope).Known() {
			return fault.New(fault.Invalid, "scope_unknown", "There is no such permission.").With("scope", scope).At(at, "unknown")
		}
		if !a.Can(Permission(scope)) {
			return fault.New(fault.Denied, "scope_beyond_own", "You can only give a token what you may do yourself.").
				With("scope", scope).At(at, "not held")
		}
	}
	return nil
}

// cleanScopes sorts scopes and drops doubles; AllScopes swallows the permissions of members, not those of operators.
func cleanScopes(scopes []string) []string {
	all := slices.Contains(scopes, AllScopes)
	out := slices.DeleteFunc(slices.Clone(scopes), func(s string) bool {
		return all && s != AllScopes && !Permission(s).operator()
	})
	slices.Sort(out)
	return slices.Compact(out)
}
