package deployments_test

import (
	"testing"

	"connectrpc.com/connect"
	"github.com/google/uuid"

	"pandu/modules/agent/agentv1"
	"pandu/modules/kit/fault"
	"pandu/modules/manager/projects"
	"pandu/modules/spec"
)

func TestOnlyTheCurrentAttemptCounts(t *testing.T) {
	r := newRoom(t)
	a, b := r.join("one"), r.join("two")
	d := r.create(r.pages("1"))
	r.give()
	first := r.attempt(d)
	holder, other := a, b
	if value[uuid.UUID](r, "select server_id from deployments.builds") == b.id {
		holder, other = b, a
	}
	if err := other.finish(first); connect.CodeOf(err) != connect.CodeFailedPrecondition && connect.CodeOf(err) != connect.CodeAborted && connect.CodeOf(err) != connect.CodeAlreadyExists {
		t.Fatalf("another server's result: %v", err)
	}
	want(t, "state", r.state(d), "building")
	r.exec("update deployments.builds set lease_until = now() - interval '1 second'")
	r.give()
	second := r.attempt(d)
	if second == first {
		t.Fatal("a lost lease made no new attempt")
	}
	if err := holder.finish(first); err == nil {
		t.Fatal("the result of a stale attempt counted")
	}
	progress, err := holder.builds().Progress(ctx, connect.NewRequest(&agentv1.BuildProgress{AttemptId: first}))
	must(t, err)
	want(t, "the stale attempt is told", progress.Msg.GetCancelled(), true)
	want(t, "state", r.state(d), "building")
}

func TestLostLeasesEndAfterFive(t *testing.T) {
	r := newRoom(t)
	r.join("one")
	d := r.create(r.pages("1"))
	for n := range 5 {
		r.give()
		want(t, "attempt", value[int](r, "select attempt from deployments.builds"), n+1)
		r.exec("update deployments.builds set lease_until = now() - interval '1 second'")
	}
	r.give()
	want(t, "state", r.state(d), "failed")
	want(t, "code", value[string](r, "select error->>'code' from deployments.deployments"), "build_lost")
}

func TestRetryableResultsWaitLongerEachTime(t *testing.T) {
	r := newRoom(t)
	a := r.join("one")
	d := r.create(r.pages("1"))
	for n := range 5 {
		r.give()
		must(t, a.finish(r.attempt(d), func(b *agentv1.BuildResult) {
			b.ErrorCode, b.Error, b.Retryable = "push", "The registry does not answer.", true
		}))
		if n == 4 {
			break
		}
		want(t, "state", r.state(d), "building")
		wait := value[float64](r, "select extract(epoch from try_at - now())::float8 from deployments.builds")
		if least := float64(int(1)<<n) * 0.75; wait < least || wait > least*2 {
			t.Fatalf("attempt %d waits %.2f s", n+1, wait)
		}
	}
	want(t, "state", r.state(d), "failed")
	want(t, "code", value[string](r, "select error->>'code' from deployments.deployments"), "build_push")
}

// The sweep does not give a postponed build out before its time, and orders others once.
func TestSweepOrdersWhatIsDue(t *testing.T) {
	r := newRoom(t)
	a := r.join("one")
	d := r.create(r.pages("1"))
	r.give()
	must(t, a.finish(r.attempt(d), func(b *agentv1.BuildResult) { b.ErrorCode, b.Retryable = "engine", true }))
	r.exec("delete from river.river_job")
	n, err := r.deployments.DueBuilds(ctx)
	must(t, err)
	want(t, "before its time", n, 0)
	r.exec("update deployments.builds set try_at = now() - interval '1 second'")
	for _, due := range []int{1, 0} {
		n, err := r.deployments.DueBuilds(ctx)
		must(t, err)
		want(t, "due", n, due)
	}
}

func TestBuildThatNobodyCanMake(t *testing.T) {
	r := newRoom(t)
	d := r.create(r.pages("1"))
	r.give()
	want(t, "state", r.state(d), "queued")
	r.exec("update deployments.builds set created_at = now() - interval '2 minutes'")
	r.give()
	want(t, "state", r.state(d), "failed")
	want(t, "code", value[string](r, "select error->>'code' from deployments.deployments"), "no_builder")
}

// A builder that went away in the middle is waited for as long as one that never was there.
func TestBuildWaitsForABuilderThatWentAway(t *testing.T) {
	r := newRoom(t)
	r.join("one")
	d := r.create(r.pages("1"))
	r.give()
	r.exec("update deployments.builds set created_at = now() - interval '5 minutes', lease_until = now() - interval '1 second'")
	r.exec("update servers.sessions set synced = false, silent_since = now()")
	r.give()
	want(t, "state", r.state(d), "building")
	r.exec("update servers.sessions set synced = true, silent_since = null")
	r.give()
	want(t, "attempt", value[int](r, "select attempt from deployments.builds"), 2)
}

func TestBuildDeadline(t *testing.T) {
	r := newRoom(t)
	r.join("one")
	d := r.create(r.pages("1"))
	r.give()
	must(t, r.deployments.WantActive(ctx))
	want(t, "in time", r.state(d), "building")
	r.exec("update deployments.deployments set deadline_at = now() - interval '1 second'")
	must(t, r.deployments.WantActive(ctx))
	want(t, "late", r.state(d), "failed")
}

