// Package deployments is the walk from a source to something live: sources, builds, releases, deployments, instances,
// volumes.
//
// A request writes its deployment, event and order in one transaction. What runs long runs at agents; what must be
// made true is planned by modules/creator from the World that this package loads, and written back by Apply. It never
// plans, never builds and never speaks to Docker. Tables: deployments.*.
package deployments

import (
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"pandu/jobs"
	"pandu/modules/kit/pg"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/projects"
	"pandu/modules/manager/routing"
	"pandu/modules/manager/servers"
	"pandu/modules/manager/storage"
)

// Deps is what the room needs from outside.
type Deps struct {
	DB       *pg.DB
	Orders   *jobs.Orders
	Log      *slog.Logger
	Identity *identity.Service
	Storage  *storage.Service
	Servers  *servers.Service
	Routing  *routing.Service
	Projects *projects.Service
}

// Service is the room.
type Service struct {
	Deps

	mu       sync.Mutex
	watchers map[uuid.UUID]map[chan struct{}]bool // agents that watch for builds, by server
}

// New makes the room.
func New(deps Deps) *Service {
	return &Service{Deps: deps, watchers: map[uuid.UUID]map[chan struct{}]bool{}}
}

// How long a deployment may stay in a state before it is failed.
const (
	queuedLimit    = 2 * time.Minute
	buildingLimit  = 60 * time.Minute
	releasingLimit = 15 * time.Minute
)

// Kinds of notification that this room sends.
const (
	NoticeDeployment = "deployment"
	NoticeBuild      = "build" // id: a server whose assignments changed
)
