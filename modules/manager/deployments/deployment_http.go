package deployments

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"pandu/modules/kit/pg"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/projects"
)

// deploymentPath names a deployment.
type deploymentPath struct {
	Deployment uuid.UUID `path:"deployment"`
}

func (s *Service) deploymentDoors(d *identity.Doors) {
	identity.Handle(d, identity.Door{
		ID: "create-deployment", Method: http.MethodPost, Path: environmentPath + "/deployments", Tag: "deployments",
		Permission: identity.DeploymentsCreate, Summary: "Deploy an upload or an image, or go back to a release",
		Status: http.StatusAccepted, Creates: true,
	}, s.createDeployment)
	identity.Handle(d, identity.Door{
		ID: "list-deployments", Method: http.MethodGet, Path: environmentPath + "/deployments", Tag: "deployments",
		Permission: identity.DeploymentsRead, Summary: "List the deployments of an environment, newest first",
	}, s.listDeployments)
	identity.Handle(d, identity.Door{
		ID: "get-deployment", Method: http.MethodGet, Path: "/deployments/{deployment}", Tag: "deployments",
		Permission: identity.DeploymentsRead, Summary: "Read a deployment with its timeline and builds",
	}, s.getDeployment)
	identity.Handle(d, identity.Door{
		ID: "cancel-deployment", Method: http.MethodPost, Path: "/deployments/{deployment}/cancel", Tag: "deployments",
		Permission: identity.DeploymentsCancel, Summary: "Cancel a deployment that is not live yet; what was live stays", Status: http.StatusAccepted,
	}, func(ctx context.Context, actor identity.Actor, in *deploymentPath) (*identity.Body[DeploymentView], error) {
		d, err := s.Cancel(ctx, actor, in.Deployment)
		if err != nil {
			return nil, err
		}
		return s.reread(ctx, actor, d.ID)
	})
	identity.Handle(d, identity.Door{
		ID: "retry-deployment", Method: http.MethodPost, Path: "/deployments/{deployment}/retry", Tag: "deployments",
		Permission: identity.DeploymentsCreate, Summary: "Deploy again what a deployment that ended was about", Status: http.StatusAccepted, Creates: true,
	}, func(ctx context.Context, actor identity.Actor, in *deploymentPath) (*identity.Body[DeploymentView], error) {
		d, err := s.Retry(ctx, actor, in.Deployment)
		if err != nil {
			return nil, err
		}
		return s.reread(ctx, actor, d.ID)
	})
	identity.Handle(d, identity.Door{
		ID: "list-releases", Method: http.MethodGet, Path: environmentPath + "/releases", Tag: "deployments",
		Permission: identity.DeploymentsRead, Summary: "List the releases of an environment, newest first",
	}, s.listReleases)
}

func (s *Service) createDeployment(ctx context.Context, actor identity.Actor, in *struct {
	projects.EnvironmentPath
	Body struct {
		UploadID  *uuid.UUID `json:"upload_id,omitempty" doc:"an upload of this project"`
		Image     string     `json:"image,omitempty" maxLength:"512" doc:"a reference such as nginx:1.27"`
		ReleaseID *uuid.UUID `json:"release_id,omitempty" doc:"a release of this environment, to go back to"`
	}
}) (*identity.Body[DeploymentView], error) {
	return s.answer(ctx, actor, in.EnvironmentPath, func(ctx context.Context, actor identity.Actor, p projects.Project, e projects.Environment) (Deployment, error) {
		return s.Create(ctx, actor, p, e, Request{UploadID: in.Body.UploadID, Image: in.Body.Image, ReleaseID: in.Body.ReleaseID})
	})
}

func (s *Service) reread(ctx context.Context, actor identity.Actor, id uuid.UUID) (*identity.Body[DeploymentView], error) {
	d, err := s.deployment(ctx, s.DB.Pool, actor, id, false)
	if err != nil {
		return nil, err
	}
	v, err := s.present(ctx, actor, d)
	return identity.Reply(v), err
}

// tagged is a body with an entity tag, for those who ask again and again.
type tagged[T any] struct {
	ETag string `header:"ETag"`
	Body T
}

