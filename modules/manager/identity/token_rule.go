package identity

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
	"pandu/modules/manager/audit"
)

// NewToken is a token that was just made, with its secret, which is shown once.
type NewToken struct {
	Token
	Secret string `json:"secret" doc:"The token itself. It is not shown again."`
}

var errToken = fault.New(fault.NotFound, "token_not_found", "There is no such token.")

// CreateToken makes an API token of the actor's organization with the role of the actor's person, narrowed to scopes.
// life 0 never expires.
func (s *Service) CreateToken(ctx context.Context, a Actor, name string, scopes []string, life time.Duration) (NewToken, error) {
	if err := a.Require(TokensManage); err != nil {
		return NewToken{}, err
	}
	if a.UserID == uuid.Nil {
		return NewToken{}, errUsersOnly
	}
	if err := judgeScopes(a, scopes); err != nil {
		return NewToken{}, err
	}
	secret, prefix := newToken()
	id := pg.NewID()
	var made Token
	err := s.db.InTx(ctx, func(tx pgx.Tx) error {
		args := pg.Args{
			"organization": a.OrganizationID, "id": id, "user": a.UserID, "role": nil, "name": cleanName(name, "token"),
			"prefix": prefix, "hash": hashBearer(secret), "scopes": cleanScopes(scopes), "maker": a.UserID, "life": nil,
		}
		if life > 0 {
			args["life"] = life.Seconds()
		}
		if _, err := pg.Exec(ctx, tx, insertToken, args); err != nil {
			return fmt.Errorf("insert token: %w", err)
		}
		var err error
		if made, err = pg.One[Token](ctx, tx, selectToken, pg.Args{"organization": a.OrganizationID, "id": id}); err != nil {
			return fmt.Errorf("read token: %w", err)
		}
		return audit.Record(ctx, tx, a.Event("token.create", "token", id, made.Name, map[string]string{"prefix": prefix}))
	})
	return NewToken{made, secret}, err
}

// Tokens lists the API tokens of the actor's organization: one's own, or all for whoever manages members.
func (s *Service) Tokens(ctx context.Context, a Actor, page PageInput) (Page[Token], error) {
	if err := a.Require(TokensManage); err != nil {
		return Page[Token]{}, err
	}
	from, err := page.Position()
	if err != nil {
		return Page[Token]{}, err
	}
	beforeTime, beforeID := from.Args()
	rows, err := pg.All[Token](ctx, s.db.Pool, selectTokens, pg.Args{
		"organization": a.OrganizationID, "user": a.UserID, "all": a.Can(MembersManage),
		"before_time": beforeTime, "before_id": beforeID, "limit": page.Size(),
	})
	if err != nil {
		return Page[Token]{}, fmt.Errorf("list tokens: %w", err)
	}
	return Cut(page, rows, func(t Token) Cursor { return Cursor{t.CreatedAt, t.ID} }), nil
}

// RevokeToken ends a token, and the JWTs made from it, at once here and within seconds elsewhere.
func (s *Service) RevokeToken(ctx context.Context, a Actor, id uuid.UUID) error {
	if err := a.Require(TokensManage); err != nil {
		return err
	}
	err := s.db.InTx(ctx, func(tx pgx.Tx) error {
		name, err := pg.Value[string](ctx, tx, revokeToken, pg.Args{
			"organization": a.OrganizationID, "id": id, "user": a.UserID, "all": a.Can(MembersManage),
		})
		if pg.None(err) {
			return errToken
		}
		if err != nil {
			return fmt.Errorf("revoke token: %w", err)
		}
		return audit.Record(ctx, tx, a.Event("token.revoke", "token", id, name, nil))
	})
	s.known.forget(id)
	return err
}
