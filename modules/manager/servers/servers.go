// Package servers keeps the machines that run things: who they are, what each shall hold, what each reported, and the
// one session each has.
//
// Desired state is two streams of entries per server (instances, routes), written by the rooms above in their own
// transactions and pushed by the manager that holds the server's session. Real state is what agents report; only
// transitions are written. Whoever plans an environment is told by a row of reconciles and an order in the same
// transaction, never by a call upwards. It never decides what should run, never speaks to Docker, and never compares
// the clocks of two machines: silence is measured by the database. Tables: servers.*.
package servers

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"pandu/jobs"
	"pandu/modules/kit/ca"
	"pandu/modules/kit/pg"
)

// Deps is what the room needs from outside.
type Deps struct {
	DB      *pg.DB
	Orders  *jobs.Orders
	Log     *slog.Logger
	Process uuid.UUID // of this process, as in the table of live processes

	// Authority is the CA that signs agents' certificates.
	Authority func(ctx context.Context) (*ca.CA, error)
	// Live lists the processes that beat in the last 15 seconds.
	Live func(ctx context.Context) ([]uuid.UUID, error)
	// Peer is the address where another manager process answers its peers; empty when it has gone.
	Peer func(ctx context.Context, process uuid.UUID) (string, error)

	Beat     time.Duration // of agents; 0: 5 s
	AgentURL string        // where agents find a manager, for the join command
}

// Service is the room.
type Service struct {
	Deps

	mu       sync.Mutex
	sessions map[uuid.UUID]*session
	readers  map[string]*reader // logs being read from agents, by request id
}

// New makes the room.
func New(deps Deps) *Service {
	if deps.Beat == 0 {
		deps.Beat = 5 * time.Second
	}
	return &Service{Deps: deps, sessions: map[uuid.UUID]*session{}, readers: map[string]*reader{}}
}

// Silence after which a server is suspect, and after which it counts as unreachable.
const (
	SuspectAfter     = 15 * time.Second
	UnreachableAfter = 60 * time.Second
)
