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

// facts reads one environment.
func (s *Service) facts(ctx context.Context, actor identity.Actor, e projects.Environment) (facts, error) {
	all, err := s.factsOf(ctx, actor, e)
	return all[e.ID], err
}

// factsOf reads environments with a fixed number of statements, however many they are.
func (s *Service) factsOf(ctx context.Context, actor identity.Actor, environments ...projects.Environment) (map[uuid.UUID]facts, error) {
	all := map[uuid.UUID]facts{}
	var ids, servers []uuid.UUID
	for _, e := range environments {
		ids = append(ids, e.ID)
	}
	heads, err := s.heads(ctx, actor, ids...)
	if err != nil {
		return nil, err
	}
	live, err := s.liveReleases(ctx, actor, ids...)
	if err != nil {
		return nil, err
	}
	newest, err := s.newest(ctx, actor, ids...)
	if err != nil {
		return nil, err
	}
	instances, done, err := s.instancesOf(ctx, s.DB.Pool, actor, ids...)
	if err != nil {
		return nil, err
	}
	overrides, err := s.Projects.OverridesOf(ctx, s.DB.Pool, actor, ids...)
	if err != nil {
		return nil, err
	}
	for _, h := range heads {
		if h.ServerID != nil {
			servers = append(servers, *h.ServerID)
		}
	}
	states, err := s.Servers.Sessions(ctx, s.DB.Pool, servers...)
	if err != nil {
		return nil, err
	}
	for _, e := range environments {
		f := facts{head: heads[e.ID], overrides: overrides[e.ID]}
		f.world = &World{Environment: e, Instances: instances[e.ID], TasksDone: done[e.ID]}
		if r, ok := live[e.ID]; ok {
			f.live = &r
		}
		if d, ok := newest[e.ID]; ok {
			f.newest = &d
		}
		if f.head.ServerID != nil {
			f.server = states[*f.head.ServerID]
			f.known = f.server.Synced
		}
		all[e.ID] = f
	}
	return all, nil
}

func (s *Service) heads(ctx context.Context, actor identity.Actor, environments ...uuid.UUID) (map[uuid.UUID]Head, error) {
	rows, err := pg.All[struct {
		EnvironmentID uuid.UUID `db:"environment_id"`
		Head
	}](ctx, s.DB.Pool, selectHeads, pg.Args{"organization": actor.OrganizationID, "environments": environments})
	if err != nil {
		return nil, fmt.Errorf("read heads: %w", err)
	}
	all := map[uuid.UUID]Head{}
	for _, row := range rows {
		all[row.EnvironmentID] = row.Head
	}
	return all, nil
}

func (s *Service) liveReleases(ctx context.Context, actor identity.Actor, environments ...uuid.UUID) (map[uuid.UUID]Release, error) {
	rows, err := pg.All[struct {
		EnvironmentID uuid.UUID `db:"environment_id"`
		Release
	}](ctx, s.DB.Pool, selectLiveReleases, pg.Args{"organization": actor.OrganizationID, "environments": environments})
	if err != nil {
		return nil, fmt.Errorf("read live releases: %w", err)
	}
	all := map[uuid.UUID]Release{}
	for _, row := range rows {
		all[row.EnvironmentID] = row.Release
	}
	return all, nil
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

const selectHeads = `
	select environment_id, server_id, live_id, serving_id, target_id from deployments.heads
	where organization_id = @organization and environment_id = any(@environments)`

const selectLiveReleases = `
	select r.environment_id, r.id, r.number, r.source_id, r.application, r.variables_version, r.created_at
	from deployments.heads h
	join deployments.releases r on r.organization_id = h.organization_id and r.id = h.live_id
	where h.organization_id = @organization and h.environment_id = any(@environments)`
