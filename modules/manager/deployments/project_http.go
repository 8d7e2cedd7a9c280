package deployments

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"pandu/modules/manager/identity"
	"pandu/modules/manager/projects"
	"pandu/modules/spec"
)

const environmentPath = "/projects/{project}/environments/{environment}"

// Doors declares this room's doors.
func (s *Service) Doors(d *identity.Doors) {
	s.projectDoors(d)
	s.serviceDoors(d)
	s.deploymentDoors(d)
	s.uploadDoors(d)
	s.instanceDoors(d)
	s.logDoors(d)
}

func (s *Service) projectDoors(d *identity.Doors) {
	identity.Handle(d, identity.Door{
		ID: "list-projects", Method: http.MethodGet, Path: "/projects", Tag: "projects", Permission: identity.ProjectsRead,
		Summary: "List projects, newest first",
	}, s.listProjects)
	identity.Handle(d, identity.Door{
		ID: "get-project", Method: http.MethodGet, Path: "/projects/{project}", Tag: "projects", Permission: identity.ProjectsRead,
		Summary: "Read a project",
	}, s.getProject)
	identity.Handle(d, identity.Door{
		ID: "delete-project", Method: http.MethodDelete, Path: "/projects/{project}", Tag: "projects", Permission: identity.ProjectsDelete,
		Summary: "Delete a project with all it made; its volumes are kept or deleted as asked", Status: http.StatusAccepted,
	}, s.deleteProject)
	identity.Handle(d, identity.Door{
		ID: "list-environments", Method: http.MethodGet, Path: "/projects/{project}/environments", Tag: "projects",
		Permission: identity.ProjectsRead, Summary: "List the environments of a project",
	}, s.listEnvironments)
	identity.Handle(d, identity.Door{
		ID: "get-environment", Method: http.MethodGet, Path: environmentPath, Tag: "projects", Permission: identity.ProjectsRead,
		Summary: "Read an environment: what is wanted, what is live, what is happening",
	}, s.getEnvironment)
}

func (s *Service) listProjects(ctx context.Context, actor identity.Actor, in *identity.PageInput) (*identity.Body[identity.Page[projects.ProjectView]], error) {
	page, err := s.Projects.List(ctx, actor, *in)
	if err != nil {
		return nil, err
	}
	views, err := s.projectViews(ctx, actor, page.Items)
	return identity.Reply(identity.Page[projects.ProjectView]{Items: views, NextCursor: page.NextCursor}), err
}

func (s *Service) projectViews(ctx context.Context, actor identity.Actor, list []projects.Project) ([]projects.ProjectView, error) {
	var ids []uuid.UUID
	for _, p := range list {
		ids = append(ids, p.ID)
	}
	environments, err := s.Projects.Environments(ctx, s.DB.Pool, actor, ids...)
	if err != nil {
		return nil, err
	}
	var environmentIDs []uuid.UUID
	status := map[uuid.UUID]string{}
	facts, err := s.factsOf(ctx, actor, environments...)
	if err != nil {
		return nil, err
	}
	for _, e := range environments {
		environmentIDs = append(environmentIDs, e.ID)
		status[e.ID] = facts[e.ID].status(e)
	}
	domains, err := s.Routing.Domains(ctx, s.DB.Pool, actor, environmentIDs...)
	if err != nil {
		return nil, err
	}
	views := []projects.ProjectView{}
	for _, p := range list {
		views = append(views, projects.Present(p, environments, domains, status))
	}
	return views, nil
}

func (s *Service) getProject(ctx context.Context, actor identity.Actor, in *projects.ProjectPath) (*identity.Body[projects.ProjectView], error) {
	p, err := s.Projects.Find(ctx, s.DB.Pool, actor, in.Project)
	if err != nil {
		return nil, err
	}
	views, err := s.projectViews(ctx, actor, []projects.Project{p})
	if err != nil {
		return nil, err
	}
	return identity.Reply(views[0]), nil
}

