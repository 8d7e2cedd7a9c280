package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/pg"
)

const insertEvent = `
	insert into audit.events (id, organization_id, actor_kind, actor_id, actor_label, action, object_kind, object_id,
	                          object_label, detail, request_id, address)
	values (@id, @organization, @actor_kind, @actor_id, @actor_label, @action, @object_kind, @object_id,
	        @object_label, @detail, @request_id, @address)`

// Record writes one event in the caller's transaction.
func Record(ctx context.Context, tx pgx.Tx, e Event) error {
	_, err := tx.Exec(ctx, insertEvent, pg.Args{
		"id": pg.NewID(), "organization": e.OrganizationID,
		"actor_kind": e.ActorKind, "actor_id": e.ActorID, "actor_label": clean(e.ActorLabel, maxLabel),
		"action": e.Action, "object_kind": e.ObjectKind, "object_id": e.ObjectID,
		"object_label": clean(e.ObjectLabel, maxLabel), "detail": cleanDetail(e.Detail),
		"request_id": clean(e.RequestID, maxLabel), "address": clean(e.Address, maxLabel),
	})
	if err != nil {
		return fmt.Errorf("record event %s: %w", e.Action, err)
	}
	return nil
}

// maxPage is the most events one List returns.
const maxPage = 201

// Filter chooses events of one organization, newest first. Zero fields choose everything.
type Filter struct {
	ObjectID   uuid.UUID
	Action     string    // exact, or a noun with a trailing dot for all its verbs ("project.")
	BeforeTime time.Time // keyset: events before this moment …
	BeforeID   uuid.UUID // … or at it with a smaller id
	Limit      int       // at most 201; 0: 50
}

const listEvents = `
	select id, actor_kind, actor_id, actor_label, action, object_kind, object_id, object_label, detail, request_id, address,
	       created_at, hash is not null as sealed
	from audit.events
	where organization_id = @organization
	  and (@object::uuid is null or object_id = @object)
	  and (@action = '' or action = @action or (right(@action, 1) = '.' and starts_with(action, @action)))
	  and (@before_time::timestamptz is null or (created_at, id) < (@before_time, @before_id::uuid))
	order by created_at desc, id desc
	limit @limit`

// List returns the events of one organization (uuid.Nil: the platform's own), newest first. The caller has already
// judged whether they may be read.
func (s *Service) List(ctx context.Context, organization uuid.UUID, f Filter) ([]Entry, error) {
	limit := f.Limit
	if limit <= 0 {
		limit = 50
	}
	args := pg.Args{
		"organization": organization, "object": nil, "action": f.Action,
		"before_time": nil, "before_id": f.BeforeID, "limit": min(limit, maxPage),
	}
	if f.ObjectID != uuid.Nil {
		args["object"] = f.ObjectID
	}
	if !f.BeforeTime.IsZero() {
		args["before_time"] = f.BeforeTime
	}
	entries, err := pg.All[Entry](ctx, s.db.Pool, listEvents, args)
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	return entries, nil
}

const committedUnder = `select exists (select from audit.events where request_id = @request and request_id <> '')`

// CommittedUnder reports whether a change was committed by the request of this id: how a repeated request learns what
// became of a first one whose answer was lost.
func (s *Service) CommittedUnder(ctx context.Context, requestID string) (bool, error) {
	found, err := pg.Value[bool](ctx, s.db.Pool, committedUnder, pg.Args{"request": requestID})
	if err != nil {
		return false, fmt.Errorf("look up events of request: %w", err)
	}
	return found, nil
}
