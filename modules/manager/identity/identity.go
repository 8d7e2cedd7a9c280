// Package identity knows who acts: users, organizations and their members, sessions, tokens, keys, and what each role
// may do. It owns the registry of HTTP doors, so that no door exists without a permission, and the limits that plans set.
//
// It never hands out a secret twice, never stores one in clear, never sends mail, and knows nothing of projects,
// servers or money. Rooms above it take an Actor right after ctx on every method that touches a tenant's data.
// Tables: identity.users, organizations, members, invitations, setup, sessions, tokens, throttles, keys, limits,
// idempotent_requests.
package identity

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"pandu/modules/kit/pg"
	"pandu/modules/kit/secret"
	"pandu/modules/manager/audit"
)

// Registration says who may make an account.
type Registration string

// The ways of registration. Invite is the default.
const (
	Open   Registration = "open"   // anyone: a user and an organization of their own
	Invite Registration = "invite" // whoever has an invitation
	Closed Registration = "closed" // nobody
)

// Deps are what the service needs. Now is the clock for what is signed and for how long an answer is remembered;
// what is stored expires by database time.
type Deps struct {
	DB           *pg.DB
	Audit        *audit.Service
	Log          *slog.Logger
	MasterKey    secret.Key
	PublicURL    string // of the panel, without a trailing slash; the only source of links
	Registration Registration
	Now          func() time.Time
}

// Service answers who somebody is and keeps the keys.
type Service struct {
	db           *pg.DB
	audit        *audit.Service
	log          *slog.Logger
	publicURL    string
	registration Registration
	now          func() time.Time

	keys      *keyring
	known     *memory
	hashing   *semaphore.Weighted
	dummyHash string
}

// New makes the service. Nothing is read or written until Prepare.
func New(deps Deps) (*Service, error) {
	u, err := url.Parse(deps.PublicURL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("public url %q is not an http or https address", deps.PublicURL)
	}
	switch deps.Registration {
	case Open, Invite, Closed:
	case "":
		deps.Registration = Invite
	default:
		return nil, fmt.Errorf("registration %q is not open, invite or closed", deps.Registration)
	}
	keys, err := newKeyring(deps.MasterKey)
	if err != nil {
		return nil, err
	}
	s := &Service{
		db: deps.DB, audit: deps.Audit, log: deps.Log, publicURL: strings.TrimRight(deps.PublicURL, "/"),
		registration: deps.Registration, now: deps.Now, keys: keys, known: newMemory(deps.Now),
		hashing: semaphore.NewWeighted(int64(min(max(runtime.GOMAXPROCS(0), 2), 8))),
	}
	s.dummyHash = hashPassword("the password of nobody")
	return s, nil
}

// Prepare makes, once in the life of a database, the keys and the organization default, and refuses a master key that
// does not unwrap the keys that are there. Any number of processes may call it at once.
func (s *Service) Prepare(ctx context.Context) error {
	if err := s.prepareKeys(ctx); err != nil {
		return err
	}
	return s.prepareSetup(ctx)
}

// secure reports whether the panel is reached by https, which decides the cookie's name and attributes.
func (s *Service) secure() bool { return strings.HasPrefix(s.publicURL, "https://") }
