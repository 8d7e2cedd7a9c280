// Package audit keeps the log of every change: who did what to which object, when, and from where.
//
// An event is a plain insert in the transaction of the change (Record), so a change without its event cannot be
// committed and an event without its change neither. Afterwards one sealer chains the events of each organization by
// hash, in batches (Seal), so that a later alteration is found (Verify). It never decides who may do something, never
// updates or deletes an event, and knows no other room. Tables: audit.events, audit.chains.
package audit

import (
	"time"

	"github.com/google/uuid"

	"pandu/modules/kit/pg"
)

// Service reads, seals and verifies the log.
type Service struct {
	db *pg.DB
}

// New makes the service.
func New(db *pg.DB) *Service { return &Service{db: db} }

// Event is one change, before it is written. OrganizationID is uuid.Nil for what belongs to the platform.
type Event struct {
	OrganizationID uuid.UUID
	ActorKind      string // user, token, system
	ActorLabel     string // as people know the actor: an e-mail address, a token's name, a reason
	ActorID        uuid.UUID
	Action         string // noun.verb, e.g. project.create
	ObjectKind     string
	ObjectID       uuid.UUID
	ObjectLabel    string
	Detail         map[string]string // never a secret
	RequestID      string
	Address        string // of the client, empty for system work
}

// Entry is an event as it was written.
type Entry struct {
	ID          uuid.UUID         `json:"id" db:"id"`
	ActorKind   string            `json:"actor_kind" db:"actor_kind"`
	ActorID     uuid.UUID         `json:"actor_id" db:"actor_id"`
	ActorLabel  string            `json:"actor_label" db:"actor_label"`
	Action      string            `json:"action" db:"action"`
	ObjectKind  string            `json:"object_kind" db:"object_kind"`
	ObjectID    uuid.UUID         `json:"object_id" db:"object_id"`
	ObjectLabel string            `json:"object_label" db:"object_label"`
	Detail      map[string]string `json:"detail,omitempty" db:"detail"`
	RequestID   string            `json:"request_id,omitempty" db:"request_id"`
	Address     string            `json:"address,omitempty" db:"address"`
	CreatedAt   time.Time         `json:"created_at" db:"created_at"`
	Sealed      bool              `json:"sealed" db:"sealed"`
}
