package rollouts_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"pandu/modules/agent/agentv1"
	"pandu/modules/manager/deployments"
	"pandu/modules/manager/projects"
	"pandu/modules/spec"
)

func want[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func TestFirstDeploymentGoesLiveWhenItsRoutesAreServed(t *testing.T) {
	h := newHouse()
	h.deploy(service("web", "1", public, times(2)))
	h.settle()
	want(t, "instances", len(h.of("web")), 2)
	want(t, "route before anything passed", h.front().GetState(), agentv1.Route_STATE_STARTING)
	h.ack()
	h.report(h.of("web")[0], ready)
	h.settle()
	want(t, "half ready is not served", h.front().GetState(), agentv1.Route_STATE_STARTING)
	h.report(h.of("web")[1], ready)
	h.settle()
	want(t, "route", h.front().GetState(), agentv1.Route_STATE_SERVING)
	want(t, "served instances", len(h.front().GetInstanceIds()), 2)
	want(t, "before the gateway's word", h.last(), "")
	h.ack().settle()
	want(t, "result", h.last(), "live")
}

func TestUpdateOfOneServiceKeepsTheOthersInstances(t *testing.T) {
	h := newHouse()
	h.deploy(service("web", "1", public), service("worker", "1"), service("db", "1", writes("data")))
	h.live()
	worker, db, old := h.of("worker")[0], h.of("db")[0], h.of("web")[0]
	h.deploy(service("web", "2", public), service("worker", "1"), service("db", "1", writes("data")))
	h.settle()
	want(t, "generations of web", len(h.of("web")), 2)
	h.live()
	want(t, "result", h.last(), "live")
	want(t, "worker", h.of("worker")[0], worker)
	want(t, "db", h.of("db")[0], db)
	if len(h.of("web")) != 1 || h.of("web")[0] == old {
		t.Fatalf("web: %v, was %v", h.of("web"), old)
	}
}

func TestOldInstancesEndOnlyWhenTheGatewayServesTheNewOnes(t *testing.T) {
	h := newHouse()
	h.deploy(service("web", "1", public))
	h.live()
	old := h.of("web")[0]
	h.deploy(service("web", "2", public))
	h.settle().set("web", ready).settle()
	if slices.Contains(h.front().GetInstanceIds(), old.String()) {
		t.Fatal("the new revision still names the old instance")
	}
	want(t, "old, not acknowledged", h.find(old).Desired, "running")
	want(t, "result, not acknowledged", h.w.Deployment != nil, true)
	h.ack().settle()
	want(t, "old", h.find(old).Desired, "gone")
	want(t, "cause", h.find(old).Cause, "deployment")
	want(t, "result", h.last(), "live")
}

func TestDependenciesWaitForTheirConditions(t *testing.T) {
	for condition, states := range map[spec.Condition][2]agentv1.InstanceState{
		spec.Started:   {pending, starting},
		spec.Healthy:   {starting, ready},
		spec.Completed: {starting, completed},
	} {
		h := newHouse()
		first := service("first", "1")
		if condition == spec.Completed {
			first = service("first", "1", task)
		}
		h.deploy(first, service("web", "1", public, after("first", condition)))
		h.settle()
		h.set("first", states[0]).settle()
		want(t, string(condition)+" too early", len(h.of("web")), 0)
		h.set("first", states[1]).settle()
		want(t, string(condition)+" reached", len(h.of("web")), 1)
	}
}

func TestTaskRunsOncePerRelease(t *testing.T) {
	h := newHouse()
	services := []spec.Service{service("migrate", "1", task), service("web", "1", public, after("migrate", spec.Completed))}
	h.deploy(services...)
	h.live()
	want(t, "first", h.last(), "live")
	first := h.of("migrate")
	h.settle().live()
	if len(first) != 1 || !slices.Equal(h.of("migrate"), first) {
		t.Fatalf("the task ran again: %v, then %v", first, h.of("migrate"))
	}
	h.deploy(services...)
	h.settle()
	want(t, "web has to wait for nothing: it is unchanged", len(h.of("web")), 1)
	h.live()
	want(t, "second", h.last(), "live")
	if again := h.of("migrate"); len(again) != 1 || again[0] == first[0] {
		t.Fatalf("a new release runs its task again: %v", again)
	}
}

func TestFailedTaskFailsTheDeployment(t *testing.T) {
	h := newHouse()
	h.deploy(service("migrate", "1", task), service("web", "1", public, after("migrate", spec.Completed)))
	h.settle().set("migrate", failed).settle()
	want(t, "result", h.last(), "failed")
	want(t, "service", h.why.Service, "migrate")
	h.bury().settle()
	want(t, "left over", len(h.w.Instances), 0)
}

func TestFailedGateLeavesTheOldReleaseAlone(t *testing.T) {
	for _, state := range []agentv1.InstanceState{failed, restarting} {
		h := newHouse()
		r := h.deploy(service("web", "1", public, times(2)))
		h.live()
		old, routes := h.of("web"), h.sets[len(h.sets)-1]
		h.deploy(service("web", "2", public, times(2)))
		h.settle()
		fresh := h.of("web")[2]
		h.report(fresh, state)
		h.settle()
		want(t, "result", h.last(), "failed")
		want(t, "reason's service", h.why.Service, "web")
		if !slices.Equal(h.of("web"), old) || h.sets[len(h.sets)-1] != routes || h.w.Live != r {
			t.Fatalf("%s: the old release was touched: %v, was %v", state, h.of("web"), old)
		}
		h.bury().settle()
		want(t, "left", len(h.w.Instances), 2)
	}
}

func TestRetryDoesNotFailOfTheFailureBefore(t *testing.T) {
	h := newHouse()
	h.deploy(service("web", "1", public))
	h.live()
	bad := h.deploy(service("web", "2", public))
	h.settle()
	h.report(h.of("web")[1], failed)
	h.plan() // fails the deployment; the next plan has not run yet
	want(t, "first try", h.last(), "failed")
	h.begin(deployments.KindDeploy, bad, deployments.Undo{})
	h.settle()
	if h.w.Deployment == nil {
		t.Fatalf("the second try failed at once: %s", h.why.Message)
	}
	h.live()
	want(t, "second try", h.last(), "live")
	want(t, "instances", len(h.w.Instances), 1)
}

func TestWriterStopsBeforeItsSuccessorStarts(t *testing.T) {
	h := newHouse()
	h.deploy(service("db", "1", writes("data")), service("web", "1", public))
	h.live()
	old := h.of("db")[0]
	h.deploy(service("db", "2", writes("data")), service("web", "1", public))
	h.settle()
	want(t, "old", h.find(old).Desired, "gone")
	want(t, "new before the old is gone", len(h.of("db")), 0)
	h.report(old, stopping)
	h.settle()
	want(t, "new while the old stops", len(h.of("db")), 0)
	h.report(old, gone)
	h.settle()
	want(t, "new", len(h.of("db")), 1)
	h.report(h.of("db")[0], failed)
	h.settle()
	want(t, "result", h.last(), "failed")
	want(t, "back, before the new is gone", len(h.of("db")), 0)
	h.bury().settle()
	want(t, "back", len(h.of("db")), 1)
	want(t, "what is back", h.find(h.of("db")[0]).Spec.Image.Digest, "1")
	h.live()
	want(t, "name of the writer", len(h.routed("db")), 1)
}

// Compose lets two services of one application have one volume; each of them may go on while the other does.
func TestServicesOfOneReleaseShareAVolume(t *testing.T) {
	h := newHouse()
	h.deploy(service("web", "1", public, writes("files")), service("worker", "1", writes("files")), service("show", "1", reads("files")))
	h.live()
	want(t, "result", h.last(), "live")
	worker, web := h.of("worker")[0], h.of("web")[0]
	h.deploy(service("web", "2", public, writes("files")), service("worker", "1", writes("files")), service("show", "1", reads("files")))
	h.live()
	want(t, "second", h.last(), "live")
	want(t, "worker", h.of("worker")[0], worker)
	want(t, "web is another", h.of("web")[0] == web, false)
}

func TestUnchangedWriterIsNotTouched(t *testing.T) {
	h := newHouse()
	for n := range 10 {
		h.deploy(service("db", "1", writes("data")), service("web", string(rune('a'+n)), public))
		h.live()
		want(t, "result", h.last(), "live")
		want(t, "instances", len(h.w.Instances), 2)
	}
	if created := h.find(h.of("db")[0]).CreatedAt; created.After(h.w.Now.Add(-5 * time.Second)) {
		t.Fatalf("the writer was made anew at %s, now %s", created, h.w.Now)
	}
}

func TestScale(t *testing.T) {
	h := newHouse()
	h.deploy(service("web", "1", public))
	h.live()
	first := h.of("web")[0]
	scale := func(n int) {
		before := h.w.Replicas["web"]
		h.w.Replicas["web"] = n
		h.begin(deployments.KindScale, nil, deployments.Undo{Replicas: map[string]*int{"web": &before}})
		h.settle()
	}
	scale(3)
	want(t, "three", len(h.of("web")), 3)
	want(t, "not before they are ready", h.w.Deployment != nil, true)
	h.live()
	want(t, "up", h.last(), "live")
	want(t, "served", len(h.front().GetInstanceIds()), 3)
	scale(1)
	want(t, "still there until the gateway knows", len(h.of("web")), 3)
	want(t, "routes first", len(h.front().GetInstanceIds()), 1)
	h.live()
	if got := h.of("web"); len(got) != 1 || got[0] != first {
		t.Fatalf("kept %v, want %v", got, first)
	}
	scale(0)
	h.live()
	want(t, "none", len(h.w.Instances), 0)
	want(t, "down", h.last(), "live")
	scale(2)
	h.report(h.of("web")[0], ready)
	h.report(h.of("web")[1], failed)
	h.settle()
	want(t, "failed", h.last(), "failed")
	want(t, "count set back", h.w.Replicas["web"], 0)
	h.ack().settle().bury().settle()
	want(t, "none again", len(h.w.Instances), 0)
}

func TestScaleDownKeepsWhatIsWell(t *testing.T) {
	h := newHouse()
	h.deploy(service("web", "1", public, times(2)))
	h.live()
	sick, well := h.of("web")[0], h.of("web")[1]
	h.report(sick, unready)
	h.settle()
	h.w.Replicas["web"] = 1
	h.begin(deployments.KindScale, nil, deployments.Undo{})
	h.settle().ack().settle()
	if got := h.of("web"); len(got) != 1 || got[0] != well {
		t.Fatalf("kept %v, want %v, which is ready", got, well)
	}
	want(t, "cause", h.find(sick).Cause, "scale")
}

func TestStopAndStart(t *testing.T) {
	h := newHouse()
	h.deploy(service("db", "1", writes("data")), service("web", "1", public))
	h.live()
	h.begin(deployments.KindStop, nil, deployments.Undo{})
	h.w.Environment.Wanted = projects.Stopped
	h.settle()
	want(t, "route", h.front().GetState(), agentv1.Route_STATE_STOPPED)
	want(t, "until visitors are told", len(h.of("web")), 1)
	h.ack().settle()
	want(t, "web", len(h.of("web")), 0)
	want(t, "not before all are gone", h.w.Deployment != nil, true)
	h.bury().settle()
	want(t, "stopped", h.last(), "live")
	want(t, "instances", len(h.w.Instances), 0)

	h.begin(deployments.KindStart, h.w.Live, deployments.Undo{Wanted: projects.Stopped})
	h.w.Environment.Wanted = projects.Running
	h.settle().set("db", ready).set("web", failed).settle()
	want(t, "failed start", h.last(), "failed")
	want(t, "stopped as before", h.w.Environment.Wanted, projects.Stopped)
	h.ack().settle().bury().settle()
	want(t, "instances of the failed start", len(h.w.Instances), 0)

	h.begin(deployments.KindStart, h.w.Live, deployments.Undo{Wanted: projects.Stopped})
	h.w.Environment.Wanted = projects.Running
	h.live()
	want(t, "started", h.last(), "live")
	want(t, "served", len(h.front().GetInstanceIds()), 1)
}

func TestStopOfWhatNeverRan(t *testing.T) {
	h := newHouse()
	h.w.Server = uuid.Nil
	h.begin(deployments.KindStop, nil, deployments.Undo{})
	h.w.Environment.Wanted = projects.Stopped
	h.settle()
	want(t, "result", h.last(), "live")
}

func TestReleaseMadeWhileStoppedIsWhatAStartStarts(t *testing.T) {
	h := newHouse()
	h.deploy(service("web", "1", public))
	h.live()
	h.begin(deployments.KindStop, nil, deployments.Undo{})
	h.w.Environment.Wanted = projects.Stopped
	h.live()
	h.begin(deployments.KindVariables, release(service("web", "2", public)), deployments.Undo{})
	h.settle()
	want(t, "result", h.last(), "live")
	want(t, "nothing runs", len(h.w.Instances), 0)
	h.begin(deployments.KindStart, h.w.Live, deployments.Undo{Wanted: projects.Stopped})
	h.w.Environment.Wanted = projects.Running
	h.live()
	want(t, "what runs", h.find(h.of("web")[0]).Spec.Image.Digest, "2")
}

func TestCancelAtEachStep(t *testing.T) {
	for steps := range 4 {
		h := newHouse()
		h.deploy(service("web", "1", public))
		h.live()
		old := h.of("web")[0]
		h.deploy(service("web", "2", public))
		if steps > 0 {
			h.settle()
		}
		if steps > 1 {
			h.set("web", starting).report(old, ready)
			h.settle()
		}
		if steps > 2 {
			h.set("web", ready).settle() // routes are switched, the gateway has not said so
		}
		h.retreat("cancelled")
		h.settle()
		want(t, "old still wanted", h.find(old).Desired, "running")
		want(t, "old in the routes", slices.Contains(h.front().GetInstanceIds(), old.String()), true)
		h.ack().settle().bury().settle()
		want(t, "left", len(h.w.Instances), 1)
	}
}

func TestManySupersededReleasesLeaveTwoGenerations(t *testing.T) {
	h := newHouse()
	h.deploy(service("web", "1", public))
	h.live()
	for n := range 5 {
		h.deploy(service("web", string(rune('a'+n)), public))
		h.settle()
		h.ack().settle().bury().settle()
		if got := len(h.of("web")); got > 2 {
			t.Fatalf("%d generations run at once", got)
		}
	}
	h.live()
	want(t, "instances", len(h.w.Instances), 1)
}

// The old release is what a failure goes back to, so nothing of it may end before the new one is live.
func TestOldReleaseStaysUntilTheNewOneIsLive(t *testing.T) {
	h := newHouse()
	h.deploy(service("web", "1", public))
	h.live()
	old := h.of("web")[0]
	h.deploy(service("web", "2", public))
	h.settle()
	fresh := h.of("web")[1]
	h.report(fresh, ready)
	h.settle()
	h.report(fresh, unready)
	h.ack().settle()
	want(t, "old", h.find(old).Desired, "running")
	h.retreat("cancelled")
	h.settle()
	want(t, "back in the routes", slices.Contains(h.front().GetInstanceIds(), old.String()), true)
}
