package projects

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
	"pandu/modules/manager/audit"
	"pandu/modules/manager/identity"
	"pandu/modules/spec"
)

// Project is something a tenant hosts.
type Project struct {
	ID             uuid.UUID  `db:"id"`
	OrganizationID uuid.UUID  `db:"organization_id"`
	Slug           string     `db:"slug"`
	Name           string     `db:"name"`
	CreatedAt      time.Time  `db:"created_at"`
	UpdatedAt      time.Time  `db:"updated_at"`
	DeletingAt     *time.Time `db:"deleting_at"`
}

// Wanted is what an environment shall be.
type Wanted string

// What an environment can be wanted to be.
const (
	Running Wanted = "running"
	Stopped Wanted = "stopped"
	Deleted Wanted = "deleted"
)

// Environment is one place where a project runs.
type Environment struct {
	ID               uuid.UUID `db:"id"`
	OrganizationID   uuid.UUID `db:"organization_id"`
	ProjectID        uuid.UUID `db:"project_id"`
	Slug             string    `db:"slug"`
	Wanted           Wanted    `db:"wanted"`
	KeepVolumes      bool      `db:"keep_volumes"`
	GroupID          uuid.UUID `db:"group_id"`
	VariablesVersion int64     `db:"variables_version"`
	CreatedAt        time.Time `db:"created_at"`
}

// Production is the environment that every project begins with.
const Production = "production"

// Name says whether a name can be had, and what else could be.
type Name struct {
	Slug       string `json:"slug"`
	Available  bool   `json:"available"`
	Reason     string `json:"reason,omitempty" enum:"taken,reserved,invalid"`
	Suggestion string `json:"suggestion" doc:"the slug itself when it can be had"`
	Hostname   string `json:"hostname" doc:"where the suggestion would be reached"`
}

// CheckName looks whether a project of this actor could have a slug and its hostname now.
func (s *Service) CheckName(ctx context.Context, actor identity.Actor, slug string) (Name, error) {
	n := Name{Slug: slug}
	if err := spec.Slug(slug); err != nil {
		n.Reason = "invalid"
		if fault.From(err).Code == "slug_reserved" {
			n.Reason = "reserved"
		}
		slug = spec.SuggestSlug(slug)
	}
	suggestion, err := s.suggest(ctx, actor, slug)
	if err != nil {
		return n, err
	}
	if n.Reason == "" && suggestion != slug {
		n.Reason = "taken"
	}
	n.Available, n.Suggestion, n.Hostname = n.Reason == "", suggestion, s.Routing.AutoHost(suggestion)
	return n, nil
}

// suggest is slug, or the first of slug-2, slug-3 … that nobody has.
func (s *Service) suggest(ctx context.Context, actor identity.Actor, slug string) (string, error) {
	for i := 1; i <= 50; i++ {
		candidate := slug
		if i > 1 {
			candidate = slug[:min(len(slug), 36)] + "-" + strconv.Itoa(i)
		}
		free, err := s.free(ctx, actor, candidate)
		if err != nil || free {
			return candidate, err
		}
	}
	return slug[:min(len(slug), 30)] + "-" + pg.NewID().String()[28:], nil
}

func (s *Service) free(ctx context.Context, actor identity.Actor, slug string) (bool, error) {
	free, err := s.Routing.Free(ctx, s.Routing.AutoHost(slug))
	if err != nil || !free || spec.Slug(slug) != nil {
		return false, err
	}
	taken, err := pg.Value[bool](ctx, s.DB.Pool, existsSlug, pg.Args{"organization": actor.OrganizationID, "slug": slug})
	if err != nil {
		return false, fmt.Errorf("look up slug: %w", err)
	}
	return !taken, nil
}

// Create makes a project with its production environment and hostname. An empty slug is made from the name.
func (s *Service) Create(ctx context.Context, actor identity.Actor, name, slug string) (Project, Environment, error) {
	chosen := slug != ""
	if !chosen {
		var err error
		if slug, err = s.suggest(ctx, actor, spec.SuggestSlug(name)); err != nil {
			return Project{}, Environment{}, err
		}
	}
	if err := spec.Slug(slug); err != nil {
		return Project{}, Environment{}, err
	}
	var p Project
	var e Environment
	err := s.DB.InTx(ctx, func(tx pgx.Tx) (err error) {
		if err := s.Identity.Reserve(ctx, tx, actor.OrganizationID, identity.LimitProjects, 1); err != nil {
			return err
		}
		p, e, err = s.insert(ctx, tx, actor, name, slug)
		return err
	})
	if taken(err) {
		suggestion, suggestErr := s.suggest(ctx, actor, slug)
		if suggestErr != nil {
			return p, e, suggestErr
		}
		return p, e, fault.Newf(fault.Conflict, "slug_taken", "The name %q is taken. %q is free.", slug, suggestion).
			With("slug", slug).With("suggestion", suggestion)
	}
	return p, e, err
}

