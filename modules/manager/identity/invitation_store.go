package identity

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/pg"
)

type invitationRow struct {
	OrganizationID uuid.UUID `db:"organization_id"`
	ID             uuid.UUID `db:"id"`
	Email          string    `db:"email"`
	Role           Role      `db:"role"`
}

const insertInvitationRow = `
	insert into identity.invitations (organization_id, id, email, role, secret_hash, created_by, expires_at)
	values (@organization, @id, @email, @role, @hash, @maker, now() + make_interval(secs => @life))
	returning id, email, role, created_at, expires_at`

const lockInvitation = `
	select organization_id, id, email, role from identity.invitations
	where secret_hash = @hash and accepted_at is null and revoked_at is null and expires_at > now()
	for update`

const useInvitation = `
	update identity.invitations set accepted_at = now(), accepted_by = @user where organization_id = @organization and id = @id`

const revokeInvitation = `
	update identity.invitations set revoked_at = now()
	where organization_id = @organization and id = @id and accepted_at is null and revoked_at is null
	returning email`

const selectInvitations = `
	select id, email, role, created_at, expires_at from identity.invitations
	where organization_id = @organization and accepted_at is null and revoked_at is null and expires_at > now()
	  and (@before_time::timestamptz is null or (created_at, id) < (@before_time, @before_id::uuid))
	order by created_at desc, id desc limit @limit`

func insertInvitation(ctx context.Context, tx pgx.Tx, a Actor, email string, role Role, secret string) (Invitation, error) {
	made, err := pg.One[Invitation](ctx, tx, insertInvitationRow, pg.Args{
		"organization": a.OrganizationID, "id": pg.NewID(), "email": email, "role": role, "hash": hashBearer(secret),
		"maker": a.ID, "life": invitationLife.Seconds(),
	})
	if err != nil {
		return Invitation{}, fmt.Errorf("insert invitation: %w", err)
	}
	return made, nil
}

// list reads one page of rows of the actor's organization with a statement that takes @organization, @before_time,
// @before_id and @limit.
func list[T any](ctx context.Context, s *Service, a Actor, page PageInput, statement string, at func(T) Cursor) (Page[T], error) {
	from, err := page.Position()
	if err != nil {
		return Page[T]{}, err
	}
	beforeTime, beforeID := from.Args()
	rows, err := pg.All[T](ctx, s.db.Pool, statement, pg.Args{
		"organization": a.OrganizationID, "before_time": beforeTime, "before_id": beforeID, "limit": page.Size(),
	})
	if err != nil {
		return Page[T]{}, fmt.Errorf("list rows: %w", err)
	}
	return Cut(page, rows, at), nil
}
