package identity

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
	"pandu/modules/manager/audit"
)

// Organization is a tenant as one of its members sees it.
type Organization struct {
	ID        uuid.UUID `json:"id" db:"id"`
	Slug      string    `json:"slug" db:"slug"`
	Name      string    `json:"name" db:"name"`
	Role      Role      `json:"role" db:"role" enum:"owner,admin,member,viewer,billing" doc:"Of the caller."`
	CreatedAt time.Time `json:"created_at" db:"created_at"`
}

var slugRule = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)

var (
	errOrganization = fault.New(fault.NotFound, "organization_not_found", "There is no such organization, or you are not a member of it.")
	errSlug         = fault.New(fault.Invalid, "slug_invalid", "A short name has 1 to 40 lower-case letters, digits and dashes, and no dash at either end.").
			At("body.slug", "malformed")
	errRank = fault.New(fault.Denied, "role_above_own", "You may only give, change or take roles up to your own.")
)

// CreateOrganization makes an organization that the user owns. Where registration is not open only operators may.
func (s *Service) CreateOrganization(ctx context.Context, a Actor, slug, name string) (Organization, error) {
	if a.Kind != KindUser {
		return Organization{}, errUsersOnly
	}
	if s.registration != Open && !a.Operator {
		return Organization{}, fault.New(fault.Denied, "operator_only", "Only operators of this installation may make organizations.")
	}
	if !slugRule.MatchString(slug) {
		return Organization{}, errSlug
	}
	name = cleanName(name, slug)
	var made Organization
	err := s.db.InTx(ctx, func(tx pgx.Tx) error {
		id, err := s.insertOrganization(ctx, tx, a, slug, name)
		if err != nil {
			return err
		}
		if err := s.insertMember(ctx, tx, id, a.UserID, Owner); err != nil {
			return err
		}
		made, err = s.readOrganization(ctx, tx, id, Owner)
		return err
	})
	s.known.forget(a.UserID)
	return made, err
}

// UpdateOrganization renames the actor's organization; empty fields stay.
func (s *Service) UpdateOrganization(ctx context.Context, a Actor, slug, name string) (Organization, error) {
	if err := a.Require(OrganizationManage); err != nil {
		return Organization{}, err
	}
	if slug != "" && !slugRule.MatchString(slug) {
		return Organization{}, errSlug
	}
	var now Organization
	err := s.db.InTx(ctx, func(tx pgx.Tx) error {
		before, err := s.readOrganization(ctx, tx, a.OrganizationID, a.Role)
		if err != nil {
			return err
		}
		if before.Slug == DefaultOrganization && slug != "" && slug != before.Slug {
			return fault.New(fault.Conflict, "organization_default", "The organization default keeps its short name; its name can be changed.")
		}
		if now, err = s.renameOrganization(ctx, tx, before, slug, cleanName(name, before.Name)); err != nil {
			return err
		}
		detail := map[string]string{"from": before.Slug, "to": now.Slug, "name": now.Name}
		return audit.Record(ctx, tx, a.Event("organization.update", "organization", now.ID, now.Slug, detail))
	})
	if err == nil {
		s.known.forgetAll()
	}
	return now, err
}

// Organizations lists where the actor is a member; for a token that is one.
func (s *Service) Organizations(ctx context.Context, a Actor) ([]Organization, error) {
	if a.Kind == KindToken {
		org, err := s.readOrganization(ctx, s.db.Pool, a.OrganizationID, a.Role)
		return []Organization{org}, err
	}
	rows, err := pg.All[Organization](ctx, s.db.Pool, selectOrganizations, pg.Args{"user": a.UserID})
	if err != nil {
		return nil, fmt.Errorf("list organizations: %w", err)
	}
	return rows, nil
}

// mayGrant reports whether the actor may give or take a role; a token may not reach above its person.
func (a Actor) mayGrant(role Role) bool {
	return a.Kind == KindSystem || a.Role.MayGrant(role)
}
