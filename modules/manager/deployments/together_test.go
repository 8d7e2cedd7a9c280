package deployments_test

import (
	"sync"
	"testing"
)

// Many deployments at once leave one under way, and each of the others says which took its place.
func TestManyDeploymentsAtOnce(t *testing.T) {
	r := newRoom(t)
	a := r.join("one")
	req := r.pages("1")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := r.deployments.Create(ctx, r.mine, r.p, r.e, req); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	want(t, "under way", value[int](r, "select count(*)::int from deployments.deployments where state = 'queued' and number = 8"), 1)
	want(t, "superseded", value[int](r, "select count(*)::int from deployments.deployments where state = 'superseded' and error->>'code' = 'superseded'"), 7)
	want(t, "builds", value[int](r, "select count(*)::int from deployments.builds where state = 'pending'"), 1)
	r.give()
	d := value[[16]byte](r, "select id from deployments.deployments where number = 8")
	must(t, a.finish(value[string](r, "select attempt_id::text from deployments.builds where deployment_id = $1", d)))
	var planners sync.WaitGroup
	for range 6 { // two creators, and orders that came twice
		planners.Go(func() {
			if err := r.rollouts.Run(ctx, r.e.ID); err != nil {
				t.Error(err)
			}
		})
	}
	planners.Wait()
	want(t, "instances", len(r.running()), 1)
	a.settle()
	want(t, "live", value[string](r, "select state from deployments.deployments where number = 8"), "live")
	want(t, "deadlocks", value[int](r, "select deadlocks::int from pg_stat_database where datname = current_database()"), 0)
}