func taken(err error) bool {
	code := fault.From(err)
	return pg.Violates(err, "projects_slug") || (code != nil && code.Code == "hostname_taken")
}

func (s *Service) insert(ctx context.Context, tx pgx.Tx, actor identity.Actor, name, slug string) (Project, Environment, error) {
	if name == "" {
		name = slug
	}
	p, err := pg.One[Project](ctx, tx, insertProject, pg.Args{"id": pg.NewID(), "organization": actor.OrganizationID, "slug": slug, "name": name})
	if err != nil {
		return p, Environment{}, fmt.Errorf("insert project: %w", err)
	}
	group, err := s.Servers.GroupFor(ctx, tx, actor)
	if err != nil {
		return p, Environment{}, err
	}
	e, err := pg.One[Environment](ctx, tx, insertEnvironment, pg.Args{
		"id": pg.NewID(), "organization": actor.OrganizationID, "project": p.ID, "slug": Production, "group": group,
	})
	if err != nil {
		return p, e, fmt.Errorf("insert environment: %w", err)
	}
	if err := s.Routing.ClaimAuto(ctx, tx, actor, e.ID, slug, ""); err != nil {
		return p, e, err
	}
	if err := audit.Record(ctx, tx, actor.Event("project.create", "project", p.ID, slug, nil)); err != nil {
		return p, e, err
	}
	return p, e, pg.Notify(ctx, tx, NoticeProject, actor.OrganizationID, p.ID)
}

// List returns a page of the actor's projects, newest first.
func (s *Service) List(ctx context.Context, actor identity.Actor, page identity.PageInput) (identity.Page[Project], error) {
	from, err := page.Position()
	if err != nil {
		return identity.Page[Project]{}, err
	}
	before, id := from.Args()
	rows, err := pg.All[Project](ctx, s.DB.Pool, selectProjects, pg.Args{
		"organization": actor.OrganizationID, "before_time": before, "before_id": id, "limit": page.Size(),
	})
	if err != nil {
		return identity.Page[Project]{}, fmt.Errorf("list projects: %w", err)
	}
	return identity.Cut(page, rows, func(p Project) identity.Cursor { return identity.Cursor{Time: p.CreatedAt, ID: p.ID} }), nil
}

// Find resolves a project by id or slug.
func (s *Service) Find(ctx context.Context, q pg.Querier, actor identity.Actor, ref string) (Project, error) {
	p, err := pg.One[Project](ctx, q, selectProject, pg.Args{"organization": actor.OrganizationID, "id": idOf(ref), "slug": ref})
	if pg.None(err) {
		return p, fault.Newf(fault.NotFound, "project_not_found", "There is no project %q here.", ref).With("project", ref)
	}
	if err != nil {
		return p, fmt.Errorf("find project: %w", err)
	}
	return p, nil
}

// idOf is the id that a reference is, uuid.Nil when it is a slug.
func idOf(ref string) uuid.UUID {
	id, err := uuid.Parse(ref)
	if err != nil || len(ref) != 36 {
		return uuid.Nil
	}
	return id
}

// FindEnvironment resolves a project and one of its environments by id or slug.
func (s *Service) FindEnvironment(ctx context.Context, q pg.Querier, actor identity.Actor, project, ref string) (Project, Environment, error) {
	p, err := s.Find(ctx, q, actor, project)
	if err != nil {
		return p, Environment{}, err
	}
	e, err := pg.One[Environment](ctx, q, selectEnvironment, pg.Args{"organization": actor.OrganizationID, "project": p.ID, "id": idOf(ref), "slug": ref})
	if pg.None(err) {
		return p, e, fault.Newf(fault.NotFound, "environment_not_found", "The project %q has no environment %q.", p.Slug, ref).With("environment", ref)
	}
	if err != nil {
		return p, e, fmt.Errorf("find environment: %w", err)
	}
	return p, e, nil
}

// Environments lists the environments of projects, oldest first.
func (s *Service) Environments(ctx context.Context, q pg.Querier, actor identity.Actor, projects ...uuid.UUID) ([]Environment, error) {
	rows, err := pg.All[Environment](ctx, q, selectEnvironments, pg.Args{"organization": actor.OrganizationID, "projects": projects})
	if err != nil {
		return nil, fmt.Errorf("list environments: %w", err)
	}
	return rows, nil
}

