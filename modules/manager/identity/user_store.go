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

const insertUserRow = `
	insert into identity.users (id, email, name, password_hash, locale, operator)
	values (@id, @email, @name, @hash, @locale, @operator)`

const selectUserByEmail = `
	select id, email, name, password_hash, locale, operator from identity.users where email = @email and disabled_at is null`

const selectUser = `
	select id, email, name, password_hash, locale, operator from identity.users where id = @id and disabled_at is null`

const updatePassword = `
	update identity.users set password_hash = @hash, session_epoch = session_epoch + @bump where id = @id`

const updateProfile = `update identity.users set name = @name, locale = @locale where id = @id`

func insertUser(ctx context.Context, tx pgx.Tx, u userRow) error {
	_, err := pg.Exec(ctx, tx, insertUserRow, pg.Args{
		"id": u.ID, "email": u.Email, "name": u.Name, "hash": u.PasswordHash, "locale": u.Locale, "operator": u.Operator,
	})
	if pg.Violates(err, "users_email") {
		return fault.New(fault.Conflict, "email_taken", "There is an account with this address already. Sign in instead.").
			At("body.email", "taken")
	}
	if err != nil {
		return fmt.Errorf("insert user: %w", err)
	}
	return nil
}

// SignedIn is a new session.
type SignedIn struct {
	UserID    uuid.UUID
	SessionID uuid.UUID
	secret    string // for the cookie
}

// signIn starts a session and records it.
func signIn(ctx context.Context, tx pgx.Tx, u userRow, from origin) (SignedIn, error) {
	secret, id, err := startSession(ctx, tx, u.ID, from)
	if err != nil {
		return SignedIn{}, err
	}
	event := u.actor(uuid.Nil, from).Event("session.start", "session", id, u.Email, nil)
	return SignedIn{u.ID, id, secret}, audit.Record(ctx, tx, event)
}
