// Package builds gives builds to agents and ends those that nobody can make.
//
// A build runs long, so it runs at an agent; what is decided here is only who has it. An attempt is a lease that the
// agent renews; when it runs out, the build goes to the next attempt, and its old agent's result no longer counts. The
// work is the same whether it runs once or often. It owns no tables and sees no source and no log.
package builds

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"pandu/jobs"
	"pandu/modules/kit/fault"
	"pandu/modules/manager/deployments"
	"pandu/modules/manager/projects"
	"pandu/modules/manager/servers"
)

// Deps is what the sub-component needs.
type Deps struct {
	Log         *slog.Logger
	Servers     *servers.Service
	Projects    *projects.Service
	Deployments *deployments.Service
}

// Builds hands builds out.
type Builds struct{ Deps }

// New makes the sub-component.
func New(deps Deps) *Builds { return &Builds{deps} }

// patience is how long a build waits for a server that can take it.
const patience = 60 * time.Second

// Run decides about one build.
func (b *Builds) Run(ctx context.Context, id uuid.UUID) error {
	return b.Deployments.WithBuild(ctx, id, func(tx pgx.Tx, build *deployments.Build, d deployments.Deployment) error {
		if build == nil {
			return nil
		}
		switch plan(*build, d) {
		case give:
			return b.give(ctx, tx, *build, d)
		case lost:
			return b.Deployments.FailBuild(ctx, tx, *build, d, &deployments.Error{
				Code: "build_lost", Message: fmt.Sprintf("The server that built this went silent, %d times.", build.Attempt),
				Parameters: map[string]string{"attempts": fmt.Sprint(build.Attempt)},
			})
		default:
			return nil
		}
	})
}

type decision int

const (
	keep decision = iota // somebody has it, or it has ended
	give
	lost
)

// plan is pure.
func plan(b deployments.Build, d deployments.Deployment) decision {
	switch {
	case d.State.Final():
		return keep
	case b.State == deployments.BuildPending:
		return give
	case b.State == deployments.BuildProgress && b.LeaseOver && b.Attempt < deployments.Attempts:
		return give
	case b.State == deployments.BuildProgress && b.LeaseOver:
		return lost
	default:
		return keep
	}
}

func (b *Builds) give(ctx context.Context, tx pgx.Tx, build deployments.Build, d deployments.Deployment) error {
	_, e, err := b.Projects.Load(ctx, tx, d.EnvironmentID)
	if err != nil {
		return err
	}
	server, err := b.Servers.Place(ctx, tx, e.GroupID, "build")
	if fault.KindOf(err) == fault.Unavailable {
		if time.Duration(build.Age*float64(time.Second)) > patience {
			return b.Deployments.FailBuild(ctx, tx, build, d, &deployments.Error{
				Code: "no_builder", Message: "No connected server can build this. Check that an agent runs and that Docker answers there, then retry.",
			})
		}
		return nil // the sweep asks again in a moment
	}
	if err != nil {
		return err
	}
	return b.Deployments.Assign(ctx, tx, build, d, server)
}

// Sweep orders builds that wait, and those whose agent has gone silent.
func (b *Builds) Sweep(ctx context.Context) error {
	n, err := b.Deployments.DueBuilds(ctx)
	if n > 0 {
		b.Log.DebugContext(ctx, "ordered due builds", "count", n)
	}
	return err
}

// Worker runs jobs.Build.
type Worker struct {
	river.WorkerDefaults[jobs.Build]
	Builds *Builds
}

// Timeout bounds one run.
func (w *Worker) Timeout(*river.Job[jobs.Build]) time.Duration {
	return jobs.Lookup(jobs.Build{}.Kind()).Timeout
}

// Work decides about the build.
func (w *Worker) Work(ctx context.Context, job *river.Job[jobs.Build]) error {
	if err := w.Builds.Run(ctx, job.Args.BuildID); err != nil {
		return fmt.Errorf("hand out build %s: %w", job.Args.BuildID, err)
	}
	return nil
}
