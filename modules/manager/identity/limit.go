package identity

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
)

// Resource is something that a plan can limit.
type Resource string

// The resources that are counted. Rooms above add none of their own: plans name them here.
const (
	LimitProjects     Resource = "projects"
	LimitEnvironments Resource = "environments"
	LimitServices     Resource = "services"
	LimitInstances    Resource = "instances"
	LimitBuilds       Resource = "builds" // at the same time
	LimitDomains      Resource = "domains"
	LimitVolumes      Resource = "volumes"
	LimitUploadBytes  Resource = "upload_bytes"
	LimitMembers      Resource = "members"
	LimitLinks        Resource = "links"
)

// A row without a limit only counts, so that a limit set later knows what is used. The conflict clause does nothing,
// and the statement touches no row, when the limit would be passed.
const reserve = `
	insert into identity.limits (organization_id, resource, used) values (@organization, @resource, @amount)
	on conflict (organization_id, resource) do update set used = limits.used + excluded.used
	where limits."limit" is null or limits.used + excluded.used <= limits."limit"`

const release = `
	update identity.limits set used = greatest(used - @amount, 0)
	where organization_id = @organization and resource = @resource`

const setLimit = `
	insert into identity.limits (organization_id, resource, "limit") values (@organization, @resource, @limit)
	on conflict (organization_id, resource) do update set "limit" = excluded."limit"`

const selectLimits = `
	select resource, "limit", used from identity.limits where organization_id = @organization order by resource`

// Limit is what a plan allows of a resource and what is used; a nil Limit does not limit.
type Limit struct {
	Resource Resource `json:"resource" db:"resource"`
	Limit    *int64   `json:"limit,omitempty" db:"limit"`
	Used     int64    `json:"used" db:"used"`
}

// Reserve takes amount of a resource for an organization in the caller's transaction; a fault of kind Limit when the
// plan does not allow it. It also takes a lock on the count until that transaction ends.
func (s *Service) Reserve(ctx context.Context, tx pgx.Tx, organization uuid.UUID, resource Resource, amount int64) error {
	if amount < 0 {
		return fmt.Errorf("reserve %s: negative amount %d", resource, amount)
	}
	touched, err := pg.Exec(ctx, tx, reserve, pg.Args{"organization": organization, "resource": resource, "amount": amount})
	if err != nil {
		return fmt.Errorf("reserve %s: %w", resource, err)
	}
	if touched == 0 {
		return fault.New(fault.Limit, "limit_reached", "Your plan does not allow more of this. Delete something you do not need, or choose a larger plan.").
			With("resource", string(resource))
	}
	return nil
}

// Release gives back what Reserve took.
func (s *Service) Release(ctx context.Context, tx pgx.Tx, organization uuid.UUID, resource Resource, amount int64) error {
	_, err := pg.Exec(ctx, tx, release, pg.Args{"organization": organization, "resource": resource, "amount": amount})
	if err != nil {
		return fmt.Errorf("release %s: %w", resource, err)
	}
	return nil
}

// SetLimit sets what a plan allows; nil does not limit. What is used already stays.
func (s *Service) SetLimit(ctx context.Context, tx pgx.Tx, organization uuid.UUID, resource Resource, limit *int64) error {
	_, err := pg.Exec(ctx, tx, setLimit, pg.Args{"organization": organization, "resource": resource, "limit": limit})
	if err != nil {
		return fmt.Errorf("set limit of %s: %w", resource, err)
	}
	return nil
}

// Limits lists what is limited or used in the actor's organization.
func (s *Service) Limits(ctx context.Context, a Actor) ([]Limit, error) {
	limits, err := pg.All[Limit](ctx, s.db.Pool, selectLimits, pg.Args{"organization": a.OrganizationID})
	if err != nil {
		return nil, fmt.Errorf("list limits: %w", err)
	}
	return limits, nil
}
