// Package identity is who this server is: its key, its certificate and the authorities it trusts, in one file.
//
// It joins once with a token, renews at two thirds of the certificate's life, and joins again with a new token when
// there is nothing valid left. It decides about conversations with managers only: nothing that runs on the server
// depends on it.
package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"pandu/modules/agent/internal/backoff"
	"pandu/modules/kit/ca"
)

// fileName is the file in Deps.Dir: the private key, the certificate, then the authorities, all in PEM. One file, so
// that they change together.
const fileName = "identity.pem"

// Deps is what an Identity needs.
type Deps struct {
	Dir       string
	Addresses []string                                  // host:port of the managers
	Token     func(ctx context.Context) (string, error) // a join token, "" when there is none; nil: never
	Now       func() time.Time                          // zero: time.Now
	Tick      time.Duration                             // how often the clock is looked at; zero: 1 min
	Logger    *slog.Logger
}

// Errors of an identity.
var (
	ErrNoToken = errors.New("this server has not joined and there is no join token")
	ErrExpired = errors.New("this server's certificate has expired; give the agent a new join token")
)

// credentials are one identity, never changed once made.
type credentials struct {
	serverID    string
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
	trusted     []*x509.Certificate
	renewAt     time.Time
}

// Identity is safe for concurrent use.
type Identity struct {
	deps Deps

	mu      sync.Mutex
	current *credentials  // nil: not joined
	problem error         // of the last attempt; nil: none
	joined  chan struct{} // closed once there is a current one
	renewed chan struct{}
}

// Open reads what is in the directory, if anything. A damaged file is put aside with ".damaged": the server has to join
// again then, but what runs on it goes on.
func Open(d Deps) (*Identity, error) {
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Tick == 0 {
		d.Tick = time.Minute
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make identity directory: %w", err)
	}
	i := &Identity{deps: d, joined: make(chan struct{}), renewed: make(chan struct{}, 1)}
	path := filepath.Join(d.Dir, fileName)
	b, err := os.ReadFile(path) //nolint:gosec // the directory is a setting
	if errors.Is(err, os.ErrNotExist) {
		return i, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read identity: %w", err)
	}
	found, err := decode(b)
	if err != nil {
		d.Logger.Error("identity file is damaged and was put aside", "path", path, "error", err)
		if err := os.Rename(path, path+".damaged"); err != nil {
			return nil, fmt.Errorf("put damaged identity aside: %w", err)
		}
		return i, nil
	}
	i.take(found)
	return i, nil
}

// Joined is closed when this server has an identity, valid or expired.
func (i *Identity) Joined() <-chan struct{} { return i.joined }

// Renewed receives after the certificate has changed.
func (i *Identity) Renewed() <-chan struct{} { return i.renewed }

// State is what there is to know about an identity.
type State struct {
	ServerID string // empty: not joined
	NotAfter time.Time
	Expired  bool
	Problem  string // why the last attempt to join or renew failed; empty: it did not
}

// State tells what there is.
func (i *Identity) State() State {
	i.mu.Lock()
	defer i.mu.Unlock()
	s := State{}
	if i.problem != nil {
		s.Problem = i.problem.Error()
	}
	if c := i.current; c != nil {
		s.ServerID, s.NotAfter, s.Expired = c.serverID, c.certificate.NotAfter, i.expired(c)
	}
	return s
}

// ServerID is this server's id; empty before it has joined.
func (i *Identity) ServerID() string { return i.State().ServerID }

// TLS is the configuration for connections to managers. Each handshake uses the certificate of its moment.
func (i *Identity) TLS() *tls.Config {
	return ca.ServerConfig(i.trusted, i.certificate, i.deps.Now)
}

func (i *Identity) trusted() []*x509.Certificate {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.current == nil {
		return nil
	}
	return i.current.trusted
}

func (i *Identity) certificate() (*tls.Certificate, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.current == nil {
		return nil, ErrNoToken
	}
	c := i.current
	return &tls.Certificate{Certificate: [][]byte{c.certificate.Raw}, PrivateKey: c.key, Leaf: c.certificate}, nil
}

// Run joins and renews as needed until ctx ends. It returns nil.
func (i *Identity) Run(ctx context.Context) error {
	wait := &backoff.Backoff{}
	for {
		pause := i.deps.Tick
		err := i.Ensure(ctx)
		i.note(err)
		if err != nil {
			pause = wait.Next()
		} else {
			wait.Reset()
		}
		if !backoff.Sleep(ctx, pause) {
			return nil
		}
	}
}

// Ensure makes one attempt at what is due now: join, renew, or nothing.
func (i *Identity) Ensure(ctx context.Context) error {
	i.mu.Lock()
	c := i.current
	i.mu.Unlock()
	switch {
	case c == nil:
		return i.join(ctx, ErrNoToken)
	case i.expired(c):
		return i.join(ctx, ErrExpired)
	case i.deps.Now().Before(c.renewAt):
		return nil
	default:
		return i.renew(ctx)
	}
}

func (i *Identity) expired(c *credentials) bool { return i.deps.Now().After(c.certificate.NotAfter) }

// note logs an attempt's outcome when it is news.
func (i *Identity) note(err error) {
	i.mu.Lock()
	before := i.problem
	i.problem = err
	i.mu.Unlock()
	switch {
	case err == nil && before != nil:
		i.deps.Logger.Info("server identity is in order again")
	case err != nil && (before == nil || before.Error() != err.Error()):
		i.deps.Logger.Warn("server identity needs attention", "error", err)
	}
}

// take makes found the identity.
func (i *Identity) take(found *credentials) {
	i.mu.Lock()
	defer i.mu.Unlock()
	// A twentieth of the life as jitter: servers that joined together do not renew together.
	life := found.certificate.NotAfter.Sub(found.certificate.NotBefore)
	found.renewAt = ca.RenewAt(found.certificate).Add(rand.N(life/20 + 1))
	if i.current == nil {
		close(i.joined)
	}
	i.current = found
	select {
	case i.renewed <- struct{}{}:
	default:
	}
}
