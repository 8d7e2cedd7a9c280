package deployments

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/agent/agentv1"
	"pandu/modules/kit/pg"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/projects"
	"pandu/modules/manager/routing"
	"pandu/modules/manager/servers"
	"pandu/modules/spec"
)

// World is everything about one environment that a plan depends on, read in one transaction that holds its lock.
type World struct {
	Now         time.Time // of the database
	Project     projects.Project
	Environment projects.Environment
	Live        *Release // what passed last
	Serving     *Release // what the routes name
	Target      *Release // what to work towards
	Replicas    map[string]int
	Instances   []Instance // all that are not gone
	TasksDone   map[string]bool
	Volumes     map[uuid.UUID]Volume
	Deployment  *Deployment // under way, in state releasing
	Domains     []routing.Domain
	OwnPort     int

	Server       uuid.UUID // uuid.Nil: not placed yet
	ServerState  servers.State
	Keys         map[string]agentv1.KeyStatus_State // of the environment and its volumes, as observed
	Held         map[string]bool                    // those keys that the server has been asked to hold; true: to be given up
	RoutesServed bool                               // the gateway serves the routes of this very plan
}

// Instance is one replica of a service's specification on one server: one container.
type Instance struct {
	ID               uuid.UUID      `db:"id"`
	EnvironmentID    uuid.UUID      `db:"environment_id"`
	ReleaseID        uuid.UUID      `db:"release_id"`
	Service          string         `db:"service"`
	Index            int            `db:"index"`
	TaskKey          *string        `db:"task_key"`
	Spec             spec.Container `db:"spec"`
	SpecHash         string         `db:"spec_hash"`
	VariablesVersion int64          `db:"variables_version"`
	ServerID         uuid.UUID      `db:"server_id"`
	Desired          string         `db:"desired"`
	Cause            string         `db:"cause"`
	CreatedAt        time.Time      `db:"created_at"`
	ReadyAt          *time.Time     `db:"ready_at"`
	CompletedAt      *time.Time     `db:"completed_at"`

	Status     *agentv1.InstanceStatus `db:"-"` // nil: nothing was heard of it
	ObservedAt time.Time               `db:"-"`
}

// State is what was observed last; unspecified when nothing was.
func (i Instance) State() agentv1.InstanceState { return i.Status.GetState() }

// Volume is named data of an environment on one server.
type Volume struct {
	ID        uuid.UUID  `db:"id"`
	Name      string     `db:"name"`
	ServerID  *uuid.UUID `db:"server_id"`
	CreatedAt time.Time  `db:"created_at"`
}

