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
		return uuid.Nil, errSlugTaken(slug)
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

// insertMember makes a user a member, if the plan allows one more.
func (s *Service) insertMember(ctx context.Context, tx pgx.Tx, organization, user uuid.UUID, role Role) error {
	if err := s.Reserve(ctx, tx, organization, LimitMembers, 1); err != nil {
		return err
	}
	_, err := pg.Exec(ctx, tx, insertMemberRow, pg.Args{"organization": organization, "user": user, "role": role})
	if pg.Violates(err, "members_pkey") {
		return fault.New(fault.Conflict, "member_exists", "This person is a member already.")
	}
	if err != nil {
		return fmt.Errorf("insert member: %w", err)
	}
	return nil
}

const selectOrganization = `
	select id, slug, name, @role::text as role, created_at from identity.organizations where id = @id`

const selectOrganizations = `
	select o.id, o.slug, o.name, m.role, o.created_at
	from identity.members m join identity.organizations o on o.id = m.organization_id
	where m.user_id = @user
	order by m.created_at, m.organization_id limit 1000`

const updateOrganization = `
	update identity.organizations set slug = @slug, name = @name where id = @id
	returning id, slug, name, @role::text as role, created_at`

func (s *Service) readOrganization(ctx context.Context, q pg.Querier, id uuid.UUID, role Role) (Organization, error) {
	org, err := pg.One[Organization](ctx, q, selectOrganization, pg.Args{"id": id, "role": role})
	if pg.None(err) {
		return Organization{}, errOrganization
	}
	if err != nil {
		return Organization{}, fmt.Errorf("read organization: %w", err)
	}
	return org, nil
}

func (s *Service) renameOrganization(ctx context.Context, tx pgx.Tx, before Organization, slug, name string) (Organization, error) {
	if slug == "" {
		slug = before.Slug
	}
	now, err := pg.One[Organization](ctx, tx, updateOrganization, pg.Args{"id": before.ID, "slug": slug, "name": name, "role": before.Role})
	if pg.Violates(err, "organizations_slug") {
		return Organization{}, errSlugTaken(slug)
	}
	if err != nil {
		return Organization{}, fmt.Errorf("rename organization: %w", err)
	}
	return now, nil
}

func errSlugTaken(slug string) error {
	return fault.New(fault.Conflict, "organization_slug_taken", "This short name is taken. Choose another.").
		With("slug", slug).At("body.slug", "taken")
}
