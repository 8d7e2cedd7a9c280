package deployments

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/durationpb"

	"pandu/jobs"
	"pandu/modules/agent/agentv1"
	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/projects"
	"pandu/modules/manager/routing"
	"pandu/modules/manager/servers"
	"pandu/modules/spec"
)

// Changes is what a plan says should be written. Applying the changes of the same world twice is prevented by the lock
// under which both happen.
type Changes struct {
	Ready      []uuid.UUID  // instances that passed their gate for the first time
	Completed  []uuid.UUID  // tasks that ended well
	Gone       []Instance   // tombstones that were carried out
	Create     []Instance   // with release, service, index, task key and specification
	Retire     []Retirement // instances that shall end
	DropKeys   []string     // the environment and its volumes, to be given up by the server
	ForgetKeys []string     // those that were
	Live       bool         // the deployment under way has succeeded
	Failed     *Error       // it has not
	Removed    bool         // nothing of the environment is left
}

// Retirement ends an instance, for a cause that the agent is told.
type Retirement struct {
	Instance uuid.UUID
	Cause    string // deployment, scale, stop, delete, drain, moved
}

// drainTime is how long an instance that left the routes may finish its requests.
const drainTime = 30 * time.Second

// Place chooses in tx the server of an environment that has none. Its services stay together there.
func (s *Service) Place(ctx context.Context, tx pgx.Tx, w *World) error {
	server, err := s.Servers.Place(ctx, tx, w.Environment.GroupID, "run")
	if err != nil {
		return err
	}
	args := pg.Args{"environment": w.Environment.ID, "organization": w.Environment.OrganizationID, "server": server}
	for _, statement := range []string{placeHead, placeVolumes} {
		if _, err := pg.Exec(ctx, tx, statement, args); err != nil {
			return fmt.Errorf("place environment: %w", err)
		}
	}
	w.Server = server
	states, err := s.Servers.Sessions(ctx, tx, server)
	if err != nil {
		return err
	}
	w.ServerState = states[server]
	return nil
}

// PutRoutes writes in tx what the gateway shall serve of an environment, nil for nothing any more, and records whose
// release that is. It fills in whether the gateway serves exactly that already.
func (s *Service) PutRoutes(ctx context.Context, tx pgx.Tx, w *World, set *agentv1.RouteSet) error {
	owner := servers.Owner{OrganizationID: w.Environment.OrganizationID, ID: w.Environment.ID}
	key := servers.KeyOf("routes", w.Environment.ID)
	var revision uint64
	var err error
	if set == nil {
		revision, err = s.Servers.Tombstone(ctx, tx, w.Server, agentv1.Stream_STREAM_ROUTES, owner, "delete", key)
	} else {
		revision, err = s.Servers.Put(ctx, tx, w.Server, agentv1.Stream_STREAM_ROUTES, owner, servers.Desired{Key: key, Body: set})
	}
	if err != nil {
		return err
	}
	acked, err := s.Servers.Acked(ctx, tx, w.Server, agentv1.Stream_STREAM_ROUTES)
	if err != nil {
		return err
	}
	// A server that has been lost serves nothing that could be waited for.
	w.RoutesServed = acked >= revision || w.ServerState.Unreachable()
	var serving *uuid.UUID
	if w.Serving != nil {
		serving = &w.Serving.ID
	}
	if _, err := pg.Exec(ctx, tx, serveHead, pg.Args{"environment": w.Environment.ID, "release": serving}); err != nil {
		return fmt.Errorf("record serving release: %w", err)
	}
	return nil
}

// Apply writes a plan's changes in the transaction in which its world was loaded.
func (s *Service) Apply(ctx context.Context, tx pgx.Tx, w *World, c Changes) error {
	if err := s.applySeen(ctx, tx, w, c); err != nil {
		return err
	}
	if err := s.applyInstances(ctx, tx, w, c); err != nil {
		return err
	}
	owner := servers.Owner{OrganizationID: w.Environment.OrganizationID, ID: w.Environment.ID}
	cause := "delete"
	if _, err := s.Servers.Tombstone(ctx, tx, w.Server, agentv1.Stream_STREAM_INSTANCES, owner, cause, c.DropKeys...); err != nil {
		return err
	}
	if err := s.Servers.Forget(ctx, tx, w.Server, agentv1.Stream_STREAM_INSTANCES, c.ForgetKeys...); err != nil {
		return err
	}
	if err := s.applyOutcome(ctx, tx, w, c); err != nil {
		return err
	}
	return pg.Notify(ctx, tx, servers.NoticeEnvironment, w.Environment.OrganizationID, w.Environment.ID)
}