func (s *Service) deleteProject(ctx context.Context, actor identity.Actor, in *struct {
	projects.ProjectPath
	Volumes string `query:"volumes" enum:"keep,delete" doc:"what happens to volumes; needed when there are any"`
}) (*identity.Body[projects.ProjectView], error) {
	p, err := s.Projects.Find(ctx, s.DB.Pool, actor, in.Project)
	if err != nil {
		return nil, err
	}
	if in.Volumes == "delete" {
		if err := actor.Require(identity.VolumesDelete); err != nil {
			return nil, err
		}
	}
	if err := s.Delete(ctx, actor, p, in.Volumes); err != nil {
		return nil, err
	}
	return s.getProject(ctx, actor, &projects.ProjectPath{Project: p.ID.String()})
}

func (s *Service) listEnvironments(ctx context.Context, actor identity.Actor, in *projects.ProjectPath) (*identity.Body[identity.Page[EnvironmentView]], error) {
	p, err := s.Projects.Find(ctx, s.DB.Pool, actor, in.Project)
	if err != nil {
		return nil, err
	}
	environments, err := s.Projects.Environments(ctx, s.DB.Pool, actor, p.ID)
	if err != nil {
		return nil, err
	}
	page := identity.Page[EnvironmentView]{Items: []EnvironmentView{}}
	for _, e := range environments {
		v, err := s.environment(ctx, actor, p, e)
		if err != nil {
			return nil, err
		}
		page.Items = append(page.Items, v)
	}
	return identity.Reply(page), nil
}

func (s *Service) getEnvironment(ctx context.Context, actor identity.Actor, in *projects.EnvironmentPath) (*identity.Body[EnvironmentView], error) {
	p, e, err := s.Projects.FindEnvironment(ctx, s.DB.Pool, actor, in.Project, in.Environment)
	if err != nil {
		return nil, err
	}
	v, err := s.environment(ctx, actor, p, e)
	return identity.Reply(v), err
}

func (s *Service) serviceDoors(d *identity.Doors) {
	change := func(id, verb, summary string, fn func(context.Context, identity.Actor, projects.Project, projects.Environment) (Deployment, error)) {
		identity.Handle(d, identity.Door{
			ID: id, Method: http.MethodPost, Path: environmentPath + "/" + verb, Tag: "services", Permission: identity.ServicesUpdate,
			Summary: summary, Status: http.StatusAccepted, Creates: true,
		}, func(ctx context.Context, actor identity.Actor, in *projects.EnvironmentPath) (*identity.Body[DeploymentView], error) {
			return s.answer(ctx, actor, *in, fn)
		})
	}
	change("start-environment", "start", "Start what was stopped, or deploy the newest upload of a new project", s.Start)
	change("stop-environment", "stop", "Stop everything; releases, volumes and hostnames stay", s.Stop)
	identity.Handle(d, identity.Door{
		ID: "restart-environment", Method: http.MethodPost, Path: environmentPath + "/restart", Tag: "services",
		Permission: identity.ServicesUpdate, Summary: "Replace instances by new ones of the same release", Status: http.StatusAccepted, Creates: true,
	}, func(ctx context.Context, actor identity.Actor, in *struct {
		projects.EnvironmentPath
		Service string `query:"service" maxLength:"63" doc:"only this one"`
	}) (*identity.Body[DeploymentView], error) {
		return s.answer(ctx, actor, in.EnvironmentPath, func(ctx context.Context, actor identity.Actor, p projects.Project, e projects.Environment) (Deployment, error) {
			return s.Restart(ctx, actor, p, e, in.Service)
		})
	})
	identity.Handle(d, identity.Door{
		ID: "update-service", Method: http.MethodPatch, Path: environmentPath + "/services/{service}", Tag: "services",
		Permission: identity.ServicesUpdate, Summary: "Set replicas, limits, port or health check of a service", Status: http.StatusAccepted,
	}, s.updateService)
	identity.Handle(d, identity.Door{
		ID: "change-variables", Method: http.MethodPatch, Path: environmentPath + "/variables", Tag: "variables",
		Permission: identity.VariablesWrite, Summary: "Set and remove variables; values cannot be read back", Status: http.StatusAccepted, MaxBody: 8 << 20,
	}, s.changeVariables)
}

