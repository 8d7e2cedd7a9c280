package deployments

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/jobs"
	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/projects"
	"pandu/modules/spec"
)

// Build makes one image. Its current attempt is the only one whose result counts.
type Build struct {
	ID             uuid.UUID         `db:"id"`
	OrganizationID uuid.UUID         `db:"organization_id"`
	DeploymentID   uuid.UUID         `db:"deployment_id"`
	Services       []string          `db:"services"`
	Spec           spec.Build        `db:"spec"`
	Repository     string            `db:"repository"`
	State          BuildState        `db:"state"`
	Phase          string            `db:"phase"`
	Attempt        int               `db:"attempt"`
	AttemptID      *uuid.UUID        `db:"attempt_id"`
	ServerID       *uuid.UUID        `db:"server_id"`
	LeaseUntil     *time.Time        `db:"lease_until"`
	TryAt          time.Time         `db:"try_at"`
	Image          *spec.Image       `db:"image"`
	Config         *spec.ImageConfig `db:"config"`
	Error          *Error            `db:"error"`
	LogID          *uuid.UUID        `db:"log_id"` // of the stored log; nil while it is with the agent
	CreatedAt      time.Time         `db:"created_at"`
	StartedAt      *time.Time        `db:"started_at"`
	FinishedAt     *time.Time        `db:"finished_at"`
	LeaseOver      bool              `db:"lease_over"` // by the database's clock
	Age            float64           `db:"age"`        // seconds since it was made, or since its last lease ended
}

// BuildLease is how long an attempt counts without a word from its agent.
const BuildLease = 20 * time.Second

// Attempts is how often a build is given to an agent.
const Attempts = 5

// WithBuild runs fn in a transaction that holds a build and its deployment. fn gets nil for a build that is gone.
func (s *Service) WithBuild(ctx context.Context, id uuid.UUID, fn func(tx pgx.Tx, b *Build, d Deployment) error) error {
	return s.DB.InTx(ctx, func(tx pgx.Tx) error {
		if err := s.lockOwner(ctx, tx, ownerOfBuild, pg.Args{"id": id}); err != nil {
			return err
		}
		b, err := pg.One[Build](ctx, tx, lockBuild, pg.Args{"id": id})
		if pg.None(err) {
			return fn(tx, nil, Deployment{})
		}
		if err != nil {
			return fmt.Errorf("lock build: %w", err)
		}
		d, err := s.deployment(ctx, tx, identity.System(b.OrganizationID, "build"), b.DeploymentID, true)
		if err != nil {
			return err
		}
		return fn(tx, &b, d)
	})
}

// lockOwner holds in tx the environment that a build is for, which statement finds, before the build itself.
func (s *Service) lockOwner(ctx context.Context, tx pgx.Tx, statement string, args pg.Args) error {
	environment, err := pg.Value[uuid.UUID](ctx, tx, statement, args)
	if pg.None(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find environment of build: %w", err)
	}
	return s.Servers.Lock(ctx, tx, environment)
}

// Assign gives a build in tx to a server as a new attempt.
func (s *Service) Assign(ctx context.Context, tx pgx.Tx, b Build, d Deployment, server uuid.UUID) error {
	_, err := pg.Exec(ctx, tx, assignBuild, pg.Args{"id": b.ID, "attempt": pg.NewID(), "server": server, "lease": BuildLease})
	if err != nil {
		return fmt.Errorf("assign build: %w", err)
	}
	if d.State == Queued {
		if err := s.enter(ctx, tx, d, Building, nil); err != nil {
			return err
		}
	} else if err := pg.Notify(ctx, tx, NoticeDeployment, d.OrganizationID, d.ID); err != nil {
		return err
	}
	return pg.Notify(ctx, tx, NoticeBuild, uuid.Nil, server)
}

// Postpone puts a build in tx back, to be given out again after a while.
func (s *Service) Postpone(ctx context.Context, tx pgx.Tx, b Build, wait time.Duration) error {
	if _, err := pg.Exec(ctx, tx, postponeBuild, pg.Args{"id": b.ID, "wait": wait}); err != nil {
		return fmt.Errorf("postpone build: %w", err)
	}
	return nil
}

