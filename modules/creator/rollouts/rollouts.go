// Package rollouts makes an environment what it shall be: it plans instances, routes and the end of deployments.
//
// It is level-triggered. Each run locks one environment, loads everything that matters (deployments.World), decides by
// a pure function what should change, and writes that in the same transaction. Running it twice changes nothing; a run
// that was lost is made up for by the sweep. It owns no tables, speaks to no agent, and waits for nothing: what takes
// time is reported by agents, which orders the next run.
package rollouts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"pandu/jobs"
	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
	"pandu/modules/manager/deployments"
	"pandu/modules/manager/projects"
	"pandu/modules/manager/servers"
)

// Deps is what the sub-component needs.
type Deps struct {
	DB          *pg.DB
	Log         *slog.Logger
	Servers     *servers.Service
	Deployments *deployments.Service
}

// Rollouts plans environments.
type Rollouts struct{ Deps }

// New makes the sub-component.
func New(deps Deps) *Rollouts { return &Rollouts{deps} }

// Run plans one environment and writes what should change.
func (r *Rollouts) Run(ctx context.Context, environment uuid.UUID) error {
	return r.DB.InTx(ctx, func(tx pgx.Tx) error {
		wanted, due, err := r.Servers.Claim(ctx, tx, environment)
		if err != nil || !due {
			return err
		}
		w, err := r.Deployments.LoadWorld(ctx, tx, environment)
		if err != nil {
			return err
		}
		if w == nil {
			return r.Servers.Dismiss(ctx, tx, environment)
		}
		if err := r.plan(ctx, tx, w); err != nil {
			return err
		}
		return r.Servers.Done(ctx, tx, environment, wanted)
	})
}

func (r *Rollouts) plan(ctx context.Context, tx pgx.Tx, w *deployments.World) error {
	if NeedsServer(w) {
		err := r.Deployments.Place(ctx, tx, w)
		if overdue := w.Deployment != nil && w.Now.After(w.Deployment.DeadlineAt); err != nil && overdue {
			return r.Deployments.Apply(ctx, tx, w, deployments.Changes{Failed: deployments.Reason(err)})
		}
		if fault.KindOf(err) == fault.Unavailable {
			return nil // no server now; the sweep tries again until the deployment's deadline
		}
		if err != nil {
			return err
		}
	}
	if w.Server != uuid.Nil {
		w.Serving = Serve(w)
		if err := r.Deployments.PutRoutes(ctx, tx, w, Routes(w)); err != nil {
			return err
		}
	}
	c := Plan(w)
	if withdraw(w, c) && w.Server != uuid.Nil {
		if err := r.Deployments.PutRoutes(ctx, tx, w, Routes(w)); err != nil {
			return err
		}
	}
	return r.Deployments.Apply(ctx, tx, w, c)
}

// withdraw takes what is to end out of the world, so that the routes name it no more. It reports whether anything is.
func withdraw(w *deployments.World, c deployments.Changes) bool {
	for _, r := range c.Retire {
		for i := range w.Instances {
			if w.Instances[i].ID == r.Instance {
				w.Instances[i].Desired = "gone"
			}
		}
	}
	return len(c.Retire) > 0
}

// NeedsServer reports whether an environment shall run something and has no place yet.
func NeedsServer(w *deployments.World) bool {
	return w.Server == uuid.Nil && w.Target != nil && w.Environment.Wanted == projects.Running
}

// Sweep orders what was lost: environments whose plan is behind, and those that wait for something that does not
// report, such as a deadline.
func (r *Rollouts) Sweep(ctx context.Context) error {
	if err := r.Deployments.WantActive(ctx); err != nil {
		return err
	}
	n, err := r.Servers.Overdue(ctx)
	if n > 0 {
		r.Log.InfoContext(ctx, "ordered overdue rollouts", "count", n)
	}
	return err
}

// Worker runs jobs.Rollout.
type Worker struct {
	river.WorkerDefaults[jobs.Rollout]
	Rollouts *Rollouts
}

// Timeout bounds one run.
func (w *Worker) Timeout(*river.Job[jobs.Rollout]) time.Duration {
	return jobs.Lookup(jobs.Rollout{}.Kind()).Timeout
}

// Work plans the environment. When it failed for the last time, the deployment under way fails with the reason.
func (w *Worker) Work(ctx context.Context, job *river.Job[jobs.Rollout]) error {
	err := w.Rollouts.Run(ctx, job.Args.EnvironmentID)
	if err == nil || ctx.Err() != nil {
		return err
	}
	err = fmt.Errorf("roll out environment %s: %w", job.Args.EnvironmentID, err)
	if job.Attempt < job.MaxAttempts || pg.Away(err) {
		return err
	}
	return errors.Join(err, w.Rollouts.Deployments.GiveUp(ctx, job.Args.EnvironmentID, err))
}
