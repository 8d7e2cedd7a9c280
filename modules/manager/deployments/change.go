package deployments

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
	"pandu/modules/manager/audit"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/projects"
	"pandu/modules/spec"
)

// Head is where an environment stands.
type Head struct {
	ServerID  *uuid.UUID `db:"server_id"`
	LiveID    *uuid.UUID `db:"live_id"`
	ServingID *uuid.UUID `db:"serving_id"`
	TargetID  *uuid.UUID `db:"target_id"`
}

func (s *Service) head(ctx context.Context, q pg.Querier, environment uuid.UUID) (Head, error) {
	h, err := pg.One[Head](ctx, q, selectHead, pg.Args{"environment": environment})
	if err != nil && !pg.None(err) {
		return h, fmt.Errorf("read head: %w", err)
	}
	return h, nil
}

// Stop stops everything of an environment; its releases, volumes and hostnames stay.
func (s *Service) Stop(ctx context.Context, actor identity.Actor, p projects.Project, e projects.Environment) (Deployment, error) {
	var d Deployment
	err := s.DB.InTx(ctx, func(tx pgx.Tx) error {
		head, err := s.head(ctx, tx, e.ID)
		if err != nil {
			return err
		}
		active, err := s.active(ctx, tx, actor, e.ID)
		if err != nil {
			return err
		}
		if head.LiveID == nil && head.TargetID == nil && active == nil {
			return errNothingLive
		}
		if d, err = s.insert(ctx, tx, actor, p, e, draft{kind: KindStop, state: Releasing, release: head.LiveID}); err != nil {
			return err
		}
		if _, err := pg.Exec(ctx, tx, retreatHead, pg.Args{"environment": e.ID}); err != nil {
			return fmt.Errorf("drop target: %w", err)
		}
		return s.Projects.SetWanted(ctx, tx, actor, e, projects.Stopped)
	})
	return d, err
}

// Start starts what was stopped. An environment that never had anything deploys its newest upload.
func (s *Service) Start(ctx context.Context, actor identity.Actor, p projects.Project, e projects.Environment) (Deployment, error) {
	head, err := s.head(ctx, s.DB.Pool, e.ID)
	if err != nil {
		return Deployment{}, err
	}
	if head.LiveID == nil {
		newest, err := s.Storage.Uploads(ctx, actor, p.ID, identity.PageInput{Limit: 1})
		if err != nil {
			return Deployment{}, err
		}
		if len(newest.Items) == 0 {
			return Deployment{}, fault.New(fault.Conflict, "nothing_to_start", "Nothing was deployed or uploaded here yet. Upload something first.")
		}
		return s.Create(ctx, actor, p, e, Request{UploadID: &newest.Items[0].ID})
	}
	return s.begin(ctx, actor, p, e, KindStart, Undo{Wanted: e.Wanted}, func(tx pgx.Tx) error {
		return s.Projects.SetWanted(ctx, tx, actor, e, projects.Running)
	})
}

var errNothingLive = fault.New(fault.Conflict, "nothing_live", "Nothing is live here yet. Deploy something first.")

// begin inserts a deployment of the live release after a change of what is wanted.
func (s *Service) begin(ctx context.Context, actor identity.Actor, p projects.Project, e projects.Environment, kind Kind, undo Undo, change func(tx pgx.Tx) error) (Deployment, error) {
	var d Deployment
	err := s.DB.InTx(ctx, func(tx pgx.Tx) error {
		head, err := s.head(ctx, tx, e.ID)
		if err != nil {
			return err
		}
		if head.LiveID == nil {
			return errNothingLive
		}
		live, err := s.release(ctx, tx, actor, e.ID, *head.LiveID)
		if err != nil {
			return err
		}
		if d, err = s.insert(ctx, tx, actor, p, e, draft{kind: kind, state: Releasing, source: &live.SourceID, release: &live.ID, undo: undo}); err != nil {
			return err
		}
		if err := change(tx); err != nil {
			return err
		}
		return s.aim(ctx, tx, e.ID, live.ID)
	})
	return d, err
}

