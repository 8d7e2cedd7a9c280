package jobs_test

import (
	"strings"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"pandu/jobs"
)

func TestTable(t *testing.T) {
	keys := jobs.Keys()
	for i, o := range jobs.Table {
		room, verb, ok := strings.Cut(o.Key, ":")
		if !ok || room == "" || verb == "" || strings.ContainsAny(o.Key, "_ ,!*-") {
			t.Errorf("%s: key %q is not room:verb", o.Kind, o.Key)
		}
		if keys[i] != o.Key || jobs.Key(jobs.Queue(o.Key)) != o.Key || strings.Contains(jobs.Queue(o.Key), ":") {
			t.Errorf("%s: queue %q does not lead back to %q", o.Kind, jobs.Queue(o.Key), o.Key)
		}
		if o.Timeout <= 0 || o.Timeout >= 2*time.Minute || o.Attempts < 1 || o.Attempts > 5 || o.Workers < 1 {
			t.Errorf("%s: not bounded: %+v", o.Kind, o)
		}
		if jobs.Lookup(o.Kind) != o {
			t.Errorf("%s: found as %+v", o.Kind, jobs.Lookup(o.Kind))
		}
	}
}

func TestOrdersGoToTheirQueues(t *testing.T) {
	type order interface {
		river.JobArgs
		InsertOpts() river.InsertOpts
	}
	orders := []order{jobs.Rollout{}, jobs.Build{}, jobs.RemoveProject{}, jobs.SealEvents{}}
	if len(orders) != len(jobs.Table) {
		t.Fatalf("%d orders, %d rows", len(orders), len(jobs.Table))
	}
	for _, a := range orders {
		row, o := jobs.Lookup(a.Kind()), a.InsertOpts()
		if o.Queue != jobs.Queue(row.Key) || o.MaxAttempts != row.Attempts {
			t.Errorf("%s: %+v", a.Kind(), o)
		}
		for _, state := range o.UniqueOpts.ByState {
			if state == rivertype.JobStateCompleted {
				t.Errorf("%s: unique among completed work, so it would run once only", a.Kind())
			}
		}
	}
}

func TestQueuesOnlyWhatIsServed(t *testing.T) {
	q := jobs.Queues(func(key string) bool { return key == "project:build" || key == "audit:seal" })
	if len(q) != 2 || q["project_build"].FetchCooldown > 5*time.Millisecond || q["project_build"].MaxWorkers < 1 || q["audit_seal"].MaxWorkers != 1 {
		t.Fatalf("%+v", q)
	}
}

func TestBackoff(t *testing.T) {
	for failed, want := range map[int]time.Duration{0: 1, 1: 1, 2: 2, 3: 4, 4: 8, 5: 8, 100: 8} {
		want *= time.Second
		spread := map[time.Duration]bool{}
		for range 50 {
			got := jobs.Backoff(failed)
			if got < want*8/10 || got > want*12/10 {
				t.Fatalf("after %d failures %s, want about %s", failed, got, want)
			}
			spread[got] = true
		}
		if len(spread) < 10 {
			t.Errorf("after %d failures all wait the same", failed)
		}
	}
	for failed := range 4 {
		row := &rivertype.JobRow{Errors: make([]rivertype.AttemptError, failed)}
		wait, want := time.Until(jobs.RetryPolicy{}.NextRetry(row)), time.Second<<failed
		if wait < want*7/10 || wait > want*13/10 {
			t.Errorf("attempt %d comes after %s, want about %s", failed+2, wait, want)
		}
	}
}
