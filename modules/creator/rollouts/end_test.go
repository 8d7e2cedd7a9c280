package rollouts_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"pandu/modules/agent/agentv1"
	"pandu/modules/manager/projects"
	"pandu/modules/spec"
)

func TestDelete(t *testing.T) {
	for _, keep := range []bool{true, false} {
		h := newHouse()
		h.deploy(service("db", "1", writes("data")), service("web", "1", public))
		h.live()
		h.w.Environment.Wanted, h.w.Environment.KeepVolumes = projects.Deleted, keep
		h.settle()
		if h.sets[len(h.sets)-1] != nil {
			t.Fatal("the routes are still there")
		}
		want(t, "instances", len(h.of("db"))+len(h.of("web")), 0)
		for _, tombstone := range h.w.Held {
			want(t, "network and volumes go last", tombstone, false)
		}
		h.bury().settle()
		want(t, "removed before the agent said so", h.removed, false)
		dropped := strings.Join(sortedKeys(h.w.Held), " ")
		want(t, "volume given up", strings.Contains(dropped, "volume/") && h.w.Held[sortedKeys(h.w.Held)[1]], !keep)
		h.bury().settle()
		want(t, "removed before the gateway has dropped the routes", h.removed, false)
		h.ack().settle()
		want(t, "removed", h.removed, true)
		want(t, "held after", len(h.w.Held), map[bool]int{true: 1, false: 0}[keep])
	}
}

func TestDeleteOfWhatNeverRan(t *testing.T) {
	h := newHouse()
	h.w.Server = uuid.Nil
	h.w.Environment.Wanted = projects.Deleted
	h.settle()
	want(t, "removed", h.removed, true)
}

func TestNothingIsDecidedAboutAnUnknownServer(t *testing.T) {
	for name, change := range map[string]func(*house){
		"deployment": func(h *house) { h.deploy(service("web", "2", public)) },
		"stop":       func(h *house) { h.w.Environment.Wanted = projects.Stopped },
		"delete":     func(h *house) { h.w.Environment.Wanted = projects.Deleted },
		"scale":      func(h *house) { h.w.Replicas["web"] = 4 },
	} {
		h := newHouse()
		h.deploy(service("web", "1", public, times(2)))
		h.live()
		before := h.of("web")
		h.w.ServerState.Synced = false
		change(h)
		h.settle().ack().settle()
		if !slices.Equal(h.of("web"), before) || len(h.w.Instances) != 2 || h.removed {
			t.Errorf("%s: something was decided", name)
		}
	}
}

func TestDeadlineSaysWhatWasWaitedFor(t *testing.T) {
	for name, at := range map[string]func(*house) string{
		"server_silent":  func(h *house) string { h.w.ServerState.Synced = false; return "server_silent" },
		"not_ready":      func(h *house) string { h.settle().set("web", starting); return "not_ready" },
		"gateway_silent": func(h *house) string { h.settle().set("web", ready).settle(); return "gateway_silent" },
	} {
		h := newHouse()
		h.deploy(service("web", "1", public))
		code := at(h)
		h.settle()
		want(t, name+" in time", h.w.Deployment != nil, true)
		h.tick(time.Hour)
		h.settle()
		want(t, name, h.last(), "failed")
		want(t, name, h.why.Code, code)
		if h.why.Message == "" {
			t.Errorf("%s: no sentence", name)
		}
	}
}

func TestRoutesOfHostnamesPortsAndServices(t *testing.T) {
	h := newHouse()
	h.w.OwnPort = 30001
	h.w.Domains = append(h.w.Domains, h.w.Domains[0])
	h.w.Domains[1].Hostname, h.w.Domains[1].Service = "api-hello.localhost", "api"
	h.deploy(service("web", "1", public), service("api", "1", public))
	h.live()
	set := h.sets[len(h.sets)-1]
	want(t, "routes", len(set.GetRoutes()), 3)
	for _, r := range set.GetRoutes() {
		service := map[string]string{"hello.localhost": "web", "api-hello.localhost": "api", "": "web"}[r.GetHost()]
		want(t, r.GetHost(), r.GetService(), service)
		want(t, "instances", len(r.GetInstanceIds()), 1)
		want(t, "port", r.GetPort(), 80)
		if r.GetHost() == "" {
			want(t, "listen", r.GetListenPort(), 30001)
		}
	}
	want(t, "names", len(set.GetNames()), 2)
}

// A service that is new in a release is found by its name as soon as it is ready: others of the release wait for it.
func TestNamesOfNewServicesResolveBeforeTheSwitch(t *testing.T) {
	h := newHouse()
	h.deploy(service("web", "1", public))
	h.live()
	h.deploy(service("cache", "1"), service("web", "2", public, after("cache", spec.Healthy)))
	h.settle().set("cache", starting).settle()
	want(t, "unready", len(h.routed("cache")), 0)
	h.set("cache", ready).settle()
	want(t, "ready", len(h.routed("cache")), 1)
	want(t, "web is the old one", h.find(uuid.MustParse(h.routed("web")[0])).Spec.Image.Digest, "1")
}

// What a deployment keeps must be well, too: an instance that loops since before would hide for ever why nothing goes on.
func TestAKeptInstanceThatStaysSickFailsTheDeployment(t *testing.T) {
	h := newHouse()
	h.deploy(service("web", "1", public), service("worker", "1"))
	h.live()
	h.deploy(service("web", "2", public), service("worker", "1"))
	h.settle().set("web", ready).set("worker", restarting).settle()
	want(t, "under way while it may come back", h.w.Deployment != nil, true)
	h.tick(2 * time.Minute)
	h.settle()
	want(t, "result", h.last(), "failed")
	want(t, "whose fault", h.why.Service, "worker")
}

func TestNoNetworkFailsTheDeployment(t *testing.T) {
	h := newHouse()
	h.deploy(service("web", "1", public))
	h.settle()
	h.w.Keys["environment/"+h.w.Environment.ID.String()] = agentv1.KeyStatus_STATE_FAILED
	h.settle()
	want(t, "result", h.last(), "failed")
	want(t, "why", h.why.Code, "network_failed")
}
