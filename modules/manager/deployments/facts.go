package deployments

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"pandu/modules/kit/pg"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/projects"
	"pandu/modules/manager/servers"
)

// facts is what the status of an environment is judged by.
type facts struct {
	head      Head
	live      *Release
	newest    *Deployment
	world     *World
	overrides map[string]projects.Override
	server    servers.State
	known     bool // what agents said is known to be true now
}

func (s *Service) facts(ctx context.Context, actor identity.Actor, e projects.Environment) (facts, error) {
	f := facts{world: &World{TasksDone: map[string]bool{}}}
	f.world.Environment = e
	var err error
	if f.head, err = s.head(ctx, s.DB.Pool, e.ID); err != nil {
		return f, err
	}
	if f.head.LiveID != nil {
		r, err := s.release(ctx, s.DB.Pool, actor, e.ID, *f.head.LiveID)
		if err != nil {
			return f, err
		}
		f.live = &r
	}
	newest, err := s.newest(ctx, actor, e.ID)
	if err != nil {
		return f, err
	}
	if d, ok := newest[e.ID]; ok {
		f.newest = &d
	}
	if err := s.readInstances(ctx, s.DB.Pool, actor, f.world); err != nil {
		return f, err
	}
	if f.overrides, err = s.Projects.Overrides(ctx, s.DB.Pool, actor, e.ID); err != nil {
		return f, err
	}
	if f.head.ServerID != nil {
		states, err := s.Servers.Sessions(ctx, s.DB.Pool, *f.head.ServerID)
		if err != nil {
			return f, err
		}
		f.server = states[*f.head.ServerID]
		f.known = f.server.Synced
	}
	return f, nil
}

func (s *Service) newest(ctx context.Context, actor identity.Actor, environments ...uuid.UUID) (map[uuid.UUID]Deployment, error) {
	rows, err := pg.All[Deployment](ctx, s.DB.Pool, selectNewest, pg.Args{"organization": actor.OrganizationID, "environments": environments})
	if err != nil {
		return nil, fmt.Errorf("read newest deployments: %w", err)
	}
	all := map[uuid.UUID]Deployment{}
	for _, d := range rows {
		all[d.EnvironmentID] = d
	}
	return all, nil
}

// status says in one word how an environment is. It never claims more than is known: what a silent server runs is unknown.
func (f facts) status(e projects.Environment) string {
	underWay := f.newest != nil && !f.newest.State.Final()
	switch {
	case e.Wanted == projects.Deleted:
		return "deleting"
	case underWay:
		return "progress"
	case f.live == nil && f.newest != nil && f.newest.State == Failed:
		return "failed"
	case f.live == nil:
		return "pending"
	case e.Wanted == projects.Stopped:
		return "stopped"
	case !f.known:
		return "unknown"
	case f.allReady():
		return "ready"
	default:
		return "failed"
	}
}

func (f facts) allReady() bool {
	for _, svc := range f.live.Application.Services {
		if svc.Task {
			continue
		}
		if v := f.service(svc); v.Ready < v.Replicas {
			return false
		}
	}
	return true
}

func (f facts) warnings() []Warning {
	list := []Warning{}
	if f.server.SilentSince != nil {
		since := f.server.SilentSince.UTC().Format(time.RFC3339)
		list = append(list, Warning{
			Code: "server_silent", Message: "The server has not been heard of since " + since + ". What runs there goes on running, but what is shown is old.",
			Parameters: map[string]string{"since": since},
		})
	}
	for _, i := range f.world.Instances {
		if name := stateNames[i.State()]; name == "drifted" && i.Desired == "running" {
			list = append(list, Warning{
				Code: "instance_drifted", Message: i.Service + " was changed by hand on its server: " + i.Status.GetMessage(),
				Parameters: map[string]string{"service": i.Service},
			})
		}
	}
	return order(list)
}