func (s *Service) getDeployment(ctx context.Context, actor identity.Actor, in *deploymentPath) (*tagged[DeploymentView], error) {
	out, err := s.reread(ctx, actor, in.Deployment)
	if err != nil {
		return nil, err
	}
	return &tagged[DeploymentView]{ETag: etag(out.Body), Body: out.Body}, nil
}

func (s *Service) listDeployments(ctx context.Context, actor identity.Actor, in *struct {
	projects.EnvironmentPath
	identity.PageInput
}) (*identity.Body[identity.Page[DeploymentView]], error) {
	p, e, err := s.Projects.FindEnvironment(ctx, s.DB.Pool, actor, in.Project, in.Environment)
	if err != nil {
		return nil, err
	}
	from, err := in.Position()
	if err != nil {
		return nil, err
	}
	before, id := from.Args()
	rows, err := pg.All[Deployment](ctx, s.DB.Pool, selectDeployments, pg.Args{
		"organization": actor.OrganizationID, "environment": e.ID, "before_time": before, "before_id": id, "limit": in.Size(),
	})
	if err != nil {
		return nil, fmt.Errorf("list deployments: %w", err)
	}
	page := identity.Cut(in.PageInput, rows, func(d Deployment) identity.Cursor { return identity.Cursor{Time: d.CreatedAt, ID: d.ID} })
	out := identity.Page[DeploymentView]{Items: []DeploymentView{}, NextCursor: page.NextCursor}
	for _, d := range page.Items {
		v := brief(d, p, e)
		if err := s.references(ctx, actor, d, &v); err != nil {
			return nil, err
		}
		out.Items = append(out.Items, v)
	}
	return identity.Reply(out), nil
}

// ReleaseView is a release as the API shows it.
type ReleaseView struct {
	ID        uuid.UUID  `json:"id"`
	Number    int64      `json:"number"`
	CreatedAt time.Time  `json:"created_at"`
	Source    SourceView `json:"source"`
	Current   bool       `json:"current"`
	Services  []string   `json:"services" nullable:"false"`
}

func (s *Service) listReleases(ctx context.Context, actor identity.Actor, in *struct {
	projects.EnvironmentPath
	identity.PageInput
}) (*identity.Body[identity.Page[ReleaseView]], error) {
	_, e, err := s.Projects.FindEnvironment(ctx, s.DB.Pool, actor, in.Project, in.Environment)
	if err != nil {
		return nil, err
	}
	from, err := in.Position()
	if err != nil {
		return nil, err
	}
	before, id := from.Args()
	rows, err := pg.All[Release](ctx, s.DB.Pool, selectReleases, pg.Args{
		"organization": actor.OrganizationID, "environment": e.ID, "before_time": before, "before_id": id, "limit": in.Size(),
	})
	if err != nil {
		return nil, fmt.Errorf("list releases: %w", err)
	}
	head, err := s.head(ctx, s.DB.Pool, e.ID)
	if err != nil {
		return nil, err
	}
	page := identity.Cut(in.PageInput, rows, func(r Release) identity.Cursor { return identity.Cursor{Time: r.CreatedAt, ID: r.ID} })
	out := identity.Page[ReleaseView]{Items: []ReleaseView{}, NextCursor: page.NextCursor}
	for _, r := range page.Items {
		src, err := s.source(ctx, s.DB.Pool, actor, r.SourceID)
		if err != nil {
			return nil, err
		}
		v := ReleaseView{
			ID: r.ID, Number: r.Number, CreatedAt: r.CreatedAt, Source: SourceView{Kind: src.Kind, Label: src.Label, UploadID: src.UploadID},
			Current: head.LiveID != nil && *head.LiveID == r.ID, Services: []string{},
		}
		for _, svc := range r.Application.Services {
			v.Services = append(v.Services, svc.Name)
		}
		out.Items = append(out.Items, v)
	}
	return identity.Reply(out), nil
}

const selectReleases = `
	select id, number, source_id, application, variables_version, created_at from deployments.releases
	where organization_id = @organization and environment_id = @environment
	  and (@before_time::timestamptz is null or (created_at, id) < (@before_time, @before_id))
	order by created_at desc, id desc
	limit @limit`
