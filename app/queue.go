package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"pandu/jobs"
)

const (
	// rescueAfter is how long a job may stay running before it counts as lost with its process. It must be longer than
	// every kind's timeout; work that must go on sooner does not rely on it.
	rescueAfter = 2 * time.Minute
	// softStop is how long jobs in progress may finish by themselves before their ctx ends. They go back to the queue then.
	softStop = 20 * time.Second
)

// newQueue makes the client with which every room inserts its orders. It is never started, so it never leads.
func (p *Process) newQueue() (Service, error) {
	client, err := river.NewClient(riverpgxv5.New(p.db.Pool), &river.Config{Schema: "river", Logger: quieter(p.log)})
	if err != nil {
		return nil, fmt.Errorf("make queue client: %w", err)
	}
	p.orders = jobs.NewOrders(client)
	return nil, nil //nolint:nilnil // inserting needs nothing started
}

// newWorkers works the queues of this process. Every kind is registered everywhere and only queues are limited: a leader
// discards stuck jobs of kinds it does not know.
func (p *Process) newWorkers() (Service, error) {
	if p.workers == nil {
		return nil, nil //nolint:nilnil // this binary knows no work
	}
	client, err := river.NewClient(riverpgxv5.New(p.db.Pool), &river.Config{
		ID:           p.processes.ID().String(),
		Schema:       "river",
		Logger:       quieter(p.log),
		Workers:      p.workers,
		Queues:       jobs.Queues(p.mode.Serving),
		PeriodicJobs: p.periodic,
		RetryPolicy:  jobs.RetryPolicy{},
		ErrorHandler: jobErrors{p.log},
		// The pool's role does not own the indexes and could not rebuild them; autovacuum keeps them usable.
		ReindexerIndexNames:  []string{},
		RescueStuckJobsAfter: rescueAfter,
		SoftStopTimeout:      min(softStop, p.cfg.Drain.Timeout/2),
	})
	if err != nil {
		return nil, fmt.Errorf("make working client: %w", err)
	}
	return hooks{
		name: "workers",
		// The client stops when the context it was started with ends, and this one lasts only for the start.
		start: func(ctx context.Context) error { return client.Start(context.WithoutCancel(ctx)) },
		stop:  client.Stop,
	}, nil
}

// jobErrors logs what a job failed with; River itself only stores it.
type jobErrors struct{ log *slog.Logger }

// HandleError logs a failed attempt and leaves it to be tried again.
func (h jobErrors) HandleError(ctx context.Context, job *rivertype.JobRow, err error) *river.ErrorHandlerResult {
	h.log.WarnContext(ctx, "job failed", "kind", job.Kind, "job_id", job.ID, "attempt", job.Attempt, "attempts", job.MaxAttempts, "error", err)
	return nil
}

// HandlePanic logs a panic, which counts as a failed attempt.
func (h jobErrors) HandlePanic(ctx context.Context, job *rivertype.JobRow, value any, trace string) *river.ErrorHandlerResult {
	h.log.ErrorContext(ctx, "job panicked", "kind", job.Kind, "job_id", job.ID, "attempt", job.Attempt, "panic", fmt.Sprint(value), "stack", trace)
	return nil
}

// quieter lets through what River warns of: its information is about its own housekeeping.
func quieter(log *slog.Logger) *slog.Logger {
	return slog.New(atLeast{log.Handler(), slog.LevelWarn})
}

// atLeast is a handler that drops what is below a level.
type atLeast struct {
	slog.Handler
	level slog.Level
}

// Enabled reports whether the level is high enough for both.
func (h atLeast) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.level && h.Handler.Enabled(ctx, l)
}

// WithAttrs keeps the level.
func (h atLeast) WithAttrs(attrs []slog.Attr) slog.Handler {
	return atLeast{h.Handler.WithAttrs(attrs), h.level}
}

// WithGroup keeps the level.
func (h atLeast) WithGroup(name string) slog.Handler {
	return atLeast{h.Handler.WithGroup(name), h.level}
}