func TestSourceIsSentToItsHolderOnly(t *testing.T) {
	r := newRoom(t)
	a, b := r.join("one"), r.join("two")
	d := r.create(r.pages("content"))
	r.give()
	holder, other := a, b
	if value[uuid.UUID](r, "select server_id from deployments.builds") == b.id {
		holder, other = b, a
	}
	size := func(from *agent) (n int, err error) {
		stream, err := from.builds().Source(ctx, connect.NewRequest(&agentv1.BuildSourceRequest{AttemptId: r.attempt(d)}))
		if err != nil {
			return 0, err
		}
		for stream.Receive() {
			n += len(stream.Msg().GetData())
		}
		return n, stream.Err()
	}
	if n, err := size(holder); err != nil || n < 100 {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if n, err := size(other); err == nil || n > 0 {
		t.Fatalf("another server got %d bytes", n)
	}
}

func TestSecretsGoOnlyToTheHolder(t *testing.T) {
	r := newRoom(t)
	a, b := r.join("one"), r.join("two")
	_, _, err := r.deployments.ChangeVariables(ctx, r.mine, r.p, r.e, []projects.SetVariable{{Name: "SECRET", Value: "hunter2", Build: true}, {Name: "OTHER", Value: "x"}}, nil, false)
	must(t, err)
	u := r.upload("Dockerfile", "FROM scratch\n")
	d := r.create(r.pagesOf(u.ID))
	r.give()
	holder, other := a, b
	if value[uuid.UUID](r, "select server_id from deployments.builds") == b.id {
		holder, other = b, a
	}
	ofAttempt := &agentv1.VariablesRequest{BuildAttemptId: r.attempt(d)}
	got, err := holder.secrets().Variables(ctx, connect.NewRequest(ofAttempt))
	must(t, err)
	if v := got.Msg.GetVariables(); len(v) != 1 || v["SECRET"] != "hunter2" {
		t.Fatalf("a build got %v", v)
	}
	if _, err := other.secrets().Variables(ctx, connect.NewRequest(ofAttempt)); connect.CodeOf(err) != connect.CodeNotFound {
		t.Fatal(err)
	}
	must(t, holder.finish(r.attempt(d)))
	r.plan()
	server := value[uuid.UUID](r, "select server_id from deployments.instances")
	holder, other = a, b
	if server == b.id {
		holder, other = b, a
	}
	ofInstance := &agentv1.VariablesRequest{InstanceId: r.running()[0].String()}
	got, err = holder.secrets().Variables(ctx, connect.NewRequest(ofInstance))
	must(t, err)
	var c spec.Container
	must(t, r.db.Pool.QueryRow(ctx, "select spec from deployments.instances").Scan(&c))
	if n := len(got.Msg.GetVariables()); c.AllVariables && n != 2 || !c.AllVariables && n != len(c.VariableNames()) {
		t.Fatalf("an instance got %d variables", n)
	}
	if _, err := other.secrets().Variables(ctx, connect.NewRequest(ofInstance)); connect.CodeOf(err) != connect.CodeNotFound {
		t.Fatal(err)
	}
	r.exec("update deployments.instances set desired = 'gone'")
	if _, err := holder.secrets().Variables(ctx, connect.NewRequest(ofInstance)); connect.CodeOf(err) != connect.CodeNotFound {
		t.Fatal(err)
	}
}

func TestWatchHearsOfAssignmentsAndCancellations(t *testing.T) {
	r := newRoom(t)
	a := r.join("one")
	stream, err := a.builds().Watch(ctx, connect.NewRequest(&agentv1.WatchBuildsRequest{}))
	must(t, err)
	defer stream.Close()
	next := func() int {
		t.Helper()
		if !stream.Receive() {
			t.Fatal(stream.Err())
		}
		return len(stream.Msg().GetAttempts())
	}
	want(t, "at first", next(), 0)
	d := r.create(r.pages("1"))
	r.give()
	r.deployments.WakeBuilds(a.id)
	want(t, "given", next(), 1)
	_, err = r.deployments.Cancel(ctx, r.mine, d.ID)
	must(t, err)
	r.deployments.WakeBuilds(uuid.Nil)
	want(t, "cancelled", next(), 0)
}

func TestUploadThatCannotRunIsKeptWithItsProblems(t *testing.T) {
	r := newRoom(t)
	u := r.upload("compose.yaml", "services:\n  web:\n    image: nginx\n    privileged: true\n")
	_, err := r.deployments.Create(ctx, r.mine, r.p, r.e, r.pagesOf(u.ID))
	if fault.KindOf(err) != fault.Invalid {
		t.Fatal(err)
	}
	want(t, "deployments", value[int](r, "select count(*)::int from deployments.deployments"), 0)
	want(t, "problems", value[bool](r, "select jsonb_array_length(problems) > 0 from deployments.sources"), true)
	if _, err := r.deployments.Create(ctx, r.theirs, r.p, r.e, r.pagesOf(u.ID)); fault.KindOf(err) != fault.NotFound {
		t.Fatal(err)
	}
}

func TestReleasingDeadline(t *testing.T) {
	r := newRoom(t)
	a := r.join("one")
	d := r.create(r.pages("1"))
	r.give()
	must(t, a.finish(r.attempt(d)))
	r.plan()
	r.exec("update deployments.deployments set deadline_at = now() - interval '1 second'")
	must(t, r.rollouts.Sweep(ctx))
	r.plan()
	want(t, "state", r.state(d), "failed")
	want(t, "code", value[string](r, "select error->>'code' from deployments.deployments"), "not_ready")
}
