package identity

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
	"pandu/modules/manager/audit"
)

const insertOrganizationRow = `insert into identity.organizations (id, slug, name) values (@id, @slug, @name)`

const selectOrganizationBySlug = `select id from identity.organizations where slug = @slug`

const insertMemberRow = `
	insert into identity.members (organization_id, user_id, role) values (@organization, @user, @role)`

// insertOrganization makes an organization with its keys and records it as the first event of the organization.
func (s *Service) insertOrganization(ctx context.Context, tx pgx.Tx, by Actor, slug, name string) (uuid.UUID, error) {
	id := pg.NewID()
	_, err := pg.Exec(ctx, tx, insertOrganizationRow, pg.Args{"id": id, "slug": slug, "name": name})
	if pg.Violates(err, "organizations_slug") {
		return uuid.Nil, fault.New(fault.Conflict, "organization_slug_taken", "This short name is taken. Choose another.").
			With("slug", slug).At("body.slug", "taken")
	}
	if err != nil {
		return uuid.Nil, fmt.Errorf("insert organization: %w", err)
	}
	if err := s.prepareOrganizationKeys(ctx, tx, id); err != nil {
		return uuid.Nil, err
	}
	by.OrganizationID = id
	return id, audit.Record(ctx, tx, by.Event("organization.create", "organization", id, slug, map[string]string{"name": name}))
}

func insertMember(ctx context.Context, tx pgx.Tx, organization, user uuid.UUID, role Role) error {
	_, err := pg.Exec(ctx, tx, insertMemberRow, pg.Args{"organization": organization, "user": user, "role": role})
	if pg.Violates(err, "members_pkey") {
		return fault.New(fault.Conflict, "member_exists", "This person is a member already.")
	}
	if err != nil {
		return fmt.Errorf("insert member: %w", err)
	}
	return nil
}
