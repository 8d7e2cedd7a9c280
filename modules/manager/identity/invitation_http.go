package identity

import (
	"context"
	"net/http"

	"github.com/google/uuid"
)

type inviteInput struct {
	Body struct {
		Email string `json:"email" maxLength:"254"`
		Role  Role   `json:"role" enum:"owner,admin,member,viewer,billing"`
	}
}

type invitationInput struct {
	Invitation uuid.UUID `path:"invitation"`
}

type acceptInput struct {
	Body struct {
		Secret string `json:"secret" maxLength:"100" doc:"What follows # in the link of the invitation."`
	}
}

func (s *Service) declareInvitations(d *Doors) {
	Handle(d, Door{
		ID: "list-invitations", Method: http.MethodGet, Path: "/invitations", Tag: "organizations", Permission: MembersManage,
		Summary: "The invitations that were not accepted yet.",
	}, func(ctx context.Context, a Actor, in *PageInput) (*Body[Page[Invitation]], error) {
		page, err := s.Invitations(ctx, a, *in)
		return Reply(page), err
	})
	Handle(d, Door{
		ID: "create-invitation", Method: http.MethodPost, Path: "/invitations", Tag: "organizations", Permission: MembersManage,
		Creates: true, Status: http.StatusCreated,
		Summary: "Invite a person; the link is in the answer and nowhere else.",
	}, func(ctx context.Context, a Actor, in *inviteInput) (*Body[Invited], error) {
		made, err := s.Invite(ctx, a, in.Body.Email, in.Body.Role)
		return Reply(made), err
	})
	Handle(d, Door{
		ID: "revoke-invitation", Method: http.MethodDelete, Path: "/invitations/{invitation}", Tag: "organizations",
		Permission: MembersManage, Status: http.StatusNoContent, Summary: "Make an invitation worthless.",
	}, func(ctx context.Context, a Actor, in *invitationInput) (*NoContent, error) {
		return nil, s.RevokeInvitation(ctx, a, in.Invitation)
	})
	Handle(d, Door{
		ID: "accept-invitation", Method: http.MethodPost, Path: "/invitations/accept", Tag: "organizations", AnyMember: true,
		Summary: "Join an organization with an account that exists; without one, register with the invitation.",
	}, func(ctx context.Context, a Actor, in *acceptInput) (*Body[Organization], error) {
		org, err := s.AcceptInvitation(ctx, a, in.Body.Secret)
		return Reply(org), err
	})
}
