// Package jobs holds the orders: every kind of background work, as a plain struct with its kind, and one table that
// says for each its queue, how long it may take and how often it is tried.
//
// An order carries ids only, never secrets or state. It is inserted in the transaction of the change it belongs to.
// The work itself lives in the module that does it (modules/*/<noun>_worker.go). Every process that opens a River
// client registers every kind, because a leader would discard stuck jobs of kinds it does not know; what a process
// works is limited by queue only.
package jobs

import (
	"math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// Order is one row of the table: a kind of work and how it is run.
type Order struct {
	Kind        string        // of the River job
	Key         string        // room:verb, as written in WORKER_MODE
	Timeout     time.Duration // of one attempt; the worker's ctx ends then
	Attempts    int
	Workers     int  // at most this many at once in one process
	Interactive bool // somebody is waiting: started within milliseconds
}

// Table is every kind of background work there is.
var Table = []Order{
	{Kind: Rollout{}.Kind(), Key: "project:rollout", Timeout: 30 * time.Second, Attempts: 5, Workers: 8, Interactive: true},
	{Kind: Build{}.Kind(), Key: "project:build", Timeout: 30 * time.Second, Attempts: 5, Workers: 8, Interactive: true},
	{Kind: RemoveProject{}.Kind(), Key: "project:remove", Timeout: 60 * time.Second, Attempts: 5, Workers: 2},
	{Kind: SealEvents{}.Kind(), Key: "audit:seal", Timeout: 30 * time.Second, Attempts: 1, Workers: 1},
}

// Rollout plans one environment again and writes what should change. It may run any number of times.
type Rollout struct {
	EnvironmentID uuid.UUID `json:"environment_id"`
}

// Kind names the order in the queue.
func (Rollout) Kind() string { return "rollout" }

// InsertOpts puts the order into its queue.
func (a Rollout) InsertOpts() river.InsertOpts { return options(a.Kind()) }

// Build gives one build to an agent, or ends it when nobody can make it. It may run any number of times.
type Build struct {
	BuildID uuid.UUID `json:"build_id"`
}

// Kind names the order in the queue.
func (Build) Kind() string { return "build" }

// InsertOpts puts the order into its queue.
func (a Build) InsertOpts() river.InsertOpts { return options(a.Kind()) }

// RemoveProject deletes the files and images of a project whose environments are gone.
type RemoveProject struct {
	OrganizationID uuid.UUID `json:"organization_id"`
	ProjectID      uuid.UUID `json:"project_id"`
}

// Kind names the order in the queue.
func (RemoveProject) Kind() string { return "remove_project" }

// InsertOpts puts the order into its queue.
func (a RemoveProject) InsertOpts() river.InsertOpts { return options(a.Kind()) }

// SealEvents chains the events that were written since the last time. A tick, inserted by River's schedule.
type SealEvents struct{}

// Kind names the order in the queue.
func (SealEvents) Kind() string { return "seal_events" }

// InsertOpts puts the order into its queue; one waiting tick is enough.
func (a SealEvents) InsertOpts() river.InsertOpts {
	o := options(a.Kind())
	o.UniqueOpts = river.UniqueOpts{ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning, rivertype.JobStateRetryable, rivertype.JobStateScheduled,
	}}
	return o
}

func options(kind string) river.InsertOpts {
	o := Lookup(kind)
	return river.InsertOpts{Queue: Queue(o.Key), MaxAttempts: o.Attempts}
}

// Lookup finds the row of a kind. An unknown kind is a mistake in this package.
func Lookup(kind string) Order {
	for _, o := range Table {
		if o.Kind == kind {
			return o
		}
	}
	panic("jobs: kind " + kind + " is not in the table")
}

// Keys are the words that WORKER_MODE knows for background work, in the table's order.
func Keys() []string {
	keys := make([]string, 0, len(Table))
	for _, o := range Table {
		keys = append(keys, o.Key)
	}
	return keys
}

// Queue is the River queue of a key: River allows no colon in a queue's name.
func Queue(key string) string { return strings.ReplaceAll(key, ":", "_") }

// Key is the key of a River queue.
func Key(queue string) string { return strings.Replace(queue, "_", ":", 1) }

// Queues configures River for the keys that this process serves.
func Queues(serving func(key string) bool) map[string]river.QueueConfig {
	queues := map[string]river.QueueConfig{}
	for _, o := range Table {
		if !serving(o.Key) {
			continue
		}
		q := river.QueueConfig{MaxWorkers: o.Workers}
		if o.Interactive {
			// River waits 100 ms between fetches by default, which a person notices at every step of a deployment.
			q.FetchCooldown = 2 * time.Millisecond
			q.FetchPollInterval = 500 * time.Millisecond
		}
		queues[Queue(o.Key)] = q
	}
	return queues
}

// Backoff is how long to wait before attempt number n+1 when n attempts have failed: 1, 2, 4, 8 s, each ± 20 %.
func Backoff(failed int) time.Duration {
	d := time.Second << min(max(failed-1, 0), 3)
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64())) //nolint:gosec // spreading retries needs no secrecy
}

// RetryPolicy waits Backoff between the attempts of every kind.
type RetryPolicy struct{}

// NextRetry is when the job is tried again.
func (RetryPolicy) NextRetry(job *rivertype.JobRow) time.Time {
	return time.Now().Add(Backoff(len(job.Errors) + 1))
}
