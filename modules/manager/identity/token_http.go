package identity

import (
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"
)

type tokenInput struct {
	Body struct {
		Name   string   `json:"name" minLength:"1" maxLength:"100"`
		Scopes []string `json:"scopes" minItems:"1" maxItems:"100" nullable:"false" doc:"Permissions, or * for all of the caller's role."`
		Days   int      `json:"days,omitempty" minimum:"1" maximum:"3650" doc:"Until it expires; without it, never."`
	}
}

type tokenPath struct {
	Token uuid.UUID `path:"token"`
}

func (s *Service) declareTokens(d *Doors) {
	Handle(d, Door{
		ID: "list-tokens", Method: http.MethodGet, Path: "/tokens", Tag: "tokens", Permission: TokensManage,
		Summary: "The caller's API tokens, or all of the organization for whoever manages members.",
	}, func(ctx context.Context, a Actor, in *PageInput) (*Body[Page[Token]], error) {
		page, err := s.Tokens(ctx, a, *in)
		return Reply(page), err
	})
	Handle(d, Door{
		ID: "create-token", Method: http.MethodPost, Path: "/tokens", Tag: "tokens", Permission: TokensManage,
		Creates: true, Status: http.StatusCreated,
		Summary: "Make an API token; its secret is in the answer and nowhere else.",
	}, func(ctx context.Context, a Actor, in *tokenInput) (*Body[NewToken], error) {
		made, err := s.CreateToken(ctx, a, in.Body.Name, in.Body.Scopes, time.Duration(in.Body.Days)*24*time.Hour)
		return Reply(made), err
	})
	Handle(d, Door{
		ID: "revoke-token", Method: http.MethodDelete, Path: "/tokens/{token}", Tag: "tokens", Permission: TokensManage,
		Status: http.StatusNoContent, Summary: "End an API token.",
	}, func(ctx context.Context, a Actor, in *tokenPath) (*NoContent, error) {
		return nil, s.RevokeToken(ctx, a, in.Token)
	})
}
