package identity

import (
	"context"
	"net/http"

	"github.com/google/uuid"
)

type organizationInput struct {
	Body struct {
		Slug string `json:"slug" maxLength:"40" doc:"Short name for addresses: lower-case letters, digits, dashes."`
		Name string `json:"name,omitempty" maxLength:"100"`
	}
}

type organizationUpdate struct {
	Body struct {
		Slug string `json:"slug,omitempty" maxLength:"40"`
		Name string `json:"name,omitempty" maxLength:"100"`
	}
}

type memberInput struct {
	User uuid.UUID `path:"user"`
}

type roleInput struct {
	User uuid.UUID `path:"user"`
	Body struct {
		Role Role `json:"role" enum:"owner,admin,member,viewer,billing"`
	}
}

func (s *Service) declareOrganizations(d *Doors) {
	Handle(d, Door{
		ID: "list-organizations", Method: http.MethodGet, Path: "/organizations", Tag: "organizations", AnyMember: true,
		Summary: "The organizations that the caller is a member of.",
	}, func(ctx context.Context, a Actor, _ *struct{}) (*Body[Page[Organization]], error) {
		all, err := s.Organizations(ctx, a)
		return Reply(Page[Organization]{Items: all}), err
	})
	Handle(d, Door{
		ID: "create-organization", Method: http.MethodPost, Path: "/organizations", Tag: "organizations", AnyMember: true,
		Creates: true, Status: http.StatusCreated,
		Summary: "Make an organization that the caller owns.",
	}, func(ctx context.Context, a Actor, in *organizationInput) (*Body[Organization], error) {
		org, err := s.CreateOrganization(ctx, a, in.Body.Slug, in.Body.Name)
		return Reply(org), err
	})
	Handle(d, Door{
		ID: "update-organization", Method: http.MethodPatch, Path: "/organization", Tag: "organizations", Permission: OrganizationManage,
		Summary: "Rename the organization of the request.",
	}, func(ctx context.Context, a Actor, in *organizationUpdate) (*Body[Organization], error) {
		org, err := s.UpdateOrganization(ctx, a, in.Body.Slug, in.Body.Name)
		return Reply(org), err
	})
	Handle(d, Door{
		ID: "list-limits", Method: http.MethodGet, Path: "/organization/limits", Tag: "organizations", Permission: OrganizationRead,
		Summary: "What the plan allows and what is used.",
	}, func(ctx context.Context, a Actor, _ *struct{}) (*Body[Page[Limit]], error) {
		limits, err := s.Limits(ctx, a)
		return Reply(Page[Limit]{Items: limits}), err
	})
	s.declareMembers(d)
}

func (s *Service) declareMembers(d *Doors) {
	Handle(d, Door{
		ID: "list-members", Method: http.MethodGet, Path: "/members", Tag: "organizations", Permission: MembersRead,
		Summary: "The people of the organization.",
	}, func(ctx context.Context, a Actor, in *PageInput) (*Body[Page[OrganizationMember]], error) {
		page, err := s.Members(ctx, a, *in)
		return Reply(page), err
	})
	Handle(d, Door{
		ID: "change-role", Method: http.MethodPatch, Path: "/members/{user}", Tag: "organizations", Permission: MembersManage,
		Summary: "Give a member another role.",
	}, func(ctx context.Context, a Actor, in *roleInput) (*Body[OrganizationMember], error) {
		member, err := s.ChangeRole(ctx, a, in.User, in.Body.Role)
		return Reply(member), err
	})
	Handle(d, Door{
		ID: "remove-member", Method: http.MethodDelete, Path: "/members/{user}", Tag: "organizations", Permission: MembersRead,
		Status: http.StatusNoContent, Summary: "Remove a member, which takes members.manage, or leave.",
	}, func(ctx context.Context, a Actor, in *memberInput) (*NoContent, error) {
		return nil, s.RemoveMember(ctx, a, in.User)
	})
}
