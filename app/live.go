package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"pandu/modules/manager/deployments"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/projects"
	"pandu/modules/manager/servers"
)

// Change says that something changed, never what: the reader asks again.
type Change struct {
	Kind string    `json:"kind" enum:"project,environment,deployment,servers"`
	ID   uuid.UUID `json:"id"`
}

// System is what a client needs to know of this installation.
type System struct {
	Version      string                `json:"version"`
	AppsDomain   string                `json:"apps_domain"`
	PublicURL    string                `json:"public_url"`
	Registration string                `json:"registration" enum:"open,invite,closed"`
	GatewayPort  int                   `json:"gateway_port" doc:"where visitors come in; 0: not known here"`
	Warnings     []deployments.Warning `json:"warnings" nullable:"false"`
}

// declare opens the doors of every room and those that belong to none.
func (p *Process) declare(e *echo.Echo) (*identity.Doors, error) {
	doors := identity.NewDoors(e, p.rooms.identity, p.log, p.version)
	p.rooms.servers.Doors(doors)
	p.rooms.projects.Doors(doors)
	p.rooms.deployments.Doors(doors)
	identity.Handle(doors, identity.Door{
		ID: "get-system", Method: http.MethodGet, Path: "/system", Tag: "system", AnyMember: true,
		Summary: "Say what this installation is, and what an operator should know",
	}, p.getSystem)
	live := identity.Door{
		ID: "watch-changes", Method: http.MethodGet, Path: "/changes", Tag: "system", Permission: identity.ProjectsRead,
		Summary: "Follow what changes, as events named change; after one named reset everything may have changed",
	}
	doors.Raw(live, nil, "text/event-stream", func(c echo.Context, actor identity.Actor) error {
		return doors.Events(c, live, func(ctx context.Context, last string, send identity.Send) error {
			return p.sendChanges(ctx, actor, last, send)
		})
	})
	return doors, doors.Check()
}

// sendChanges hands on what the actor may hear of. Nothing is kept for a reader that was away: it is told to ask for
// everything again.
func (p *Process) sendChanges(ctx context.Context, actor identity.Actor, last string, send identity.Send) error {
	kinds := []string{projects.NoticeProject, servers.NoticeEnvironment, deployments.NoticeDeployment}
	if actor.Operator {
		kinds = append(kinds, servers.NoticeServers)
	}
	sub := p.hub.Subscribe(kinds...)
	defer sub.Close()
	if last != "" {
		if err := send(identity.Event{ID: "0", Name: "reset", Data: "{}"}); err != nil {
			return err
		}
	}
	n := 0
	for {
		batch, err := sub.Next(ctx)
		if err != nil {
			return nil // the reader is gone
		}
		if batch.Reset {
			if err := send(identity.Event{ID: "0", Name: "reset", Data: "{}"}); err != nil {
				return err
			}
		}
		for _, note := range batch.Notes {
			if note.Organization != actor.OrganizationID && note.Organization != uuid.Nil {
				continue
			}
			body, err := json.Marshal(Change{note.Kind, note.ID})
			if err != nil {
				return fmt.Errorf("render change: %w", err)
			}
			n++
			if err := send(identity.Event{ID: fmt.Sprint(n), Name: "change", Data: string(body)}); err != nil {
				return err
			}
		}
	}
}

func (p *Process) getSystem(ctx context.Context, _ identity.Actor, _ *struct{}) (*identity.Body[System], error) {
	s := System{
		Version: p.version, AppsDomain: p.cfg.AppsDomain, PublicURL: p.cfg.PublicURL, Registration: p.cfg.Registration,
		GatewayPort: p.cfg.Gateway.HTTPPort(), Warnings: []deployments.Warning{},
	}
	unserved, err := p.processes.QueuesWithoutProcess(ctx)
	if err != nil {
		return nil, err
	}
	for _, queue := range unserved {
		s.Warnings = append(s.Warnings, deployments.Warning{
			Code: "queue_unserved", Message: fmt.Sprintf("There is work in the queue %s, and no process works it. Start one with WORKER_MODE=%s.", queue, queue),
			Parameters: map[string]string{"queue": queue},
		})
	}
	return identity.Reply(s), nil
}
