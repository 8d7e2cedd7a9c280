package identity

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/pg"
)

type sessionRow struct {
	ID       uuid.UUID `db:"id"`
	UserID   uuid.UUID `db:"user_id"`
	Email    string    `db:"email"`
	Operator bool      `db:"operator"`
	Stale    bool      `db:"stale"` // last_seen_at should be moved
}

const insertSession = `
	insert into identity.sessions (id, user_id, secret_hash, epoch, address, agent)
	select @id, id, @hash, session_epoch, @address, left(@agent, 200) from identity.users where id = @user`

// A session lives while its user does, has not changed the password since, and comes back often enough.
const selectSession = `
	select s.id, s.user_id, u.email, u.operator, s.last_seen_at < now() - interval '5 minutes' as stale
	from identity.sessions s join identity.users u on u.id = s.user_id
	where (s.secret_hash = @hash or s.id = @id) and s.ended_at is null and s.epoch = u.session_epoch and u.disabled_at is null
	  and s.last_seen_at > now() - make_interval(secs => @idle) and s.created_at > now() - make_interval(secs => @absolute)`

const touchSession = `update identity.sessions set last_seen_at = now() where id = @id`

const endSession = `update identity.sessions set ended_at = now() where id = @id and ended_at is null`

const selectMemberships = `
	select m.organization_id, o.slug, o.name, m.role
	from identity.members m join identity.organizations o on o.id = m.organization_id
	where m.user_id = @user
	order by m.created_at, m.organization_id`

// startSession makes a session of a user and returns its secret, which is not stored.
func startSession(ctx context.Context, tx pgx.Tx, user uuid.UUID, from origin) (secret string, id uuid.UUID, err error) {
	secret, id = newBearer(), pg.NewID()
	_, err = pg.Exec(ctx, tx, insertSession, pg.Args{
		"id": id, "user": user, "hash": hashBearer(secret), "address": from.Address, "agent": from.Agent,
	})
	if err != nil {
		return "", uuid.Nil, fmt.Errorf("start session: %w", err)
	}
	return secret, id, nil
}

// origin is where a request to sign in comes from.
type origin struct {
	Address   string
	Agent     string // User-Agent
	RequestID string
}

func (s *Service) loadSession(ctx context.Context, secret string) (*principal, error) {
	return s.findSession(ctx, pg.Args{"hash": hashBearer(secret), "id": uuid.Nil})
}

func (s *Service) findSession(ctx context.Context, by pg.Args) (*principal, error) {
	by["idle"], by["absolute"] = sessionIdle.Seconds(), sessionAbsolute.Seconds()
	row, err := pg.One[sessionRow](ctx, s.db.Pool, selectSession, by)
	if pg.None(err) {
		return nil, errSignIn
	}
	if err != nil {
		return nil, fmt.Errorf("read session: %w", err)
	}
	if row.Stale {
		if _, err := pg.Exec(ctx, s.db.Pool, touchSession, pg.Args{"id": row.ID}); err != nil {
			return nil, fmt.Errorf("touch session: %w", err)
		}
	}
	memberships, err := pg.All[membership](ctx, s.db.Pool, selectMemberships, pg.Args{"user": row.UserID})
	if err != nil {
		return nil, fmt.Errorf("read memberships: %w", err)
	}
	return &principal{
		userID: row.UserID, operator: row.Operator, email: row.Email, session: row.ID, memberships: memberships,
	}, nil
}