// answer runs a change of an environment and answers with its deployment.
func (s *Service) answer(ctx context.Context, actor identity.Actor, at projects.EnvironmentPath, fn func(context.Context, identity.Actor, projects.Project, projects.Environment) (Deployment, error)) (*identity.Body[DeploymentView], error) {
	p, e, err := s.Projects.FindEnvironment(ctx, s.DB.Pool, actor, at.Project, at.Environment)
	if err != nil {
		return nil, err
	}
	d, err := fn(ctx, actor, p, e)
	if err != nil {
		return nil, err
	}
	if d.ID == uuid.Nil {
		return nil, errNothingLive
	}
	v, err := s.present(ctx, actor, d)
	return identity.Reply(v), err
}

// ServiceChange is what came of changing a service's settings: a deployment, when something is live.
type ServiceChange struct {
	Service    string          `json:"service"`
	Deployment *DeploymentView `json:"deployment"`
}

func (s *Service) updateService(ctx context.Context, actor identity.Actor, in *struct {
	projects.EnvironmentPath
	Service string `path:"service" maxLength:"63"`
	Body    struct {
		Replicas *int         `json:"replicas,omitempty" minimum:"0" maximum:"100"`
		Memory   *int64       `json:"memory,omitempty" doc:"bytes"`
		MilliCPU *int64       `json:"milli_cpu,omitempty" doc:"thousandths of a core"`
		Port     *int         `json:"port,omitempty" minimum:"1" maximum:"65535"`
		Health   *spec.Health `json:"health,omitempty"`
		Public   *bool        `json:"public,omitempty"`
		Reset    []string     `json:"reset,omitempty" enum:"replicas,memory,milli_cpu,port,health,public" doc:"settings to go back to what the source says"`
	}
}) (*identity.Body[ServiceChange], error) {
	p, e, err := s.Projects.FindEnvironment(ctx, s.DB.Pool, actor, in.Project, in.Environment)
	if err != nil {
		return nil, err
	}
	b := in.Body
	d, err := s.Configure(ctx, actor, p, e, in.Service, Settings{
		Set:   projects.Override{Replicas: b.Replicas, Memory: b.Memory, MilliCPU: b.MilliCPU, Port: b.Port, Health: b.Health, Public: b.Public},
		Reset: b.Reset,
	})
	if err != nil {
		return nil, err
	}
	out := ServiceChange{Service: in.Service}
	out.Deployment, err = s.maybe(ctx, actor, d)
	return identity.Reply(out), err
}

// maybe presents a deployment, nil for none.
func (s *Service) maybe(ctx context.Context, actor identity.Actor, d Deployment) (*DeploymentView, error) {
	if d.ID == uuid.Nil {
		return nil, nil
	}
	v, err := s.present(ctx, actor, d)
	return &v, err
}

// VariablesChange is what came of changing variables.
type VariablesChange struct {
	Version    int64           `json:"version"`
	Deployment *DeploymentView `json:"deployment"`
}

func (s *Service) changeVariables(ctx context.Context, actor identity.Actor, in *struct {
	projects.EnvironmentPath
	Body struct {
		Set   []projects.SetVariable `json:"set,omitempty" maxItems:"500"`
		Unset []string               `json:"unset,omitempty" maxItems:"500"`
		Apply *bool                  `json:"apply,omitempty" doc:"make a release that has them and roll it out; true by default"`
	}
}) (*identity.Body[VariablesChange], error) {
	p, e, err := s.Projects.FindEnvironment(ctx, s.DB.Pool, actor, in.Project, in.Environment)
	if err != nil {
		return nil, err
	}
	apply := in.Body.Apply == nil || *in.Body.Apply
	version, d, err := s.ChangeVariables(ctx, actor, p, e, in.Body.Set, in.Body.Unset, apply)
	if err != nil {
		return nil, err
	}
	out := VariablesChange{Version: version}
	out.Deployment, err = s.maybe(ctx, actor, d)
	return identity.Reply(out), err
}
