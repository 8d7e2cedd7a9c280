package deployments

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"pandu/modules/kit/pg"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/projects"
	"pandu/modules/manager/routing"
	"pandu/modules/spec"
)

// Named is a thing by id and slug.
type Named struct {
	ID   uuid.UUID `json:"id"`
	Slug string    `json:"slug"`
}

// ReleaseRef names a release.
type ReleaseRef struct {
	ID        uuid.UUID `json:"id"`
	Number    int64     `json:"number"`
	CreatedAt time.Time `json:"created_at"`
}

// SourceView is what a deployment deploys.
type SourceView struct {
	Kind     string     `json:"kind" enum:"upload,image,release"`
	Label    string     `json:"label"`
	UploadID *uuid.UUID `json:"upload_id,omitempty"`
}

// Moment is when a deployment entered a state, and why.
type Moment struct {
	State      State             `json:"state" db:"state"`
	Code       string            `json:"code,omitempty" db:"code"`
	Message    string            `json:"message,omitempty" db:"message"`
	Parameters map[string]string `json:"parameters,omitempty" db:"parameters"`
	At         time.Time         `json:"at" db:"at"`
}

// BuildView is one image of a deployment being made.
type BuildView struct {
	ID         uuid.UUID  `json:"id"`
	Services   []string   `json:"services"`
	Kind       string     `json:"kind" enum:"dockerfile,static,import"`
	State      BuildState `json:"state" enum:"pending,progress,ready,failed,cancelled"`
	Phase      string     `json:"phase"`
	Attempt    int        `json:"attempt"`
	Error      *Error     `json:"error"`
	StartedAt  *time.Time `json:"started_at"`
	FinishedAt *time.Time `json:"finished_at"`
}

// ServiceProgress is how far a service of a deployment has come.
type ServiceProgress struct {
	Name    string `json:"name"`
	Wanted  int    `json:"wanted"`
	Ready   int    `json:"ready"`
	Kept    bool   `json:"kept" doc:"its instances were not touched"`
	Message string `json:"message,omitempty"`
}

// DeploymentView is a deployment as the API shows it.
type DeploymentView struct {
	ID          uuid.UUID         `json:"id"`
	Number      int64             `json:"number"`
	Project     Named             `json:"project"`
	Environment Named             `json:"environment"`
	Kind        Kind              `json:"kind" enum:"deploy,rollback,scale,settings,start,stop,restart,variables"`
	State       State             `json:"state" enum:"queued,building,releasing,live,failed,cancelled,superseded"`
	Status      string            `json:"status" enum:"pending,progress,ready,failed,cancelled"`
	Source      *SourceView       `json:"source"`
	Release     *ReleaseRef       `json:"release"`
	CreatedBy   string            `json:"created_by"`
	CreatedAt   time.Time         `json:"created_at"`
	FinishedAt  *time.Time        `json:"finished_at"`
	Cancellable bool              `json:"cancellable"`
	Retryable   bool              `json:"retryable"`
	Error       *Error            `json:"error"`
	Timeline    []Moment          `json:"timeline" nullable:"false"`
	Builds      []BuildView       `json:"builds" nullable:"false"`
	Services    []ServiceProgress `json:"services" nullable:"false"`
	Notes       []spec.Note       `json:"notes" nullable:"false"`
	URLs        []string          `json:"urls" nullable:"false"`
}

// brief is a deployment without what needs more queries.
func brief(d Deployment, p projects.Project, e projects.Environment) DeploymentView {
	return DeploymentView{
		ID: d.ID, Number: d.Number, Project: Named{p.ID, p.Slug}, Environment: Named{e.ID, e.Slug}, Kind: d.Kind, State: d.State,
		Status: d.State.Status(), CreatedBy: d.CreatedBy, CreatedAt: d.CreatedAt, FinishedAt: d.FinishedAt,
		Cancellable: !d.State.Final(), Retryable: (d.State == Failed || d.State == Cancelled) && d.SourceID != nil, Error: d.Error,
		Timeline: []Moment{}, Builds: []BuildView{}, Services: []ServiceProgress{}, Notes: orNoNotes(d.Notes), URLs: []string{},
	}
}

