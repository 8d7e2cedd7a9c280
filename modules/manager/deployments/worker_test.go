package deployments_test

import (
	"context"
	"testing"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"pandu/jobs"
	"pandu/modules/agent/agentv1"
	"pandu/modules/creator/builds"
	"pandu/modules/creator/removals"
	"pandu/modules/creator/rollouts"
)

func job[T river.JobArgs](args T, attempt int) *river.Job[T] {
	return &river.Job[T]{JobRow: &rivertype.JobRow{Attempt: attempt, MaxAttempts: 5}, Args: args}
}

// Planning that fails for good fails the deployment with its reason; before the last attempt it only fails the job.
func TestRolloutGivesUpAfterItsLastAttempt(t *testing.T) {
	r := newRoom(t)
	a := r.join("one")
	w := &rollouts.Worker{Rollouts: r.rollouts}
	d := r.create(r.pages("1"))
	r.give()
	must(t, a.finish(r.attempt(d)))
	r.exec("alter table deployments.instances rename to hidden")
	for attempt := 1; attempt <= 5; attempt++ {
		want(t, "state", r.state(d), "releasing")
		if err := w.Work(ctx, job(jobs.Rollout{EnvironmentID: r.e.ID}, attempt)); err == nil {
			t.Fatal("it worked")
		}
	}
	want(t, "state", r.state(d), "failed")
	want(t, "cause is not shown", value[string](r, "select error->>'code' from deployments.deployments"), "internal")
	r.exec("alter table deployments.hidden rename to instances")
	a.settle()
	again, err := r.deployments.Retry(ctx, r.mine, d.ID)
	must(t, err)
	a.settle()
	want(t, "again", r.state(again), "live")
}

func TestWorkersRunTwiceAndForWhatIsGone(t *testing.T) {
	r := newRoom(t)
	a := r.join("one")
	b, m, p := &builds.Worker{Builds: r.builds}, &removals.Worker{Deployments: r.deployments}, &rollouts.Worker{Rollouts: r.rollouts}
	if b.Timeout(nil) <= 0 || m.Timeout(nil) <= 0 || p.Timeout(nil) <= 0 {
		t.Fatal("a worker without a bound")
	}
	d := r.create(r.pages("1"))
	order := jobs.Build{BuildID: values[[16]byte](r, "select id from deployments.builds")[0]}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := b.Work(ended, job(order, 1)); err == nil {
		t.Fatal("worked with a context that is over")
	}
	want(t, "attempt after a kill", value[int](r, "select attempt from deployments.builds"), 0)
	for range 2 {
		must(t, b.Work(ctx, job(order, 1)))
	}
	want(t, "attempt", value[int](r, "select attempt from deployments.builds"), 1)
	must(t, a.finish(r.attempt(d), func(res *agentv1.BuildResult) { res.Digest = digest("a") }))
	must(t, b.Work(ctx, job(order, 1)))
	must(t, b.Work(ctx, job(jobs.Build{BuildID: r.e.ID}, 1)))
	for range 2 {
		must(t, p.Work(ctx, job(jobs.Rollout{EnvironmentID: r.e.ID}, 1)))
	}
	want(t, "instances", len(r.running()), 1)
	a.settle()
	must(t, r.deployments.Delete(ctx, r.mine, r.p, ""))
	a.settle()
	for range 2 {
		must(t, m.Work(ctx, job(jobs.RemoveProject{OrganizationID: r.mine.OrganizationID, ProjectID: r.p.ID}, 1)))
	}
	want(t, "uploads", value[int](r, "select count(*)::int from storage.uploads"), 0)
	must(t, p.Work(ctx, job(jobs.Rollout{EnvironmentID: r.e.ID}, 1)))
}