// Restart replaces the instances of one service, or of all when service is empty, by new ones of the same specification.
func (s *Service) Restart(ctx context.Context, actor identity.Actor, p projects.Project, e projects.Environment, service string) (Deployment, error) {
	return s.rerelease(ctx, actor, p, e, KindRestart, func(tx pgx.Tx, base Release) error {
		if service != "" && base.Service(service) == nil {
			return noService(service)
		}
		all, err := s.Projects.Overrides(ctx, tx, actor, e.ID)
		if err != nil {
			return err
		}
		nonce := pg.NewID().String()
		for _, svc := range base.Application.Services {
			if service != "" && svc.Name != service {
				continue
			}
			o := all[svc.Name]
			o.Nonce = nonce
			if err := s.Projects.SetOverride(ctx, tx, actor, e.ID, svc.Name, o); err != nil {
				return err
			}
		}
		return nil
	})
}

func noService(name string) error {
	return fault.Newf(fault.NotFound, "service_not_found", "There is no service %q here.", name).With("service", name)
}

// rerelease makes a release of the images of the newest one with whatever change alters, and deploys it. While an
// image is still being built the change is only stored, because the release to come will have it; then the deployment
// under way is returned. Nil when nothing has been deployed yet.
func (s *Service) rerelease(ctx context.Context, actor identity.Actor, p projects.Project, e projects.Environment, kind Kind, change func(tx pgx.Tx, base Release) error) (Deployment, error) {
	var d Deployment
	err := s.DB.InTx(ctx, func(tx pgx.Tx) error {
		active, err := s.lockActive(ctx, tx, actor, e.ID)
		if err != nil {
			return err
		}
		head, err := s.head(ctx, tx, e.ID)
		if err != nil {
			return err
		}
		var base Release
		if head.TargetID != nil {
			if base, err = s.release(ctx, tx, actor, e.ID, *head.TargetID); err != nil {
				return err
			}
		}
		if err := change(tx, base); err != nil {
			return err
		}
		if active != nil && active.State != Releasing {
			d = *active
			return nil
		}
		if head.TargetID == nil {
			return nil
		}
		d, err = s.releaseAgain(ctx, tx, actor, p, e, kind, base)
		return err
	})
	return d, err
}

func (s *Service) releaseAgain(ctx context.Context, tx pgx.Tx, actor identity.Actor, p projects.Project, e projects.Environment, kind Kind, base Release) (Deployment, error) {
	_, e, err := s.Projects.Load(ctx, tx, e.ID) // with the version of the variables that change made
	if err != nil {
		return Deployment{}, err
	}
	src, err := s.source(ctx, tx, actor, base.SourceID)
	if err != nil {
		return Deployment{}, err
	}
	r, err := s.makeRelease(ctx, tx, actor, e, src.ID, withImages(src.Application, base))
	if err != nil {
		return Deployment{}, err
	}
	d, err := s.insert(ctx, tx, actor, p, e, draft{kind: kind, state: Releasing, source: &src.ID, release: &r.ID})
	if err != nil {
		return d, err
	}
	if err := s.claimHostnames(ctx, tx, actor, p, e, r); err != nil {
		return d, err
	}
	return d, s.aim(ctx, tx, e.ID, r.ID)
}

// withImages is an application as its source says it, with the images that a release found.
func withImages(app spec.Application, base Release) spec.Application {
	app.Services = slices.Clone(app.Services)
	for i := range app.Services {
		if svc := base.Service(app.Services[i].Name); svc != nil {
			app.Services[i].Container.Image = svc.Container.Image
		}
	}
	return app
}

// Settings is a change of what people set for a service.
type Settings struct {
	Set   projects.Override // fields that are not nil
	Reset []string          // fields that go back to what the source says, by their name in the API
}

func (c Settings) apply(o *projects.Override) {
	for _, name := range c.Reset {
		switch name {
		case "replicas":
			o.Replicas = nil
		case "memory":
			o.Memory = nil
		case "milli_cpu":
			o.MilliCPU = nil
		case "port":
			o.Port = nil
		case "health":
			o.Health = nil
		case "public":
			o.Public = nil
		}
	}
	o.Replicas = either(c.Set.Replicas, o.Replicas)
	o.Memory = either(c.Set.Memory, o.Memory)
	o.MilliCPU = either(c.Set.MilliCPU, o.MilliCPU)
	o.Port = either(c.Set.Port, o.Port)
	o.Health = either(c.Set.Health, o.Health)
	o.Public = either(c.Set.Public, o.Public)
}