func (s *Service) applySeen(ctx context.Context, tx pgx.Tx, w *World, c Changes) error {
	var gone []uuid.UUID
	var keys []string
	for _, i := range c.Gone {
		gone = append(gone, i.ID)
		keys = append(keys, servers.KeyOf("instance", i.ID))
	}
	args := pg.Args{"organization": w.Environment.OrganizationID, "ready": c.Ready, "completed": c.Completed, "gone": gone}
	for _, step := range []struct {
		ids       []uuid.UUID
		statement string
	}{{c.Ready, markReady}, {c.Completed, markCompleted}, {gone, markGone}} {
		if len(step.ids) == 0 {
			continue
		}
		if _, err := pg.Exec(ctx, tx, step.statement, args); err != nil {
			return fmt.Errorf("mark instances: %w", err)
		}
	}
	return s.Servers.Forget(ctx, tx, w.Server, agentv1.Stream_STREAM_INSTANCES, keys...)
}

func (s *Service) applyInstances(ctx context.Context, tx pgx.Tx, w *World, c Changes) error {
	owner := servers.Owner{OrganizationID: w.Environment.OrganizationID, ID: w.Environment.ID}
	var desired []servers.Desired
	if len(c.Create) > 0 {
		desired = append(desired, s.surroundings(w, c)...)
	}
	for _, i := range c.Create {
		i.ID = pg.NewID()
		if err := s.insertInstance(ctx, tx, w, i); err != nil {
			return err
		}
		item, err := s.render(w, i)
		if err != nil {
			return err
		}
		desired = append(desired, item)
	}
	if len(desired) > 0 {
		if _, err := s.Servers.Put(ctx, tx, w.Server, agentv1.Stream_STREAM_INSTANCES, owner, desired...); err != nil {
			return err
		}
	}
	byCause := map[string][]string{}
	for _, r := range c.Retire {
		args := pg.Args{"organization": w.Environment.OrganizationID, "id": r.Instance, "cause": r.Cause}
		if _, err := pg.Exec(ctx, tx, retireInstance, args); err != nil {
			return fmt.Errorf("retire instance: %w", err)
		}
		byCause[r.Cause] = append(byCause[r.Cause], servers.KeyOf("instance", r.Instance))
	}
	for cause, keys := range byCause {
		if _, err := s.Servers.Tombstone(ctx, tx, w.Server, agentv1.Stream_STREAM_INSTANCES, owner, cause, keys...); err != nil {
			return err
		}
	}
	return nil
}

// surroundings are the network of an environment and the volumes that new instances mount.
func (s *Service) surroundings(w *World, c Changes) []servers.Desired {
	e := w.Environment
	items := []servers.Desired{{Key: servers.KeyOf("environment", e.ID), Body: &agentv1.Environment{
		Id: e.ID.String(), OrganizationId: e.OrganizationID.String(), Project: w.Project.Slug, Environment: e.Slug,
	}}}
	seen := map[uuid.UUID]bool{}
	for _, i := range c.Create {
		for _, m := range i.Spec.Mounts {
			id, err := uuid.Parse(m.ID)
			if err != nil || seen[id] {
				continue
			}
			seen[id] = true
			items = append(items, servers.Desired{Key: servers.KeyOf("volume", id), Body: &agentv1.Volume{
				Id: m.ID, OrganizationId: e.OrganizationID.String(), EnvironmentId: e.ID.String(), Name: m.Volume,
			}})
		}
	}
	return items
}

