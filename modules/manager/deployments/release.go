package deployments

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/projects"
	"pandu/modules/spec"
)

// Release is immutable: images by digest, specifications, the version of the variables. What a rollback goes back to.
type Release struct {
	ID               uuid.UUID        `db:"id"`
	Number           int64            `db:"number"`
	SourceID         uuid.UUID        `db:"source_id"`
	Application      spec.Application `db:"application"`
	VariablesVersion int64            `db:"variables_version"`
	CreatedAt        time.Time        `db:"created_at"`
}

// Service finds a service of the release by name.
func (r *Release) Service(name string) *spec.Service {
	if r == nil {
		return nil
	}
	for i := range r.Application.Services {
		if r.Application.Services[i].Name == name {
			return &r.Application.Services[i]
		}
	}
	return nil
}

// makeRelease makes in tx a release of an application whose images exist: with what people set, the volumes' ids and a
// digest of the variables that each service receives.
func (s *Service) makeRelease(ctx context.Context, tx pgx.Tx, actor identity.Actor, e projects.Environment, source uuid.UUID, app spec.Application) (Release, error) {
	overrides, err := s.Projects.Overrides(ctx, tx, actor, e.ID)
	if err != nil {
		return Release{}, err
	}
	values, err := s.Projects.Open(ctx, tx, actor, e.ID, e.VariablesVersion, false)
	if err != nil {
		return Release{}, err
	}
	volumes, err := s.ensureVolumes(ctx, tx, actor, e.ID, app)
	if err != nil {
		return Release{}, err
	}
	for i := range app.Services {
		svc := &app.Services[i]
		svc.Settle()
		override(svc, overrides[svc.Name])
		for m := range svc.Container.Mounts {
			svc.Container.Mounts[m].ID = volumes[svc.Container.Mounts[m].Volume].String()
		}
		if svc.Container.Variables, err = s.Projects.Digest(ctx, tx, actor, values.Received(svc.Container)); err != nil {
			return Release{}, err
		}
	}
	if err := choosePublic(&app, overrides); err != nil {
		return Release{}, err
	}
	for i := range app.Services {
		if err := spec.Policy(app.Services[i].Container); err != nil {
			return Release{}, fault.Newf(fault.Invalid, "policy", "%s: %s", app.Services[i].Name, err).With("service", app.Services[i].Name)
		}
	}
	return s.insertRelease(ctx, tx, actor, e, source, app)
}

// override puts what people set over what the source says. Replicas stay out: they are counted when planning.
func override(svc *spec.Service, o projects.Override) {
	c := &svc.Container
	if o.Memory != nil {
		c.Resources.Memory = *o.Memory
	}
	if o.MilliCPU != nil {
		c.Resources.MilliCPU = *o.MilliCPU
	}
	if o.Port != nil {
		c.Port, c.Listens = *o.Port, true
	}
	if o.Health != nil {
		c.Health = o.Health
	}
	c.Nonce = o.Nonce
}

// choosePublic decides which services have hostnames: those people chose, else those the source marks, else the rule of spec.
func choosePublic(app *spec.Application, overrides map[string]projects.Override) error {
	chosen := false
	for i := range app.Services {
		if p := overrides[app.Services[i].Name].Public; p != nil {
			app.Services[i].Public, app.Services[i].Internal = *p, !*p
			chosen = chosen || *p
		}
	}
	if chosen {
		return nil
	}
	name, question := spec.ChoosePublic(*app)
	if question {
		return fault.New(fault.Invalid, "public_question", "Several services publish ports, and none is marked as the public one. Mark it with `x-pandu: {public: true}`.")
	}
	for i := range app.Services {
		app.Services[i].Public = app.Services[i].Public || (name != "" && app.Services[i].Name == name)
	}
	return nil
}

func (s *Service) insertRelease(ctx context.Context, tx pgx.Tx, actor identity.Actor, e projects.Environment, source uuid.UUID, app spec.Application) (Release, error) {
	body, err := json.Marshal(app)
	if err != nil {
		return Release{}, fmt.Errorf("render application: %w", err)
	}
	number, err := pg.Value[int64](ctx, tx, nextRelease, pg.Args{"environment": e.ID})
	if err != nil {
		return Release{}, fmt.Errorf("number release: %w", err)
	}
	r, err := pg.One[Release](ctx, tx, insertRelease, pg.Args{
		"id": pg.NewID(), "organization": actor.OrganizationID, "environment": e.ID, "number": number, "source": source,
		"application": body, "variables": e.VariablesVersion,
	})
	if err != nil {
		return r, fmt.Errorf("insert release: %w", err)
	}
	return r, nil
}

func (s *Service) release(ctx context.Context, q pg.Querier, actor identity.Actor, environment, id uuid.UUID) (Release, error) {
	r, err := pg.One[Release](ctx, q, selectRelease, pg.Args{"organization": actor.OrganizationID, "environment": environment, "id": id})
	if pg.None(err) {
		return r, fault.New(fault.NotFound, "release_not_found", "This environment has no such release.")
	}
	if err != nil {
		return r, fmt.Errorf("read release: %w", err)
	}
	return r, nil
}

// ensureVolumes makes in tx a row for every named volume of an application; what exists stays.
func (s *Service) ensureVolumes(ctx context.Context, tx pgx.Tx, actor identity.Actor, environment uuid.UUID, app spec.Application) (map[string]uuid.UUID, error) {
	ids := map[string]uuid.UUID{}
	for _, name := range app.Volumes {
		id, err := pg.Value[uuid.UUID](ctx, tx, ensureVolume, pg.Args{
			"id": pg.NewID(), "organization": actor.OrganizationID, "environment": environment, "name": name,
		})
		if err != nil {
			return nil, fmt.Errorf("ensure volume %s: %w", name, err)
		}
		ids[name] = id
	}
	return ids, nil
}

const nextRelease = `
	update deployments.heads set releases = releases + 1
	where environment_id = @environment
	returning releases`

const insertRelease = `
	insert into deployments.releases (id, organization_id, environment_id, number, source_id, application, variables_version)
	values (@id, @organization, @environment, @number, @source, @application, @variables)
	returning id, number, source_id, application, variables_version, created_at`

const selectRelease = `
	select id, number, source_id, application, variables_version, created_at from deployments.releases
	where organization_id = @organization and environment_id = @environment and id = @id`

const ensureVolume = `
	insert into deployments.volumes (id, organization_id, environment_id, name)
	values (@id, @organization, @environment, @name)
	on conflict (environment_id, name) where deleted_at is null do update set name = excluded.name
	returning id`
