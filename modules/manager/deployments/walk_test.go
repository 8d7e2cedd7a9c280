package deployments_test

import (
	"context"
	"errors"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/agent/agentv1"
	"pandu/modules/kit/fault"
	"pandu/modules/manager/deployments"
	"pandu/modules/manager/projects"
)

func want[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func TestFromUploadToLive(t *testing.T) {
	r := newRoom(t)
	a := r.join("one")
	d := r.create(r.pages("1"))
	want(t, "first", r.state(d), "queued")
	r.give()
	want(t, "given out", r.state(d), "building")
	may, err := r.deployments.MayImage(ctx, a.id, deployments.Repository(r.mine.OrganizationID, r.p.ID), true)
	must(t, err)
	want(t, "may push", may, true)
	r.give() // somebody has it
	want(t, "attempts", value[int](r, "select attempt from deployments.builds"), 1)
	attempt := r.attempt(d)
	progress, err := a.builds().Progress(ctx, connect.NewRequest(&agentv1.BuildProgress{AttemptId: attempt, Phase: "build"}))
	must(t, err)
	want(t, "cancelled", progress.Msg.GetCancelled(), false)
	must(t, a.finish(attempt))
	want(t, "built", r.state(d), "releasing")
	must(t, a.finish(attempt)) // the answer was lost
	want(t, "releases", value[int](r, "select count(*)::int from deployments.releases"), 1)
	r.plan()
	want(t, "instances", len(r.running()), 1)
	a.everything(agentv1.InstanceState_INSTANCE_STATE_READY)
	a.everything(agentv1.InstanceState_INSTANCE_STATE_READY)
	want(t, "ready and served", r.state(d), "live")
	got := values[string](r, "select state from deployments.transitions where deployment_id = $1 order by number", d.ID)
	if len(got) != 4 || got[0] != "queued" || got[3] != "live" {
		t.Fatalf("timeline %v", got)
	}
	may, err = r.deployments.MayImage(ctx, a.id, deployments.Repository(r.mine.OrganizationID, r.p.ID), true)
	must(t, err)
	want(t, "may push afterwards", may, false)
	may, err = r.deployments.MayImage(ctx, a.id, deployments.Repository(r.mine.OrganizationID, r.p.ID), false)
	must(t, err)
	want(t, "may pull what it runs", may, true)
	other := r.join("two")
	may, err = r.deployments.MayImage(ctx, other.id, deployments.Repository(r.mine.OrganizationID, r.p.ID), false)
	must(t, err)
	want(t, "another server may pull", may, false)
}

func TestCancelInEachState(t *testing.T) {
	r := newRoom(t)
	a := r.join("one")
	a.live("a")
	live := r.running()
	for state, to := range map[string]func(d deployments.Deployment){
		"queued":   func(deployments.Deployment) {},
		"building": func(deployments.Deployment) { r.give() },
		"releasing": func(d deployments.Deployment) {
			r.give()
			must(t, a.finish(r.attempt(d), func(b *agentv1.BuildResult) { b.Digest = digest("b") }))
			r.plan()
		},
	} {
		d := r.create(r.pages(state))
		to(d)
		want(t, "before", r.state(d), state)
		if _, err := r.deployments.Cancel(ctx, r.theirs, d.ID); fault.KindOf(err) != fault.NotFound {
			t.Fatalf("another tenant: %v", err)
		}
		_, err := r.deployments.Cancel(ctx, r.mine, d.ID)
		must(t, err)
		want(t, state, r.state(d), "cancelled")
		if _, err := r.deployments.Cancel(ctx, r.mine, d.ID); fault.KindOf(err) != fault.Conflict {
			t.Fatalf("twice: %v", err)
		}
		want(t, "builds left", value[int](r, "select count(*)::int from deployments.builds where state in ('pending', 'progress')"), 0)
		a.settle()
		if got := r.running(); len(got) != 1 || got[0] != live[0] {
			t.Fatalf("%s: %v runs, was %v", state, got, live)
		}
	}
}

// A deployment that takes the place of one that was half way must not leave that one's release behind as the target:
// when it fails itself, the live release is still complete.
func TestSupersededReleaseDoesNotBecomeTheTarget(t *testing.T) {
	r := newRoom(t)
	a := r.join("one")
	a.live("a")
	old := r.running()[0]
	half := r.create(r.pages("2"))
	r.give()
	must(t, a.finish(r.attempt(half), func(b *agentv1.BuildResult) { b.Digest = digest("b") }))
	r.plan()
	next := r.create(r.pages("3"))
	want(t, "superseded", r.state(half), "superseded")
	a.settle() // long enough for the half-way release to become ready
	if got := r.running(); len(got) != 1 || got[0] != old {
		t.Fatalf("%v runs while nothing new is live, was %v", got, old)
	}
	r.give()
	must(t, a.finish(r.attempt(next), func(b *agentv1.BuildResult) { b.ErrorCode, b.Error = "command", "It does not compile." }))
	want(t, "next", r.state(next), "failed")
	a.settle()
	if got := r.running(); len(got) != 1 || got[0] != old {
		t.Fatalf("%v runs, was %v", got, old)
	}
}

func TestFailedGateAndRetry(t *testing.T) {
	r := newRoom(t)
	a := r.join("one")
	a.live("a")
	old := r.running()[0]
	d := r.create(r.pages("2"))
	r.give()
	must(t, a.finish(r.attempt(d), func(b *agentv1.BuildResult) { b.Digest = digest("b") }))
	r.plan()
	fresh := r.running()[1]
	a.observe("instance/"+fresh.String(), &agentv1.InstanceStatus{InstanceId: fresh.String(), State: agentv1.InstanceState_INSTANCE_STATE_FAILED, Reason: "exited", Message: "It ended with 1.", LastLines: []string{"boom"}})
	r.plan()
	want(t, "state", r.state(d), "failed")
	want(t, "reason", value[string](r, "select error->>'code' from deployments.deployments where id = $1", d.ID), "instance_exited")
	want(t, "last line", value[string](r, "select error->'last_lines'->>0 from deployments.deployments where id = $1", d.ID), "boom")
	a.settle()
	want(t, "old", r.running()[0], old)
	if _, err := r.deployments.Retry(ctx, r.theirs, d.ID); fault.KindOf(err) != fault.NotFound {
		t.Fatal(err)
	}
	again, err := r.deployments.Retry(ctx, r.mine, d.ID)
	must(t, err)
	want(t, "no new build", r.state(again), "releasing")
	if _, err := r.deployments.Retry(ctx, r.mine, again.ID); fault.KindOf(err) != fault.Conflict {
		t.Fatal(err)
	}
	a.settle()
	want(t, "again", r.state(again), "live")
}

func TestRollback(t *testing.T) {
	r := newRoom(t)
	a := r.join("one")
	first := a.live("a")
	release := value[uuid.UUID](r, "select release_id from deployments.deployments where id = $1", first.ID)
	a.live("b")
	d := r.create(deployments.Request{ReleaseID: &release})
	a.settle()
	want(t, "state", r.state(d), "live")
	want(t, "image", value[string](r, "select spec->'image'->>'digest' from deployments.instances where id = $1", r.running()[0]), digest("a"))
	unknown := uuid.New()
	if _, err := r.deployments.Create(ctx, r.mine, r.p, r.e, deployments.Request{ReleaseID: &unknown}); fault.KindOf(err) != fault.NotFound {
		t.Fatal(err)
	}
}

func TestScaleIsSetBackWhenItFails(t *testing.T) {
	r := newRoom(t)
	a := r.join("one")
	a.live("a")
	three := 3
	d, err := r.deployments.Configure(ctx, r.mine, r.p, r.e, "web", deployments.Settings{Set: projects.Override{Replicas: &three}})
	must(t, err)
	r.plan()
	want(t, "instances", len(r.running()), 3)
	id := r.running()[2]
	a.observe("instance/"+id.String(), &agentv1.InstanceStatus{InstanceId: id.String(), State: agentv1.InstanceState_INSTANCE_STATE_FAILED})
	r.plan()
	want(t, "state", r.state(d), "failed")
	a.settle()
	want(t, "instances after", len(r.running()), 1)
	want(t, "setting", value[int](r, "select count(replicas)::int from projects.services"), 0)
}

func TestSettingsMakeAReleaseWithoutABuild(t *testing.T) {
	r := newRoom(t)
	a := r.join("one")
	a.live("a")
	memory := int64(64 << 20)
	d, err := r.deployments.Configure(ctx, r.mine, r.p, r.e, "web", deployments.Settings{Set: projects.Override{Memory: &memory}})
	must(t, err)
	a.settle()
	want(t, "state", r.state(d), "live")
	want(t, "memory", value[int64](r, "select (spec->'resources'->>'memory')::bigint from deployments.instances where id = $1", r.running()[0]), memory)
	want(t, "builds", value[int](r, "select count(*)::int from deployments.builds"), 1)
	if _, err := r.deployments.Configure(ctx, r.mine, r.p, r.e, "nothing", deployments.Settings{Set: projects.Override{Memory: &memory}}); fault.KindOf(err) != fault.NotFound {
		t.Fatal(err)
	}
}

func TestStopStartAndStartOfTheNewestUpload(t *testing.T) {
	r := newRoom(t)
	a := r.join("one")
	if _, err := r.deployments.Start(ctx, r.mine, r.p, r.e); fault.From(err).Code != "nothing_to_start" {
		t.Fatal(err)
	}
	r.upload("index.html", "only uploaded")
	d, err := r.deployments.Start(ctx, r.mine, r.p, r.e)
	must(t, err)
	r.give()
	must(t, a.finish(r.attempt(d)))
	a.settle()
	want(t, "started", r.state(d), "live")
	stop, err := r.deployments.Stop(ctx, r.mine, r.p, r.e)
	must(t, err)
	a.settle()
	want(t, "stopped", r.state(stop), "live")
	want(t, "instances", len(r.running()), 0)
	r.reload()
	start, err := r.deployments.Start(ctx, r.mine, r.p, r.e)
	must(t, err)
	a.settle()
	want(t, "started again", r.state(start), "live")
	want(t, "instances", len(r.running()), 1)
	r.reload()
	restart, err := r.deployments.Restart(ctx, r.mine, r.p, r.e, "")
	must(t, err)
	before := r.running()[0]
	a.settle()
	want(t, "restarted", r.state(restart), "live")
	if now := r.running(); len(now) != 1 || now[0] == before {
		t.Fatalf("restart left %v, was %s", now, before)
	}
}

// What is stopped stays so while something new is built, and comes back to that when the build fails.
func TestDeployToAStoppedEnvironment(t *testing.T) {
	r := newRoom(t)
	a := r.join("one")
	a.live("a")
	_, err := r.deployments.Stop(ctx, r.mine, r.p, r.e)
	must(t, err)
	a.settle()
	for _, good := range []bool{false, true} {
		d := r.create(r.pages("new"))
		r.give()
		a.settle()
		want(t, "instances while it is built", len(r.running()), 0)
		must(t, a.finish(r.attempt(d), func(b *agentv1.BuildResult) {
			b.Digest = digest("c")
			if !good {
				b.ErrorCode = "command"
			}
		}))
		a.settle()
		r.reload()
		want(t, "wanted", r.e.Wanted, map[bool]projects.Wanted{true: projects.Running, false: projects.Stopped}[good])
		want(t, "instances", len(r.running()), map[bool]int{true: 1, false: 0}[good])
	}
}

// A retry of what was to start an environment starts it, too.
func TestRetryOfADeploymentToAStoppedEnvironment(t *testing.T) {
	r := newRoom(t)
	a := r.join("one")
	a.live("a")
	_, err := r.deployments.Stop(ctx, r.mine, r.p, r.e)
	must(t, err)
	a.settle()
	d := r.create(r.pages("new"))
	r.give()
	must(t, a.finish(r.attempt(d), func(b *agentv1.BuildResult) { b.Digest = digest("b") }))
	r.plan()
	a.everything(agentv1.InstanceState_INSTANCE_STATE_FAILED)
	want(t, "state", r.state(d), "failed")
	a.settle()
	want(t, "instances", len(r.running()), 0)
	again, err := r.deployments.Retry(ctx, r.mine, d.ID)
	must(t, err)
	a.settle()
	want(t, "again", r.state(again), "live")
	want(t, "instances", len(r.running()), 1)
}

const twoPublic = `
services:
  web: {image: nginx, ports: ["80"], x-pandu: {public: true}}
  api: {image: nginx, ports: ["80"], x-pandu: {public: true}}
`

// Hostnames of further public services follow what is live, not what is being tried.
func TestHostnamesFollowTheLiveRelease(t *testing.T) {
	r := newRoom(t)
	a := r.join("one")
	hosts := func() int {
		return value[int](r, "select count(*)::int from routing.hostnames where hostname = 'api-hello.localhost'")
	}
	u := r.upload("compose.yaml", twoPublic)
	first := r.create(r.pagesOf(u.ID))
	r.give()
	must(t, a.finish(r.attempt(first)))
	a.settle()
	want(t, "first", r.state(first), "live")
	want(t, "hostname", hosts(), 1)

	bad := r.create(r.pages("2"))
	r.give()
	must(t, a.finish(r.attempt(bad), func(b *agentv1.BuildResult) { b.Digest = digest("b") }))
	want(t, "while another is tried", hosts(), 1)
	_, err := r.deployments.Cancel(ctx, r.mine, bad.ID)
	must(t, err)
	a.settle()
	want(t, "after it was cancelled", hosts(), 1)

	a.live("c")
	want(t, "after a release without it", hosts(), 0)
	release := value[uuid.UUID](r, "select release_id from deployments.deployments where id = $1", first.ID)
	r.create(deployments.Request{ReleaseID: &release})
	a.settle()
	want(t, "after going back", hosts(), 1)
	no := false
	_, err = r.deployments.Configure(ctx, r.mine, r.p, r.e, "api", deployments.Settings{Set: projects.Override{Public: &no}})
	must(t, err)
	a.settle()
	want(t, "made internal", hosts(), 0)
}

const withDatabase = `
services:
  web: {image: nginx, ports: ["80"], x-pandu: {public: true}}
  db: {image: postgres, volumes: ["data:/data"]}
volumes: {data: {}}
`

func TestDeleteAsksForVolumesAndLeavesNothing(t *testing.T) {
	for _, volumes := range []string{"keep", "delete"} {
		r := newRoom(t)
		a := r.join("one")
		u := r.upload("compose.yaml", withDatabase)
		d := r.create(deployments.Request{UploadID: &u.ID})
		r.give()
		for range 2 {
			must(t, a.finish(r.attempt(d)))
		}
		a.settle()
		want(t, "state", r.state(d), "live")
		if err := r.deployments.Delete(ctx, r.mine, r.p, ""); fault.From(err).Code != "volumes_ask" {
			t.Fatal(err)
		}
		must(t, r.deployments.Delete(ctx, r.mine, r.p, volumes))
		a.settle()
		want(t, "environments", value[int](r, "select count(*)::int from projects.environments where deleted_at is null"), 0)
		want(t, "instances", value[int](r, "select count(*)::int from deployments.instances where gone_at is null"), 0)
		want(t, "hostnames", value[int](r, "select count(*)::int from routing.hostnames"), 0)
		want(t, "orders", value[int](r, "select count(*)::int from river.river_job where kind = 'remove_project'"), 1)
		kept := map[string]int{"keep": 1, "delete": 0}[volumes]
		want(t, "volumes", value[int](r, "select count(*)::int from deployments.volumes where deleted_at is null"), kept)
		want(t, "entries", value[int](r, "select count(*)::int from servers.entries"), kept)
		for range 2 {
			must(t, r.deployments.RemoveFiles(ctx, r.mine.OrganizationID, r.p.ID))
		}
		want(t, "project", value[int](r, "select count(*)::int from projects.projects where deleted_at is null"), 0)
		want(t, "limit", value[int64](r, "select used from identity.limits where resource = 'projects' and organization_id = $1", r.mine.OrganizationID), 0)
		_, _, err := r.projects.Create(ctx, r.mine, "Hello", "hello")
		must(t, err)
	}
}

// A planner that dies before its commit leaves everything to be done again.
func TestPlanKilledBeforeItsCommit(t *testing.T) {
	r := newRoom(t)
	a := r.join("one")
	d := r.create(r.pages("1"))
	r.give()
	must(t, a.finish(r.attempt(d)))
	killed := errors.New("killed")
	err := r.db.InTx(ctx, func(tx pgx.Tx) error {
		if _, _, err := r.servers.Claim(ctx, tx, r.e.ID); err != nil {
			return err
		}
		w, err := r.deployments.LoadWorld(ctx, tx, r.e.ID)
		must(t, err)
		must(t, r.deployments.Place(ctx, tx, w))
		return killed
	})
	if !errors.Is(err, killed) {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := r.rollouts.Run(ended, r.e.ID); err == nil {
		t.Fatal("planned with a context that is over")
	}
	want(t, "instances", len(r.running()), 0)
	a.settle()
	want(t, "state", r.state(d), "live")
	want(t, "instances", len(r.running()), 1)
}

func TestRunTwiceChangesNothing(t *testing.T) {
	r := newRoom(t)
	a := r.join("one")
	a.live("a")
	before := value[string](r, "select md5(string_agg(e::text, '|' order by key)) from servers.entries e")
	a.want()
	r.plan()
	a.want()
	r.plan()
	want(t, "entries", value[string](r, "select md5(string_agg(e::text, '|' order by key)) from servers.entries e"), before)
	must(t, r.rollouts.Sweep(ctx))
	must(t, r.rollouts.Run(ctx, uuid.New())) // an environment that is gone
}

func TestCancelWhilePlanning(t *testing.T) {
	r := newRoom(t)
	a := r.join("one")
	a.live("a")
	for range 5 {
		d := r.create(r.pages("x"))
		r.give()
		must(t, a.finish(r.attempt(d), func(b *agentv1.BuildResult) { b.Digest = digest("b") }))
		planned := make(chan error, 1)
		go func() {
			for range 4 {
				err := r.db.InTx(ctx, func(tx pgx.Tx) error { return r.servers.Want(ctx, tx, r.e.ID) })
				if err = errors.Join(err, r.rollouts.Run(ctx, r.e.ID)); err != nil {
					planned <- err
					return
				}
			}
			planned <- nil
		}()
		_, err := r.deployments.Cancel(ctx, r.mine, d.ID)
		must(t, err)
		must(t, <-planned)
		want(t, "state", r.state(d), "cancelled")
		a.settle()
		want(t, "instances", len(r.running()), 1)
	}
	want(t, "deadlocks", value[int](r, "select deadlocks::int from pg_stat_database where datname = current_database()"), 0)
}