// present is a deployment with everything.
func (s *Service) present(ctx context.Context, actor identity.Actor, d Deployment) (DeploymentView, error) {
	p, e, err := s.Projects.Load(ctx, s.DB.Pool, d.EnvironmentID)
	if pg.None(err) {
		return brief(d, projects.Project{ID: d.ProjectID}, projects.Environment{ID: d.EnvironmentID}), nil // the project is gone
	}
	if err != nil {
		return DeploymentView{}, err
	}
	v := brief(d, p, e)
	if v.Timeline, err = pg.All[Moment](ctx, s.DB.Pool, selectTransitions, pg.Args{"deployment": d.ID}); err != nil {
		return v, fmt.Errorf("read timeline: %w", err)
	}
	if err := s.references(ctx, actor, d, &v); err != nil {
		return v, err
	}
	if err := s.describe(ctx, actor, d, &v); err != nil {
		return v, err
	}
	builds, err := s.builds(ctx, s.DB.Pool, d.ID)
	if err != nil {
		return v, err
	}
	for _, b := range builds {
		v.Builds = append(v.Builds, b.view())
	}
	domains, err := s.Routing.Domains(ctx, s.DB.Pool, actor, e.ID)
	v.URLs = projects.URLs(domains[e.ID])
	return v, err
}

func (b Build) view() BuildView {
	return BuildView{
		ID: b.ID, Services: b.Services, Kind: string(b.Spec.Kind), State: b.State, Phase: b.Phase, Attempt: b.Attempt, Error: b.Error,
		StartedAt: b.StartedAt, FinishedAt: b.FinishedAt,
	}
}

// references fills in the source and the release of a deployment.
func (s *Service) references(ctx context.Context, actor identity.Actor, d Deployment, v *DeploymentView) error {
	if d.SourceID != nil {
		src, err := s.source(ctx, s.DB.Pool, actor, *d.SourceID)
		if err != nil {
			return err
		}
		v.Source = &SourceView{Kind: src.Kind, Label: src.Label, UploadID: src.UploadID}
	}
	if d.ReleaseID == nil {
		return nil
	}
	r, err := s.release(ctx, s.DB.Pool, actor, d.EnvironmentID, *d.ReleaseID)
	if err != nil {
		return err
	}
	v.Release = &ReleaseRef{r.ID, r.Number, r.CreatedAt}
	return nil
}

// describe fills in how far the services of a deployment's release have come.
func (s *Service) describe(ctx context.Context, actor identity.Actor, d Deployment, v *DeploymentView) error {
	if d.ReleaseID == nil {
		return nil
	}
	r, err := s.release(ctx, s.DB.Pool, actor, d.EnvironmentID, *d.ReleaseID)
	if err != nil {
		return err
	}
	w := &World{TasksDone: map[string]bool{}}
	w.Environment.ID, w.Environment.OrganizationID = d.EnvironmentID, actor.OrganizationID
	if err := s.readInstances(ctx, s.DB.Pool, actor, w); err != nil {
		return err
	}
	overrides, err := s.Projects.Overrides(ctx, s.DB.Pool, actor, d.EnvironmentID)
	if err != nil {
		return err
	}
	for _, svc := range r.Application.Services {
		v.Services = append(v.Services, progress(w, r, svc, Count(svc, overrides[svc.Name]), d))
	}
	return nil
}

func progress(w *World, r Release, svc spec.Service, wanted int, d Deployment) ServiceProgress {
	out := ServiceProgress{Name: svc.Name, Wanted: wanted}
	if svc.Task && w.TasksDone[r.ID.String()+":"+svc.Name] {
		out.Ready = 1
		return out
	}
	hash := svc.Container.Hash()
	for _, i := range w.Instances {
		if i.Service != svc.Name || i.SpecHash != hash || i.Desired != "running" {
			continue
		}
		switch name := stateNames[i.State()]; name {
		case "ready", "completed":
			out.Ready++
		case "":
			out.Message = "pending"
		default:
			out.Message = name
		}
		out.Kept = out.Kept || i.CreatedAt.Before(d.CreatedAt)
	}
	return out
}

