package identity

import (
	"context"
	"fmt"
	"net/http"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/pg"
	"pandu/modules/manager/audit"
)

// Me is who the caller is and what it may do in the organization of the request.
type Me struct {
	Kind          Kind           `json:"kind" enum:"user,token"`
	User          *User          `json:"user,omitempty" doc:"Absent for tokens of the installation."`
	Organization  string         `json:"organization,omitempty" doc:"Slug of the organization of this request."`
	Role          Role           `json:"role,omitempty"`
	Permissions   []Permission   `json:"permissions" nullable:"false" doc:"In that organization."`
	Operator      bool           `json:"operator" doc:"May use the operator's doors."`
	Organizations []Organization `json:"organizations" nullable:"false"`
}

type profileInput struct {
	Body struct {
		Name   string `json:"name,omitempty" maxLength:"100"`
		Locale string `json:"locale,omitempty" enum:"en,id,ru,zh"`
	}
}

type passwordInput struct {
	agent
	Body struct {
		Current string `json:"current" maxLength:"256"`
		New     string `json:"new" maxLength:"256" doc:"At least 10 characters."`
	}
}

func (s *Service) declareMe(d *Doors) {
	Handle(d, Door{
		ID: "get-me", Method: http.MethodGet, Path: "/me", Tag: "auth", AnyMember: true,
		Summary: "Who the caller is, where a member, and what it may do.",
	}, func(ctx context.Context, a Actor, _ *struct{}) (*Body[Me], error) {
		me, err := s.Me(ctx, a)
		return Reply(me), err
	})
	Handle(d, Door{
		ID: "update-me", Method: http.MethodPatch, Path: "/me", Tag: "auth", AnyMember: true,
		Summary: "Change the caller's name or language.",
	}, func(ctx context.Context, a Actor, in *profileInput) (*Body[User], error) {
		user, err := s.UpdateProfile(ctx, a, in.Body.Name, in.Body.Locale)
		return Reply(user), err
	})
	Handle(d, Door{
		ID: "change-password", Method: http.MethodPost, Path: "/me/password", Tag: "auth", AnyMember: true,
		Summary: "Change the caller's password; every other session ends.",
	}, func(ctx context.Context, a Actor, in *passwordInput) (*signedInOutput, error) {
		session, err := s.ChangePassword(ctx, a, in.Body.Current, in.Body.New, in.origin(a))
		if err != nil {
			return nil, err
		}
		return s.signedIn(session), nil
	})
}

// Me tells the actor about itself.
func (s *Service) Me(ctx context.Context, a Actor) (Me, error) {
	me := Me{Kind: a.Kind, Role: a.Role, Permissions: a.Permissions(), Operator: a.Operator}
	if me.Permissions == nil {
		me.Permissions = []Permission{}
	}
	if a.UserID != uuid.Nil {
		row, err := pg.One[userRow](ctx, s.db.Pool, selectUser, pg.Args{"id": a.UserID})
		if err != nil {
			return Me{}, fmt.Errorf("read user: %w", err)
		}
		user := row.public()
		me.User = &user
	}
	var err error
	if me.Organizations, err = s.Organizations(ctx, a); err != nil {
		return Me{}, err
	}
	for _, o := range me.Organizations {
		if o.ID == a.OrganizationID {
			me.Organization = o.Slug
		}
	}
	return me, nil
}

// UpdateProfile changes how a user is called and in which language; empty fields stay.
func (s *Service) UpdateProfile(ctx context.Context, a Actor, name, locale string) (User, error) {
	if a.Kind != KindUser {
		return User{}, errUsersOnly
	}
	var now userRow
	err := s.db.InTx(ctx, func(tx pgx.Tx) error {
		var err error
		if now, err = pg.One[userRow](ctx, tx, selectUser, pg.Args{"id": a.UserID}); err != nil {
			return fmt.Errorf("read user: %w", err)
		}
		now.Name = cleanName(name, now.Name)
		if locale != "" {
			now.Locale = locale
		}
		if _, err := pg.Exec(ctx, tx, updateProfile, pg.Args{"id": a.UserID, "name": now.Name, "locale": now.Locale}); err != nil {
			return fmt.Errorf("update profile: %w", err)
		}
		return audit.Record(ctx, tx, a.platform().Event("user.update", "user", a.UserID, now.Email, nil))
	})
	return now.public(), err
}