func either[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

// onlyCount reports whether nothing but the number of replicas changes.
func (c Settings) onlyCount() bool {
	o := c.Set
	return slices.Equal(c.Reset, []string{"replicas"}) || o.Replicas != nil && len(c.Reset) == 0 &&
		o.Memory == nil && o.MilliCPU == nil && o.Port == nil && o.Health == nil && o.Public == nil
}

// Configure changes what people set for a service. A count alone keeps the release; anything else makes one. The
// deployment is zero when nothing has been deployed yet.
func (s *Service) Configure(ctx context.Context, actor identity.Actor, p projects.Project, e projects.Environment, service string, c Settings) (Deployment, error) {
	if err := spec.ServiceName(service); err != nil {
		return Deployment{}, err
	}
	if err := c.Set.Check(); err != nil {
		return Deployment{}, err
	}
	head, err := s.head(ctx, s.DB.Pool, e.ID)
	if err != nil {
		return Deployment{}, err
	}
	set := func(tx pgx.Tx) (*int, error) { return s.configure(ctx, tx, actor, p, e, service, c) }
	if head.LiveID == nil {
		return Deployment{}, s.DB.InTx(ctx, func(tx pgx.Tx) error { _, err := set(tx); return err })
	}
	live, err := s.release(ctx, s.DB.Pool, actor, e.ID, *head.LiveID)
	if err != nil {
		return Deployment{}, err
	}
	svc := live.Service(service)
	if svc == nil {
		return Deployment{}, noService(service)
	}
	if n := c.Set.Replicas; n != nil && *n > 1 && svc.SingleWriter() {
		return Deployment{}, fault.Newf(fault.Invalid, "single_writer", "%s writes to a volume, so it runs once: two would corrupt the data.", service).With("service", service)
	}
	if c.onlyCount() {
		return s.scale(ctx, actor, p, e, service, set)
	}
	return s.rerelease(ctx, actor, p, e, KindSettings, func(tx pgx.Tx, _ Release) error { _, err := set(tx); return err })
}

// configure stores settings in tx and returns the count that was set before.
func (s *Service) configure(ctx context.Context, tx pgx.Tx, actor identity.Actor, p projects.Project, e projects.Environment, service string, c Settings) (*int, error) {
	all, err := s.Projects.Overrides(ctx, tx, actor, e.ID)
	if err != nil {
		return nil, err
	}
	o := all[service]
	before := o.Replicas
	c.apply(&o)
	detail := map[string]string{"service": service}
	if err := audit.Record(ctx, tx, actor.Event("service.update", "environment", e.ID, p.Slug+"/"+e.Slug, detail)); err != nil {
		return nil, err
	}
	return before, s.Projects.SetOverride(ctx, tx, actor, e.ID, service, o)
}

// scale changes a count. While another deployment is under way that one carries it out.
func (s *Service) scale(ctx context.Context, actor identity.Actor, p projects.Project, e projects.Environment, service string, set func(pgx.Tx) (*int, error)) (Deployment, error) {
	var d Deployment
	err := s.DB.InTx(ctx, func(tx pgx.Tx) error {
		active, err := s.lockActive(ctx, tx, actor, e.ID)
		if err != nil {
			return err
		}
		before, err := set(tx)
		if err != nil {
			return err
		}
		if active != nil {
			d = *active
			return s.Servers.Want(ctx, tx, e.ID)
		}
		head, err := s.head(ctx, tx, e.ID)
		if err != nil {
			return err
		}
		undo := Undo{Replicas: map[string]*int{service: before}}
		if d, err = s.insert(ctx, tx, actor, p, e, draft{kind: KindScale, state: Releasing, release: head.LiveID, undo: undo}); err != nil {
			return err
		}
		return s.Servers.Want(ctx, tx, e.ID)
	})
	return d, err
}

// ChangeVariables writes variables and, with apply, makes a release that has them. It returns the new version.
func (s *Service) ChangeVariables(ctx context.Context, actor identity.Actor, p projects.Project, e projects.Environment, set []projects.SetVariable, unset []string, apply bool) (int64, Deployment, error) {
	var version int64
	change := func(tx pgx.Tx, _ Release) (err error) {
		version, err = s.Projects.ChangeVariables(ctx, tx, actor, e, set, unset)
		return err
	}
	if !apply {
		err := s.DB.InTx(ctx, func(tx pgx.Tx) error { return change(tx, Release{}) })
		return version, Deployment{}, err
	}
	d, err := s.rerelease(ctx, actor, p, e, KindVariables, change)
	return version, d, err
}

// Delete begins to remove a project with all it made. Volumes are kept or deleted as asked; when there are any, one
// must be asked for.
func (s *Service) Delete(ctx context.Context, actor identity.Actor, p projects.Project, volumes string) error {
	return s.DB.InTx(ctx, func(tx pgx.Tx) error {
		names, err := pg.Values[string](ctx, tx, selectProjectVolumes, pg.Args{"organization": actor.OrganizationID, "project": p.ID})
		if err != nil {
			return fmt.Errorf("list volumes: %w", err)
		}
		if len(names) > 0 && volumes == "" {
			return fault.New(fault.Conflict, "volumes_ask", "This project has volumes with data. Say what happens to them: volumes=keep or volumes=delete.").
				With("count", fmt.Sprint(len(names))).With("names", joined(names))
		}
		environments, err := s.Projects.Environments(ctx, tx, actor, p.ID)
		if err != nil {
			return err
		}
		for _, e := range environments {
			active, err := s.lockActive(ctx, tx, actor, e.ID)
			if err != nil {
				return err
			}
			if active == nil {
				continue
			}
			why := &Error{Code: "project_deleted", Message: "The project is being deleted."}
			if err := s.finish(ctx, tx, *active, Cancelled, why); err != nil {
				return err
			}
		}
		return s.Projects.BeginDelete(ctx, tx, actor, p, volumes == "keep")
	})
}

func joined(names []string) string {
	text := ""
	for i, name := range names {
		if i == 20 {
			return text + " …"
		}
		if i > 0 {
			text += ", "
		}
		text += name
	}
	return text
}

// RemoveFiles deletes what a project without environments left in storage. Running it twice changes nothing.
func (s *Service) RemoveFiles(ctx context.Context, organization, project uuid.UUID) error {
	actor := identity.System(organization, "project deleted")
	if err := s.Storage.DeleteRepository(ctx, Repository(organization, project)); err != nil {
		return err
	}
	var files []uuid.UUID
	err := s.DB.InTx(ctx, func(tx pgx.Tx) error {
		logs, err := pg.Values[uuid.UUID](ctx, tx, selectProjectLogs, pg.Args{"organization": organization, "project": project})
		if err != nil {
			return fmt.Errorf("list build logs: %w", err)
		}
		for _, id := range logs {
			if err := s.Storage.DeleteLog(ctx, actor, id); err != nil {
				return err
			}
		}
		if files, err = s.Storage.ProjectFiles(ctx, tx, actor, project); err != nil {
			return err
		}
		if err := s.Storage.DeleteProject(ctx, tx, actor, project); err != nil {
			return err
		}
		return s.Projects.End(ctx, tx, actor, project)
	})
	if err != nil {
		return err
	}
	return s.Storage.DropFiles(ctx, actor, files)
}

const selectHead = `
	select server_id, live_id, serving_id, target_id from deployments.heads
	where environment_id = @environment`

const selectProjectVolumes = `
	select v.name from deployments.volumes v
	where v.organization_id = @organization and v.deleted_at is null
	  and v.environment_id in (select environment_id from deployments.deployments where organization_id = @organization and project_id = @project)
	order by v.name`

const selectProjectLogs = `
	select b.log_id from deployments.builds b
	join deployments.deployments d on d.id = b.deployment_id
	where d.organization_id = @organization and d.project_id = @project and b.log_id is not null`
