package jobs_test

import (
	"slices"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"pandu/jobs"
)

func TestTheTableHoldsEveryKindOnce(t *testing.T) {
	args := []river.JobArgs{jobs.Rollout{}, jobs.Build{}, jobs.RemoveProject{}, jobs.SealEvents{}}
	if len(args) != len(jobs.Table) {
		t.Errorf("%d kinds, %d rows", len(args), len(jobs.Table))
	}
	var kinds []string
	for _, a := range args {
		o := jobs.Lookup(a.Kind())
		opts := a.(river.JobArgsWithInsertOpts).InsertOpts()
		if opts.Queue != jobs.Queue(o.Key) || opts.MaxAttempts != o.Attempts || o.Attempts < 1 || o.Workers < 1 || o.Timeout <= 0 {
			t.Errorf("%s: %+v %+v", a.Kind(), o, opts)
		}
		if jobs.Key(opts.Queue) != o.Key {
			t.Errorf("queue %s reads back as %s", opts.Queue, jobs.Key(opts.Queue))
		}
		kinds = append(kinds, a.Kind())
	}
	if slices.Sort(kinds); len(slices.Compact(kinds)) != len(args) {
		t.Errorf("a kind twice: %v", kinds)
	}
}

// A second order of the same kind must run after the first has completed: a uniqueness that included completed jobs
// would skip it silently.
func TestNoUniquenessOverCompletedJobs(t *testing.T) {
	states := jobs.SealEvents{}.InsertOpts().UniqueOpts.ByState
	if len(states) == 0 || slices.Contains(states, rivertype.JobStateCompleted) {
		t.Errorf("states %v", states)
	}
	if opts := (jobs.Rollout{}).InsertOpts().UniqueOpts; opts.ByArgs || len(opts.ByState) > 0 {
		t.Errorf("reconciling work is unique: %+v", opts)
	}
}

func TestQueuesAreThoseServed(t *testing.T) {
	queues := jobs.Queues(func(key string) bool { return key == "project:build" })
	q, ok := queues["project_build"]
	if len(queues) != 1 || !ok || q.FetchCooldown > 5*time.Millisecond {
		t.Errorf("%+v", queues)
	}
	if all := jobs.Queues(func(string) bool { return true }); len(all) != len(jobs.Keys()) {
		t.Errorf("%d queues for %d keys", len(all), len(jobs.Keys()))
	}
}

func TestBackoff(t *testing.T) {
	for failed, base := range map[int]time.Duration{0: 1, 1: 1, 2: 2, 3: 4, 4: 8, 5: 8, 100: 8} {
		for range 100 {
			if d := jobs.Backoff(failed); d < base*800*time.Millisecond || d > base*1200*time.Millisecond {
				t.Fatalf("after %d failures %s", failed, d)
			}
		}
	}
	next := jobs.RetryPolicy{}.NextRetry(&rivertype.JobRow{Errors: make([]rivertype.AttemptError, 1)})
	if wait := time.Until(next); wait < time.Second || wait > 3*time.Second {
		t.Errorf("after the second failure %s", wait)
	}
}
