package projects

import (
	"context"
	"net/http"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/manager/audit"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/routing"
)

// ProjectPath names a project by id or slug.
type ProjectPath struct {
	Project string `path:"project" maxLength:"64" doc:"id or slug"`
}

// EnvironmentPath names an environment of a project, each by id or slug.
type EnvironmentPath struct {
	ProjectPath
	Environment string `path:"environment" maxLength:"64" doc:"id or slug; production is the first one's"`
}

// Doors declares this room's doors.
func (s *Service) Doors(d *identity.Doors) {
	identity.Handle(d, identity.Door{
		ID: "check-name", Method: http.MethodGet, Path: "/names", Tag: "projects", Permission: identity.ProjectsCreate,
		Summary: "Say whether a project's name and hostname can be had, and propose one that can",
	}, func(ctx context.Context, actor identity.Actor, in *struct {
		Slug string `query:"slug" required:"true" maxLength:"100"`
	}) (*identity.Body[Name], error) {
		n, err := s.CheckName(ctx, actor, in.Slug)
		return identity.Reply(n), err
	})
	identity.Handle(d, identity.Door{
		ID: "create-project", Method: http.MethodPost, Path: "/projects", Tag: "projects", Permission: identity.ProjectsCreate,
		Summary: "Create a project with its production environment and hostname", Status: http.StatusCreated, Creates: true,
	}, s.createProject)
	identity.Handle(d, identity.Door{
		ID: "update-project", Method: http.MethodPatch, Path: "/projects/{project}", Tag: "projects", Permission: identity.ProjectsUpdate,
		Summary: "Rename a project; its hostnames stay",
	}, s.updateProject)
	identity.Handle(d, identity.Door{
		ID: "list-variables", Method: http.MethodGet, Path: "/projects/{project}/environments/{environment}/variables", Tag: "variables",
		Permission: identity.VariablesRead, Summary: "List the names of an environment's variables; values cannot be read",
	}, s.listVariables)
	s.domainDoors(d)
}

func (s *Service) createProject(ctx context.Context, actor identity.Actor, in *struct {
	Body struct {
		Name string `json:"name" minLength:"1" maxLength:"100"`
		Slug string `json:"slug,omitempty" maxLength:"64" doc:"also the first label of the hostname; made from the name when missing"`
	}
}) (*identity.Body[ProjectView], error) {
	p, e, err := s.Create(ctx, actor, in.Body.Name, in.Body.Slug)
	if err != nil {
		return nil, err
	}
	domains, err := s.Routing.Domains(ctx, s.DB.Pool, actor, e.ID)
	if err != nil {
		return nil, err
	}
	return identity.Reply(Present(p, []Environment{e}, domains, nil)), nil
}

func (s *Service) updateProject(ctx context.Context, actor identity.Actor, in *struct {
	ProjectPath
	Body struct {
		Name *string `json:"name,omitempty" minLength:"1" maxLength:"100"`
		Slug *string `json:"slug,omitempty" maxLength:"64"`
	}
}) (*identity.Body[ProjectView], error) {
	p, err := s.Update(ctx, actor, in.Project, in.Body.Name, in.Body.Slug)
	if err != nil {
		return nil, err
	}
	environments, err := s.Environments(ctx, s.DB.Pool, actor, p.ID)
	if err != nil {
		return nil, err
	}
	ids := make([]uuid.UUID, 0, len(environments))
	for _, e := range environments {
		ids = append(ids, e.ID)
	}
	domains, err := s.Routing.Domains(ctx, s.DB.Pool, actor, ids...)
	if err != nil {
		return nil, err
	}
	return identity.Reply(Present(p, environments, domains, nil)), nil
}

// VariableList is the names of an environment's variables and the version of the set.
type VariableList struct {
	Version int64      `json:"version"`
	Items   []Variable `json:"items" nullable:"false"`
}

func (s *Service) listVariables(ctx context.Context, actor identity.Actor, in *EnvironmentPath) (*identity.Body[VariableList], error) {
	_, e, err := s.FindEnvironment(ctx, s.DB.Pool, actor, in.Project, in.Environment)
	if err != nil {
		return nil, err
	}
	list, err := s.Variables(ctx, s.DB.Pool, actor, e.ID)
	return identity.Reply(VariableList{e.VariablesVersion, list}), err
}