// FailBuild ends a build and its deployment in tx.
func (s *Service) FailBuild(ctx context.Context, tx pgx.Tx, b Build, d Deployment, why *Error) error {
	body, err := json.Marshal(why)
	if err != nil {
		return fmt.Errorf("render reason: %w", err)
	}
	if _, err := pg.Exec(ctx, tx, failBuild, pg.Args{"id": b.ID, "error": body}); err != nil {
		return fmt.Errorf("fail build: %w", err)
	}
	if d.State.Final() {
		return nil
	}
	if len(b.Services) == 1 {
		why.Service = b.Services[0]
	}
	return s.retreat(ctx, tx, identity.System(d.OrganizationID, "build"), d, Failed, why)
}

// DueBuilds inserts an order for every build that waits to be given out or whose agent has gone silent.
func (s *Service) DueBuilds(ctx context.Context) (int, error) {
	n := 0
	err := s.DB.InTx(ctx, func(tx pgx.Tx) error {
		ids, err := pg.Values[uuid.UUID](ctx, tx, dueBuilds, nil)
		if err != nil {
			return fmt.Errorf("find due builds: %w", err)
		}
		n = len(ids)
		for _, id := range ids {
			if err := s.Orders.Insert(ctx, tx, jobs.Build{BuildID: id}); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

func (s *Service) cancelBuilds(ctx context.Context, tx pgx.Tx, deployment uuid.UUID) error {
	holders, err := pg.Values[*uuid.UUID](ctx, tx, cancelBuilds, pg.Args{"deployment": deployment})
	if err != nil {
		return fmt.Errorf("cancel builds: %w", err)
	}
	for _, server := range holders {
		if server == nil {
			continue
		}
		if err := pg.Notify(ctx, tx, NoticeBuild, uuid.Nil, *server); err != nil {
			return err
		}
	}
	return nil
}

// built takes in tx the result of an attempt. When it was the last image, the release is made and rolled out.
func (s *Service) built(ctx context.Context, tx pgx.Tx, b Build, d Deployment, image spec.Image, config spec.ImageConfig) error {
	imageBody, err := json.Marshal(image)
	if err != nil {
		return fmt.Errorf("render image: %w", err)
	}
	configBody, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("render image configuration: %w", err)
	}
	if _, err := pg.Exec(ctx, tx, finishBuild, pg.Args{"id": b.ID, "image": imageBody, "config": configBody}); err != nil {
		return fmt.Errorf("finish build: %w", err)
	}
	all, err := s.builds(ctx, tx, d.ID)
	if err != nil {
		return err
	}
	images := map[string]spec.Image{}
	for _, other := range all {
		if other.State != BuildReady {
			return pg.Notify(ctx, tx, NoticeDeployment, d.OrganizationID, d.ID)
		}
		for _, service := range other.Services {
			images[service] = *other.Image
		}
	}
	return s.releaseBuilt(ctx, tx, d, images)
}

func (s *Service) releaseBuilt(ctx context.Context, tx pgx.Tx, d Deployment, images map[string]spec.Image) error {
	actor := identity.System(d.OrganizationID, "build")
	p, e, err := s.Projects.Load(ctx, tx, d.EnvironmentID)
	if err != nil {
		return err
	}
	src, err := s.source(ctx, tx, actor, *d.SourceID)
	if err != nil {
		return err
	}
	app := src.Application
	for i := range app.Services {
		app.Services[i].Container.Image = images[app.Services[i].Name]
	}
	r, err := s.makeRelease(ctx, tx, actor, e, src.ID, app)
	if refused := fault.From(err); err != nil && !fault.Passing(err) {
		return s.retreat(ctx, tx, actor, d, Failed, &Error{Code: refused.Code, Message: refused.Message, Parameters: refused.Parameters})
	}
	if err != nil {
		return err
	}
	if err := s.claimHostnames(ctx, tx, actor, p, e, r); err != nil {
		return err
	}
	if err := s.enter(ctx, tx, d, Releasing, &r.ID); err != nil {
		return err
	}
	if d.Undo.Wanted == projects.Stopped {
		if err := s.Projects.SetWanted(ctx, tx, actor, e, projects.Running); err != nil {
			return err
		}
	}
	return s.aim(ctx, tx, e.ID, r.ID)
}

func (s *Service) builds(ctx context.Context, q pg.Querier, deployment uuid.UUID) ([]Build, error) {
	list, err := pg.All[Build](ctx, q, selectBuilds, pg.Args{"deployment": deployment})
	if err != nil {
		return nil, fmt.Errorf("read builds: %w", err)
	}
	return list, nil
}