// LoadWorld reads an environment for planning. The caller holds its reconcile row; nil when the environment is gone.
func (s *Service) LoadWorld(ctx context.Context, tx pgx.Tx, environment uuid.UUID) (*World, error) {
	p, e, err := s.Projects.Load(ctx, tx, environment)
	if pg.None(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	actor := identity.System(e.OrganizationID, "plan")
	w := &World{Project: p, Environment: e, TasksDone: map[string]bool{}, Volumes: map[uuid.UUID]Volume{}}
	if w.Now, err = pg.Value[time.Time](ctx, tx, selectNow, nil); err != nil {
		return nil, fmt.Errorf("read clock: %w", err)
	}
	for _, load := range []func(context.Context, pgx.Tx, identity.Actor, *World) error{
		s.loadHead, s.loadDeployment, s.loadInstances, s.loadVolumes, s.loadRoutes, s.loadReplicas,
	} {
		if err := load(ctx, tx, actor, w); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (s *Service) loadHead(ctx context.Context, tx pgx.Tx, actor identity.Actor, w *World) error {
	head, err := s.head(ctx, tx, w.Environment.ID)
	if err != nil {
		return err
	}
	for _, ref := range []struct {
		id   *uuid.UUID
		into **Release
	}{{head.LiveID, &w.Live}, {head.ServingID, &w.Serving}, {head.TargetID, &w.Target}} {
		if ref.id == nil {
			continue
		}
		r, err := s.release(ctx, tx, actor, w.Environment.ID, *ref.id)
		if err != nil {
			return err
		}
		*ref.into = &r
	}
	if head.ServerID == nil {
		return nil
	}
	w.Server = *head.ServerID
	states, err := s.Servers.Sessions(ctx, tx, w.Server)
	if err != nil {
		return err
	}
	w.ServerState = states[w.Server]
	return nil
}

func (s *Service) loadDeployment(ctx context.Context, tx pgx.Tx, actor identity.Actor, w *World) error {
	d, err := s.active(ctx, tx, actor, w.Environment.ID)
	if err != nil {
		return err
	}
	if d != nil && d.State == Releasing {
		w.Deployment = d
	}
	return nil
}

func (s *Service) loadInstances(ctx context.Context, tx pgx.Tx, actor identity.Actor, w *World) error {
	if err := s.readInstances(ctx, tx, actor, w); err != nil {
		return err
	}
	var err error
	if w.Held, err = s.Servers.Held(ctx, tx, w.Environment.ID); err != nil {
		return err
	}
	seen, err := s.Servers.Observations(ctx, tx, w.Environment.ID)
	w.Keys = map[string]agentv1.KeyStatus_State{}
	for key, o := range seen {
		if o.Key != nil {
			w.Keys[key] = o.Key.GetState()
		}
	}
	return err
}

// readInstances fills in the instances of w's environment with what was observed of them.
func (s *Service) readInstances(ctx context.Context, q pg.Querier, actor identity.Actor, w *World) error {
	instances, done, err := s.instancesOf(ctx, q, actor, w.Environment.ID)
	if err != nil {
		return err
	}
	w.Instances, w.TasksDone = instances[w.Environment.ID], done[w.Environment.ID]
	if w.TasksDone == nil {
		w.TasksDone = map[string]bool{}
	}
	return nil
}

// instancesOf reads the instances of environments with what was observed of them, and which tasks have ended well.
func (s *Service) instancesOf(ctx context.Context, q pg.Querier, actor identity.Actor, environments ...uuid.UUID) (map[uuid.UUID][]Instance, map[uuid.UUID]map[string]bool, error) {
	args := pg.Args{"organization": actor.OrganizationID, "environments": environments}
	rows, err := pg.All[Instance](ctx, q, selectInstances, args)
	if err != nil {
		return nil, nil, fmt.Errorf("read instances: %w", err)
	}
	seen, err := s.Servers.Observations(ctx, q, environments...)
	if err != nil {
		return nil, nil, err
	}
	instances := map[uuid.UUID][]Instance{}
	for _, i := range rows {
		if o, ok := seen[servers.KeyOf("instance", i.ID)]; ok && o.ServerID == i.ServerID {
			i.Status, i.ObservedAt = o.Instance, o.ObservedAt
		}
		instances[i.EnvironmentID] = append(instances[i.EnvironmentID], i)
	}
	tasks, err := pg.All[struct {
		EnvironmentID uuid.UUID `db:"environment_id"`
		TaskKey       string    `db:"task_key"`
	}](ctx, q, selectTasksDone, args)
	if err != nil {
		return nil, nil, fmt.Errorf("read finished tasks: %w", err)
	}
	done := map[uuid.UUID]map[string]bool{}
	for _, t := range tasks {
		if done[t.EnvironmentID] == nil {
			done[t.EnvironmentID] = map[string]bool{}
		}
		done[t.EnvironmentID][t.TaskKey] = true
	}
	return instances, done, nil
}

func (s *Service) loadVolumes(ctx context.Context, tx pgx.Tx, actor identity.Actor, w *World) error {
	volumes, err := s.volumes(ctx, tx, actor, w.Environment.ID)
	if err != nil {
		return err
	}
	for _, v := range volumes {
		w.Volumes[v.ID] = v
	}
	return nil
}

func (s *Service) volumes(ctx context.Context, q pg.Querier, actor identity.Actor, environment uuid.UUID) ([]Volume, error) {
	list, err := pg.All[Volume](ctx, q, selectVolumes, pg.Args{"organization": actor.OrganizationID, "environment": environment})
	if err != nil {
		return nil, fmt.Errorf("read volumes: %w", err)
	}
	return list, nil
}

func (s *Service) loadRoutes(ctx context.Context, tx pgx.Tx, actor identity.Actor, w *World) error {
	domains, err := s.Routing.Domains(ctx, tx, actor, w.Environment.ID)
	if err != nil {
		return err
	}
	w.Domains = domains[w.Environment.ID]
	w.OwnPort, err = s.Routing.OwnPort(ctx, tx, actor, w.Environment.ID)
	return err
}

// loadReplicas counts how many instances each service of the target (or, without one, the live release) shall have.
func (s *Service) loadReplicas(ctx context.Context, tx pgx.Tx, actor identity.Actor, w *World) error {
	overrides, err := s.Projects.Overrides(ctx, tx, actor, w.Environment.ID)
	if err != nil {
		return err
	}
	w.Replicas = map[string]int{}
	for _, r := range []*Release{w.Live, w.Target} {
		if r == nil {
			continue
		}
		for _, svc := range r.Application.Services {
			w.Replicas[svc.Name] = Count(svc, overrides[svc.Name])
		}
	}
	return nil
}

// Count is how many instances a service shall have. What writes to a volume runs at most once.
func Count(svc spec.Service, o projects.Override) int {
	n := svc.Replicas
	if o.Replicas != nil {
		n = *o.Replicas
	}
	if svc.Task || (n > 1 && svc.SingleWriter()) {
		n = 1
	}
	return n
}

const selectNow = `
	select clock_timestamp()`

const selectInstances = `
	select id, environment_id, release_id, service, index, task_key, spec, spec_hash, variables_version, server_id, desired, cause, created_at,
	       ready_at, completed_at
	from deployments.instances
	where organization_id = @organization and environment_id = any(@environments) and gone_at is null
	order by created_at, id`

const selectTasksDone = `
	select distinct environment_id, task_key from deployments.instances
	where organization_id = @organization and environment_id = any(@environments) and task_key is not null and completed_at is not null`

const selectVolumes = `
	select id, name, server_id, created_at from deployments.volumes
	where organization_id = @organization and environment_id = @environment and deleted_at is null
	order by name`

// WantActive has every environment with a deployment under way planned again, so that a deadline is noticed although
// nobody reports anything, and fails those that no build has come of in time.
func (s *Service) WantActive(ctx context.Context) error {
	late, err := pg.All[struct {
		ID           uuid.UUID `db:"id"`
		Organization uuid.UUID `db:"organization_id"`
		Environment  uuid.UUID `db:"environment_id"`
		State        State     `db:"state"`
		Late         bool      `db:"late"`
	}](ctx, s.DB.Pool, selectUnderWay, nil)
	if err != nil {
		return fmt.Errorf("read deployments under way: %w", err)
	}
	for _, d := range late {
		err := s.DB.InTx(ctx, func(tx pgx.Tx) error {
			if d.State == Releasing {
				return s.Servers.Want(ctx, tx, d.Environment)
			}
			if !d.Late {
				return nil
			}
			return s.expire(ctx, tx, identity.System(d.Organization, "sweep"), d.ID)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) expire(ctx context.Context, tx pgx.Tx, actor identity.Actor, id uuid.UUID) error {
	d, err := s.lock(ctx, tx, actor, id)
	if err != nil || d.State.Final() || d.State == Releasing {
		return err
	}
	return s.retreat(ctx, tx, actor, d, Failed, &Error{Code: "build_timeout", Message: "The build did not come to an end in time."})
}

const selectUnderWay = `
	select id, organization_id, environment_id, state, deadline_at < now() as late from deployments.deployments
	where state in ('queued', 'building', 'releasing')
	order by id limit 1000`
