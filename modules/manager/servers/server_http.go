package servers

import (
	"context"
	"net/http"
	"time"

	"pandu/modules/manager/identity"
)

// Joining is a new server and what to run on it. The token is shown once.
type Joining struct {
	Server    Server    `json:"server"`
	JoinToken string    `json:"join_token"`
	ExpiresAt time.Time `json:"expires_at"`
	Command   string    `json:"command"`
}

// Doors declares this room's doors.
func (s *Service) Doors(d *identity.Doors) {
	identity.Handle(d, identity.Door{
		ID: "list-servers", Method: http.MethodGet, Path: "/servers", Tag: "servers", Operator: true, Permission: identity.ServersRead,
		Summary: "List the servers of this platform",
	}, func(ctx context.Context, actor identity.Actor, _ *struct{}) (*identity.Body[identity.Page[Server]], error) {
		list, err := s.List(ctx, actor)
		return identity.Reply(identity.Page[Server]{Items: list}), err
	})
	identity.Handle(d, identity.Door{
		ID: "add-server", Method: http.MethodPost, Path: "/servers", Tag: "servers", Operator: true, Permission: identity.ServersManage,
		Summary: "Add a server: makes a join token, valid once and for 30 minutes", Status: http.StatusCreated, Creates: true,
	}, func(ctx context.Context, actor identity.Actor, in *struct {
		Body struct {
			Name string `json:"name" minLength:"1" maxLength:"63"`
		}
	}) (*identity.Body[Joining], error) {
		server, token, err := s.Add(ctx, actor, in.Body.Name)
		if err != nil {
			return nil, err
		}
		return identity.Reply(Joining{
			Server: server, JoinToken: token.Encode(), ExpiresAt: time.Now().Add(JoinTokenLife), Command: s.joinCommand(token),
		}), nil
	})
}