// ServiceView is a service of an environment as it is now.
type ServiceView struct {
	Name         string            `json:"name"`
	Public       bool              `json:"public"`
	Task         bool              `json:"task"`
	Replicas     int               `json:"replicas"`
	Ready        int               `json:"ready"`
	Memory       int64             `json:"memory" doc:"bytes"`
	MilliCPU     int64             `json:"milli_cpu" doc:"thousandths of a core"`
	Port         int               `json:"port" doc:"0: found by itself"`
	DetectedPort int               `json:"detected_port"`
	Health       *spec.Health      `json:"health"`
	Image        string            `json:"image"`
	Build        bool              `json:"build"`
	SingleWriter bool              `json:"single_writer" doc:"writes to a volume: one instance, stopped before the next one starts"`
	Overrides    projects.Override `json:"overrides"`
}

// Warning is something a person should know about a resource.
type Warning struct {
	Code       string            `json:"code"`
	Message    string            `json:"message"`
	Parameters map[string]string `json:"parameters,omitempty"`
}

// EnvironmentView is an environment as the API shows it.
type EnvironmentView struct {
	ID         uuid.UUID        `json:"id"`
	ProjectID  uuid.UUID        `json:"project_id"`
	Slug       string           `json:"slug"`
	Wanted     projects.Wanted  `json:"wanted" enum:"running,stopped,deleted"`
	Status     string           `json:"status" enum:"pending,progress,ready,stopped,failed,unknown,deleting,deleted,cancelled"`
	URLs       []string         `json:"urls" nullable:"false"`
	Domains    []routing.Domain `json:"domains" nullable:"false"`
	OwnPort    *int             `json:"own_port"`
	Release    *ReleaseRef      `json:"release"`
	Deployment *DeploymentView  `json:"deployment" doc:"the newest one"`
	Services   []ServiceView    `json:"services" nullable:"false"`
	Warnings   []Warning        `json:"warnings" nullable:"false"`
}

// environment is everything about one environment.
func (s *Service) environment(ctx context.Context, actor identity.Actor, p projects.Project, e projects.Environment) (EnvironmentView, error) {
	v := EnvironmentView{ID: e.ID, ProjectID: p.ID, Slug: e.Slug, Wanted: e.Wanted, Services: []ServiceView{}, Warnings: []Warning{}, Domains: []routing.Domain{}}
	f, err := s.facts(ctx, actor, e)
	if err != nil {
		return v, err
	}
	v.Status = f.status(e)
	domains, err := s.Routing.Domains(ctx, s.DB.Pool, actor, e.ID)
	if err != nil {
		return v, err
	}
	v.Domains = append(v.Domains, domains[e.ID]...)
	v.URLs = projects.URLs(domains[e.ID])
	if port, err := s.Routing.OwnPort(ctx, s.DB.Pool, actor, e.ID); err != nil {
		return v, err
	} else if port != 0 {
		v.OwnPort = &port
	}
	if f.newest != nil {
		d, err := s.present(ctx, actor, *f.newest)
		if err != nil {
			return v, err
		}
		v.Deployment = &d
	}
	if f.live != nil {
		v.Release = &ReleaseRef{f.live.ID, f.live.Number, f.live.CreatedAt}
		for _, svc := range f.live.Application.Services {
			v.Services = append(v.Services, f.service(svc))
		}
	}
	v.Warnings = f.warnings()
	return v, nil
}

func (f facts) service(svc spec.Service) ServiceView {
	o := f.overrides[svc.Name]
	c := svc.Container
	v := ServiceView{
		Name: svc.Name, Public: svc.Public, Task: svc.Task, Replicas: Count(svc, o), Memory: c.Resources.Memory, MilliCPU: c.Resources.MilliCPU,
		Port: c.Port, Health: c.Health, Image: svc.Image, Build: svc.Build != nil && svc.Build.Kind != spec.Import,
		SingleWriter: svc.SingleWriter(), Overrides: o,
	}
	hash := c.Hash()
	for _, i := range f.world.Instances {
		if i.Service != svc.Name || i.SpecHash != hash || i.Desired != "running" {
			continue
		}
		if f.known && stateNames[i.State()] == "ready" {
			v.Ready++
		}
		v.DetectedPort = max(v.DetectedPort, int(i.Status.GetPort()))
	}
	return v
}

// order puts warnings that say more first.
func order(list []Warning) []Warning {
	slices.SortStableFunc(list, func(a, b Warning) int { return slices.Compare([]byte(a.Code), []byte(b.Code)) })
	return list
}