func (s *Service) domainDoors(d *identity.Doors) {
	const path = "/projects/{project}/environments/{environment}/domains"
	identity.Handle(d, identity.Door{
		ID: "list-domains", Method: http.MethodGet, Path: path, Tag: "domains", Permission: identity.DomainsRead,
		Summary: "List the hostnames of an environment",
	}, func(ctx context.Context, actor identity.Actor, in *EnvironmentPath) (*identity.Body[identity.Page[routing.Domain]], error) {
		_, e, err := s.FindEnvironment(ctx, s.DB.Pool, actor, in.Project, in.Environment)
		if err != nil {
			return nil, err
		}
		domains, err := s.Routing.Domains(ctx, s.DB.Pool, actor, e.ID)
		page := identity.Page[routing.Domain]{Items: append([]routing.Domain{}, domains[e.ID]...)}
		return identity.Reply(page), err
	})
	identity.Handle(d, identity.Door{
		ID: "add-domain", Method: http.MethodPost, Path: path, Tag: "domains", Permission: identity.DomainsUpdate,
		Summary: "Give an environment a hostname of your own", Status: http.StatusCreated, Creates: true,
	}, s.addDomain)
	identity.Handle(d, identity.Door{
		ID: "remove-domain", Method: http.MethodDelete, Path: path + "/{domain}", Tag: "domains", Permission: identity.DomainsUpdate,
		Summary: "Take a hostname of your own away",
	}, s.removeDomain)
	identity.Handle(d, identity.Door{
		ID: "update-environment", Method: http.MethodPatch, Path: "/projects/{project}/environments/{environment}", Tag: "projects",
		Permission: identity.ProjectsUpdate, Summary: "Give an environment a port of its own, or take it away",
	}, s.updateEnvironment)
}

func (s *Service) addDomain(ctx context.Context, actor identity.Actor, in *struct {
	EnvironmentPath
	Body struct {
		Hostname string `json:"hostname" maxLength:"253"`
		Service  string `json:"service,omitempty" maxLength:"63" doc:"empty: the public one"`
	}
}) (*identity.Body[routing.Domain], error) {
	var domain routing.Domain
	err := s.change(ctx, actor, in.EnvironmentPath, func(tx pgx.Tx, e Environment) (err error) {
		domain, err = s.Routing.Add(ctx, tx, actor, e.ID, in.Body.Hostname, in.Body.Service)
		return err
	})
	return identity.Reply(domain), err
}

func (s *Service) removeDomain(ctx context.Context, actor identity.Actor, in *struct {
	EnvironmentPath
	Domain uuid.UUID `path:"domain"`
}) (*identity.NoContent, error) {
	return nil, s.change(ctx, actor, in.EnvironmentPath, func(tx pgx.Tx, e Environment) error {
		return s.Routing.Remove(ctx, tx, actor, e.ID, in.Domain)
	})
}

// OwnPort is the port of an environment's own; null when it has none.
type OwnPort struct {
	OwnPort *int `json:"own_port"`
}

func (s *Service) updateEnvironment(ctx context.Context, actor identity.Actor, in *struct {
	EnvironmentPath
	Body struct {
		OwnPort bool `json:"own_port"`
	}
}) (*identity.Body[OwnPort], error) {
	var out OwnPort
	err := s.change(ctx, actor, in.EnvironmentPath, func(tx pgx.Tx, e Environment) error {
		detail := map[string]string{}
		if !in.Body.OwnPort {
			detail["own_port"] = "false"
			if err := s.Routing.FreePort(ctx, tx, actor, e.ID); err != nil {
				return err
			}
			return audit.Record(ctx, tx, actor.Event("environment.update", "environment", e.ID, e.Slug, detail))
		}
		port, err := s.Routing.AllocatePort(ctx, tx, actor, e.ID, e.GroupID)
		if err != nil {
			return err
		}
		out.OwnPort, detail["own_port"] = &port, "true"
		return audit.Record(ctx, tx, actor.Event("environment.update", "environment", e.ID, e.Slug, detail))
	})
	return identity.Reply(out), err
}

// change runs a change of an environment that its plan must see.
func (s *Service) change(ctx context.Context, actor identity.Actor, at EnvironmentPath, fn func(tx pgx.Tx, e Environment) error) error {
	return s.DB.InTx(ctx, func(tx pgx.Tx) error {
		_, e, err := s.FindEnvironment(ctx, tx, actor, at.Project, at.Environment)
		if err != nil {
			return err
		}
		if err := fn(tx, e); err != nil {
			return err
		}
		return s.Servers.Want(ctx, tx, e.ID)
	})
}