// Update renames a project. Its hostnames stay.
func (s *Service) Update(ctx context.Context, actor identity.Actor, ref string, name, slug *string) (Project, error) {
	var p Project
	err := s.DB.InTx(ctx, func(tx pgx.Tx) error {
		old, err := s.Find(ctx, tx, actor, ref)
		if err != nil {
			return err
		}
		args := pg.Args{"organization": actor.OrganizationID, "id": old.ID, "name": old.Name, "slug": old.Slug}
		if name != nil {
			args["name"] = *name
		}
		if slug != nil && *slug != old.Slug {
			if err := spec.Slug(*slug); err != nil {
				return err
			}
			args["slug"] = *slug
		}
		p, err = pg.One[Project](ctx, tx, updateProject, args)
		if pg.Violates(err, "projects_slug") {
			return fault.Newf(fault.Conflict, "slug_taken", "You have a project %q already.", *slug).With("slug", *slug)
		}
		if err != nil {
			return fmt.Errorf("update project: %w", err)
		}
		detail := map[string]string{"from": old.Slug, "to": p.Slug}
		if err := audit.Record(ctx, tx, actor.Event("project.update", "project", p.ID, p.Slug, detail)); err != nil {
			return err
		}
		return pg.Notify(ctx, tx, NoticeProject, actor.OrganizationID, p.ID)
	})
	return p, err
}

// SetWanted changes in tx what an environment shall be, and has it planned.
func (s *Service) SetWanted(ctx context.Context, tx pgx.Tx, actor identity.Actor, e Environment, wanted Wanted) error {
	_, err := pg.Exec(ctx, tx, updateWanted, pg.Args{"organization": actor.OrganizationID, "id": e.ID, "wanted": wanted})
	if err != nil {
		return fmt.Errorf("set what is wanted: %w", err)
	}
	return s.Servers.Want(ctx, tx, e.ID)
}

// BeginDelete marks in tx a project and its environments for deletion; what runs is removed by the planner.
func (s *Service) BeginDelete(ctx context.Context, tx pgx.Tx, actor identity.Actor, p Project, keepVolumes bool) error {
	args := pg.Args{"organization": actor.OrganizationID, "project": p.ID, "keep": keepVolumes}
	if _, err := pg.Exec(ctx, tx, markProjectDeleting, args); err != nil {
		return fmt.Errorf("mark project: %w", err)
	}
	ids, err := pg.Values[uuid.UUID](ctx, tx, markEnvironmentsDeleted, args)
	if err != nil {
		return fmt.Errorf("mark environments: %w", err)
	}
	detail := map[string]string{"keep_volumes": strconv.FormatBool(keepVolumes)}
	if err := audit.Record(ctx, tx, actor.Event("project.delete", "project", p.ID, p.Slug, detail)); err != nil {
		return err
	}
	if err := s.Servers.Want(ctx, tx, ids...); err != nil {
		return err
	}
	return pg.Notify(ctx, tx, NoticeProject, actor.OrganizationID, p.ID)
}

// EndEnvironment drops in tx an environment of which nothing runs any more. It reports whether the project has none left.
func (s *Service) EndEnvironment(ctx context.Context, tx pgx.Tx, actor identity.Actor, e Environment) (last bool, err error) {
	args := pg.Args{"organization": actor.OrganizationID, "id": e.ID, "project": e.ProjectID}
	if err := s.Routing.Release(ctx, tx, actor, e.ID); err != nil {
		return false, err
	}
	for _, statement := range []string{deleteVariables, deleteServices, markEnvironmentGone} {
		if _, err := pg.Exec(ctx, tx, statement, args); err != nil {
			return false, fmt.Errorf("end environment: %w", err)
		}
	}
	last, err = pg.Value[bool](ctx, tx, noEnvironments, args)
	if err != nil {
		return false, fmt.Errorf("count environments: %w", err)
	}
	return last, nil
}

// End drops in tx a project whose files are gone, too.
func (s *Service) End(ctx context.Context, tx pgx.Tx, actor identity.Actor, project uuid.UUID) error {
	n, err := pg.Exec(ctx, tx, markProjectGone, pg.Args{"organization": actor.OrganizationID, "project": project})
	if err != nil {
		return fmt.Errorf("end project: %w", err)
	}
	if n == 0 {
		return nil
	}
	if err := s.Identity.Release(ctx, tx, actor.OrganizationID, identity.LimitProjects, 1); err != nil {
		return err
	}
	return pg.Notify(ctx, tx, NoticeProject, actor.OrganizationID, project)
}

// Load reads an environment and its project by id, for the planner. It is found while it is being deleted, too.
func (s *Service) Load(ctx context.Context, q pg.Querier, environment uuid.UUID) (Project, Environment, error) {
	e, err := pg.One[Environment](ctx, q, loadEnvironment, pg.Args{"id": environment})
	if err != nil {
		return Project{}, e, fmt.Errorf("load environment: %w", err)
	}
	p, err := pg.One[Project](ctx, q, loadProject, pg.Args{"organization": e.OrganizationID, "id": e.ProjectID})
	if err != nil {
		return p, e, fmt.Errorf("load project: %w", err)
	}
	return p, e, nil
}