func (s *Service) render(w *World, i Instance) (servers.Desired, error) {
	body, err := json.Marshal(i.Spec)
	if err != nil {
		return servers.Desired{}, fmt.Errorf("render specification: %w", err)
	}
	version := uint64(0)
	if i.Spec.NeedsVariables() {
		version = uint64(i.VariablesVersion) + 1 // 0 means none are needed, while a set that was never changed has version 0
	}
	return servers.Desired{Key: servers.KeyOf("instance", i.ID), Body: &agentv1.Instance{
		Id: i.ID.String(), OrganizationId: w.Environment.OrganizationID.String(), EnvironmentId: w.Environment.ID.String(),
		Project: w.Project.Slug, Environment: w.Environment.Slug, Service: i.Service, Index: uint32(i.Index), Spec: body,
		SpecHash: i.Spec.Hash(), VariablesVersion: version, Drain: durationpb.New(drainTime),
	}}, nil
}

func (s *Service) insertInstance(ctx context.Context, tx pgx.Tx, w *World, i Instance) error {
	body, err := json.Marshal(i.Spec)
	if err != nil {
		return fmt.Errorf("render specification: %w", err)
	}
	_, err = pg.Exec(ctx, tx, insertInstance, pg.Args{
		"id": i.ID, "organization": w.Environment.OrganizationID, "environment": w.Environment.ID, "release": i.ReleaseID,
		"service": i.Service, "index": i.Index, "task": i.TaskKey, "spec": body, "hash": i.Spec.Hash(),
		"variables": i.VariablesVersion, "server": w.Server,
	})
	if err != nil {
		return fmt.Errorf("insert instance: %w", err)
	}
	return nil
}

func (s *Service) applyOutcome(ctx context.Context, tx pgx.Tx, w *World, c Changes) error {
	actor := identity.System(w.Environment.OrganizationID, "plan")
	if c.Live && w.Deployment != nil {
		if w.Deployment.Kind != KindStop {
			if _, err := pg.Exec(ctx, tx, liveHead, pg.Args{"environment": w.Environment.ID}); err != nil {
				return fmt.Errorf("set live release: %w", err)
			}
			if err := s.releaseHostnames(ctx, tx, actor, w); err != nil {
				return err
			}
		}
		return s.finish(ctx, tx, *w.Deployment, Live, nil)
	}
	if c.Failed != nil && w.Deployment != nil {
		return s.retreat(ctx, tx, actor, *w.Deployment, Failed, c.Failed)
	}
	if c.Removed {
		return s.removed(ctx, tx, actor, w)
	}
	return nil
}

func (s *Service) removed(ctx context.Context, tx pgx.Tx, actor identity.Actor, w *World) error {
	if !w.Environment.KeepVolumes {
		args := pg.Args{"organization": actor.OrganizationID, "environment": w.Environment.ID}
		if _, err := pg.Exec(ctx, tx, deleteVolumes, args); err != nil {
			return fmt.Errorf("delete volumes: %w", err)
		}
	}
	if w.Server != uuid.Nil {
		if err := s.Servers.Forget(ctx, tx, w.Server, agentv1.Stream_STREAM_ROUTES, servers.KeyOf("routes", w.Environment.ID)); err != nil {
			return err
		}
	}
	last, err := s.Projects.EndEnvironment(ctx, tx, actor, w.Environment)
	if err != nil || !last {
		return err
	}
	return s.Orders.Insert(ctx, tx, jobs.RemoveProject{OrganizationID: actor.OrganizationID, ProjectID: w.Project.ID})
}

// GiveUp fails the deployment under way because planning itself failed too often.
func (s *Service) GiveUp(ctx context.Context, environment uuid.UUID, cause error) error {
	return s.DB.InTx(ctx, func(tx pgx.Tx) error {
		wanted, _, err := s.Servers.Claim(ctx, tx, environment)
		if err != nil {
			return err
		}
		_, e, err := s.Projects.Load(ctx, tx, environment)
		if pg.None(err) {
			return nil
		}
		if err != nil {
			return err
		}
		actor := identity.System(e.OrganizationID, "plan")
		d, err := s.active(ctx, tx, actor, environment)
		if err != nil {
			return err
		}
		if err := s.Servers.Done(ctx, tx, environment, wanted); err != nil || d == nil || d.State != Releasing {
			return err
		}
		return s.retreat(ctx, tx, actor, *d, Failed, Reason(cause))
	})
}

