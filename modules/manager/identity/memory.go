package identity

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	// knownFor is how long an answer of the database about a credential is believed; well below the 30 s within
	// which a revocation has to work everywhere.
	knownFor = 10 * time.Second
	// knownMost bounds the memory; when it is full it starts again from nothing.
	knownMost = 20_000
)

// memory remembers for a few seconds who a credential belongs to, so that most requests do not ask the database.
// Only good credentials are remembered.
type memory struct {
	now func() time.Time

	mu      sync.Mutex
	entries map[[sha256.Size]byte]remembered
}

type remembered struct {
	who   *principal
	until time.Time
}

func newMemory(now func() time.Time) *memory {
	return &memory{now: now, entries: map[[sha256.Size]byte]remembered{}}
}

func (m *memory) get(credential string) (*principal, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.entries[sha256.Sum256([]byte(credential))]
	if !ok || !m.now().Before(e.until) {
		return nil, false
	}
	return e.who, true
}

// put remembers who until the time given, at most knownFor.
func (m *memory) put(credential string, who *principal, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.entries) >= knownMost {
		clear(m.entries)
	}
	if latest := m.now().Add(knownFor); until.IsZero() || until.After(latest) {
		until = latest
	}
	m.entries[sha256.Sum256([]byte(credential))] = remembered{who, until}
}

// forget drops everything known of a user, session or token, after a change made by this process.
func (m *memory) forget(id uuid.UUID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, e := range m.entries {
		if e.who.userID == id || e.who.session == id || e.who.token == id {
			delete(m.entries, k)
		}
	}
}

func (m *memory) forgetAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.entries)
}
