package identity

import (
	"context"
	"crypto/subtle"
	"fmt"
	"time"

	"github.com/google/uuid"

	"pandu/modules/kit/pg"
)

type tokenRow struct {
	ID             uuid.UUID  `db:"id"`
	OrganizationID uuid.UUID  `db:"organization_id"`
	UserID         *uuid.UUID `db:"user_id"`
	Name           string     `db:"name"`
	SecretHash     []byte     `db:"secret_hash"`
	Scopes         []string   `db:"scopes"`
	Role           Role       `db:"role"`
	Slug           string     `db:"slug"`
	Organization   string     `db:"organization_name"`
	Operator       bool       `db:"operator"`
	Email          string     `db:"email"`
	Stale          bool       `db:"stale"`
	SecondsLeft    *float64   `db:"seconds_left"`
}

// A token lives while it is not revoked or expired and its person, if it has one, is a member and not disabled.
const selectTokenForUse = `
	select t.id, t.organization_id, t.user_id, t.name, t.secret_hash, t.scopes, coalesce(m.role, t.role) as role, o.slug,
	       o.name as organization_name, coalesce(u.operator, false) as operator, coalesce(u.email, '') as email,
	       t.last_used_at is null or t.last_used_at < now() - interval '1 minute' as stale,
	       extract(epoch from t.expires_at - now())::float8 as seconds_left
	from identity.tokens t
	join identity.organizations o on o.id = t.organization_id
	left join identity.members m on m.organization_id = t.organization_id and m.user_id = t.user_id
	left join identity.users u on u.id = t.user_id
	where (t.prefix = @prefix or t.id = @id) and t.revoked_at is null and (t.expires_at is null or t.expires_at > now())
	  and (t.user_id is null or (m.user_id is not null and u.disabled_at is null))`

const touchToken = `update identity.tokens set last_used_at = now() where organization_id = @organization and id = @id`

func (s *Service) loadToken(ctx context.Context, token string) (*principal, error) {
	name, ok := tokenNameOf(token)
	if !ok {
		return nil, errSignIn
	}
	return s.findToken(ctx, pg.Args{"prefix": name, "id": uuid.Nil, "secret": token})
}

// findToken looks a token up by its public prefix and compares the secret, or, for a JWT, by id alone.
func (s *Service) findToken(ctx context.Context, by pg.Args) (*principal, error) {
	row, err := pg.One[tokenRow](ctx, s.db.Pool, selectTokenForUse, pg.Args{"prefix": by["prefix"], "id": by["id"]})
	if pg.None(err) {
		return nil, errSignIn
	}
	if err != nil {
		return nil, fmt.Errorf("read token: %w", err)
	}
	if secret, given := by["secret"].(string); given && subtle.ConstantTimeCompare(hashBearer(secret), row.SecretHash) != 1 {
		return nil, errSignIn
	}
	if row.Stale {
		if _, err := pg.Exec(ctx, s.db.Pool, touchToken, pg.Args{"organization": row.OrganizationID, "id": row.ID}); err != nil {
			return nil, fmt.Errorf("touch token: %w", err)
		}
	}
	return row.principal(s.now()), nil
}

func (r tokenRow) principal(now time.Time) *principal {
	p := &principal{
		operator: r.Operator, email: r.Email, token: r.ID, label: r.Name, scoped: permissionsOf(r.Role, r.Operator, r.Scopes),
		memberships: []membership{{OrganizationID: r.OrganizationID, Slug: r.Slug, Name: r.Organization, Role: r.Role}},
	}
	if r.UserID != nil {
		p.userID, p.label = *r.UserID, r.Email+" ("+r.Name+")"
	}
	if r.SecondsLeft != nil {
		p.until = now.Add(time.Duration(*r.SecondsLeft * float64(time.Second)))
	}
	return p
}

const insertToken = `
	insert into identity.tokens (organization_id, id, user_id, role, name, prefix, secret_hash, scopes, created_by, expires_at)
	values (@organization, @id, @user, @role, @name, @prefix, @hash, @scopes, @maker, now() + make_interval(secs => @life))`

const selectToken = `
	select id, name, prefix, user_id, scopes, created_at, expires_at, last_used_at
	from identity.tokens where organization_id = @organization and id = @id`

const selectTokens = `
	select id, name, prefix, user_id, scopes, created_at, expires_at, last_used_at
	from identity.tokens
	where organization_id = @organization and revoked_at is null and (@all or user_id = @user)
	  and (@before_time::timestamptz is null or (created_at, id) < (@before_time, @before_id::uuid))
	order by created_at desc, id desc limit @limit`

const revokeToken = `
	update identity.tokens set revoked_at = now()
	where organization_id = @organization and id = @id and revoked_at is null and (@all or user_id = @user)
	returning name`