// claimHostnames claims in tx the automatic hostnames of public services beside the main one: SERVICE-PROJECT. One
// that somebody else has is left out; the service stays reachable by a hostname of the tenant's own. Those of the live
// release are given back only when the next one is live.
func (s *Service) claimHostnames(ctx context.Context, tx pgx.Tx, actor identity.Actor, p projects.Project, e projects.Environment, r Release) error {
	labels := hostLabels(p, e, r)
	for _, service := range slices.Sorted(maps.Keys(labels)) {
		if err := s.Routing.ClaimAuto(ctx, tx, actor, e.ID, labels[service], service); err != nil && !hostTaken(err) {
			return err
		}
	}
	return nil
}

// releaseHostnames gives back in tx what the release that is live now does not have, and has the routes planned again.
func (s *Service) releaseHostnames(ctx context.Context, tx pgx.Tx, actor identity.Actor, w *World) error {
	if w.Target == nil {
		return nil
	}
	labels := hostLabels(w.Project, w.Environment, *w.Target)
	left := slices.ContainsFunc(w.Domains, func(d routing.Domain) bool {
		return d.Kind == routing.Auto && d.Service != "" && labels[d.Service] == ""
	})
	if !left {
		return nil
	}
	if err := s.Routing.ReleaseAuto(ctx, tx, actor, w.Environment.ID, slices.Sorted(maps.Keys(labels))); err != nil {
		return err
	}
	return s.Servers.Want(ctx, tx, w.Environment.ID)
}

// hostLabels are the labels of a release's public services beside the main one, by service.
func hostLabels(p projects.Project, e projects.Environment, r Release) map[string]string {
	main, _ := spec.ChoosePublic(r.Application)
	labels := map[string]string{}
	for _, svc := range r.Application.Services {
		if label := hostLabel(svc.Name, p.Slug, e.Slug); svc.Public && svc.Name != main && label != "" {
			labels[svc.Name] = label
		}
	}
	return labels
}

func hostTaken(err error) bool { return fault.From(err).Code == "hostname_taken" }

// hostLabel is SERVICE-PROJECT, with the environment where it is not production; empty when that is no label.
func hostLabel(service, project, environment string) string {
	label := strings.ReplaceAll(service, "_", "-") + "-" + project
	if environment != projects.Production {
		label += "-" + environment
	}
	if len(label) > 63 {
		return ""
	}
	return label
}

const placeHead = `
	update deployments.heads set server_id = @server
	where environment_id = @environment and server_id is null`

const placeVolumes = `
	update deployments.volumes set server_id = @server
	where organization_id = @organization and environment_id = @environment and server_id is null and deleted_at is null`

const serveHead = `
	update deployments.heads set serving_id = @release
	where environment_id = @environment and serving_id is distinct from @release`

const liveHead = `
	update deployments.heads set live_id = target_id
	where environment_id = @environment`

const markReady = `
	update deployments.instances set ready_at = now()
	where organization_id = @organization and id = any(@ready) and ready_at is null`

const markCompleted = `
	update deployments.instances set completed_at = now()
	where organization_id = @organization and id = any(@completed) and completed_at is null`

const markGone = `
	update deployments.instances set gone_at = now()
	where organization_id = @organization and id = any(@gone) and gone_at is null`

const insertInstance = `
	insert into deployments.instances (id, organization_id, environment_id, release_id, service, index, task_key, spec, spec_hash,
	                                   variables_version, server_id)
	values (@id, @organization, @environment, @release, @service, @index, @task, @spec, @hash, @variables, @server)`

const retireInstance = `
	update deployments.instances set desired = 'gone', cause = @cause
	where organization_id = @organization and id = @id and desired = 'running'`

const deleteVolumes = `
	update deployments.volumes set deleted_at = now()
	where organization_id = @organization and environment_id = @environment and deleted_at is null`
