package app

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/riverqueue/river"

	"pandu/jobs"
	"pandu/modules/creator/builds"
	"pandu/modules/creator/removals"
	"pandu/modules/creator/rollouts"
	"pandu/modules/manager/audit"
)

// newCreators makes the sub-components of the creator and registers every kind of work. Every process that works any
// queue registers all of them; which queues it works is decided in one place, by the mode.
func (p *Process) newCreators() (Service, error) {
	r := p.rooms
	p.rollouts = rollouts.New(rollouts.Deps{DB: p.db, Log: p.log, Servers: r.servers, Deployments: r.deployments})
	p.builds = builds.New(builds.Deps{Log: p.log, Servers: r.servers, Projects: r.projects, Deployments: r.deployments})
	if p.workers != nil {
		return nil, nil //nolint:nilnil // somebody brought other workers
	}
	p.workers = river.NewWorkers()
	river.AddWorker(p.workers, &rollouts.Worker{Rollouts: p.rollouts})
	river.AddWorker(p.workers, &builds.Worker{Builds: p.builds})
	river.AddWorker(p.workers, &removals.Worker{Deployments: r.deployments})
	river.AddWorker(p.workers, &sealEvents{audit: r.audit})
	p.periodic = append(p.periodic, river.NewPeriodicJob(river.PeriodicInterval(10*time.Second),
		func() (river.JobArgs, *river.InsertOpts) { return jobs.SealEvents{}, nil }, &river.PeriodicJobOpts{RunOnStart: true}))
	return nil, nil //nolint:nilnil // nothing of them runs by itself
}

// sealEvents chains the events that were written since the last time.
type sealEvents struct {
	river.WorkerDefaults[jobs.SealEvents]
	audit *audit.Service
}

// Work seals what is there, batch by batch.
func (w *sealEvents) Work(ctx context.Context, _ *river.Job[jobs.SealEvents]) error {
	for {
		n, err := w.audit.Seal(ctx)
		if err != nil || !audit.More(n) {
			return err
		}
	}
}

// sweep is something that a process looks for again and again, so that what was lost is found.
type sweep struct {
	name  string
	every time.Duration
	on    bool
	run   func(ctx context.Context) error
}

// newSweeps runs this process's sweeps. Several processes may sweep at once; each sweep locks what it takes.
func (p *Process) newSweeps() (Service, error) {
	m, r := p.mode, p.rooms
	all := []sweep{
		{"rollouts", 10 * time.Second, m.Serving("project:rollout"), p.rollouts.Sweep},
		{"builds", time.Second, m.Serving("project:build"), p.builds.Sweep},
		{"sessions", 5 * time.Second, m.Serving("") || m.Jobs(), r.servers.SweepSessions},
		{"identity", 5 * time.Minute, m.Serving(""), r.identity.Sweep},
		{"storage", 10 * time.Minute, m.Serving(""), func(ctx context.Context) error { return r.storage.Sweep(ctx, time.Now()) }},
	}
	ctx, cancel := context.WithCancel(context.Background()) //nolint:gosec // ended by stop
	var running sync.WaitGroup
	return hooks{
		name: "sweeps",
		start: func(context.Context) error {
			for _, s := range all {
				if s.on {
					running.Go(func() { p.sweepEvery(ctx, s) })
				}
			}
			return nil
		},
		stop: func(context.Context) error { cancel(); running.Wait(); return nil },
	}, nil
}

func (p *Process) sweepEvery(ctx context.Context, s sweep) {
	// The first one soon: what a process that died has left is looked for when its successor starts.
	for wait := time.Duration(rand.Int64N(int64(time.Second))); ; wait = s.every + time.Duration(rand.Int64N(int64(s.every)/5+1)) { //nolint:gosec // spreading needs no secrecy
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		bounded, cancel := context.WithTimeout(ctx, time.Minute)
		if err := s.run(bounded); err != nil && ctx.Err() == nil {
			p.log.Warn("sweep failed", "sweep", s.name, "error", err)
		}
		cancel()
	}
}
