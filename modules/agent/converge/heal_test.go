package converge_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/converge"
	"pandu/modules/spec"
	"pandu/tests/engine/registry"

	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// What somebody stops, kills, removes or disconnects comes back at the same address and is counted.
func TestHeal(t *testing.T) {
	w := newWorld(t)
	id, environment := w.running()
	before := w.address(id).GetIp()
	healed := uint32(0)
	for _, hand := range []struct {
		name string
		does func(container string) error
	}{
		{"stop", func(c string) error {
			_, err := dock.Client.ContainerStop(w.ctx, c, client.ContainerStopOptions{})
			return err
		}},
		{"kill", func(c string) error {
			_, err := dock.Client.ContainerKill(w.ctx, c, client.ContainerKillOptions{Signal: "KILL"})
			return err
		}},
		{"remove", func(c string) error {
			_, err := dock.Client.ContainerRemove(w.ctx, c, client.ContainerRemoveOptions{Force: true})
			return err
		}},
	} {
		if err := hand.does(w.status(id).GetContainerId()); err != nil {
			t.Fatal(err)
		}
		healed++
		w.eventually("healed after "+hand.name, func() bool {
			s := w.status(id)
			return s.GetHealed() == healed && s.GetState() == ready
		})
		if a := w.address(id); a.GetIp() != before || !a.GetReady() {
			t.Errorf("after %s: %v, was %s", hand.name, a, before)
		}
		w.mustGet(id, "/")
	}

	network := w.network(environment)
	_, err := dock.Client.NetworkDisconnect(w.ctx, network, client.NetworkDisconnectOptions{Container: w.status(id).GetContainerId(), Force: true})
	if err != nil {
		t.Fatal(err)
	}
	w.eventually("connected again", func() bool {
		_, err := w.get(id, "/")
		return err == nil && w.address(id).GetIp() == before
	})
	w.removeNetworkByHand(id, network)
	w.eventually("network is made anew", func() bool {
		_, err := w.get(id, "/")
		return err == nil && w.network(environment) != network
	})
	if got := w.address(id).GetIp(); got != before {
		t.Errorf("address %s after the network, was %s", got, before)
	}
}

func (w *world) network(environment string) string {
	w.t.Helper()
	filters := make(client.Filters).Add("label", "pandu.environment="+environment)
	r, err := dock.Client.NetworkList(w.ctx, client.NetworkListOptions{Filters: filters})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, n := range r.Items {
		return n.ID
	}
	return ""
}

// removeNetworkByHand tries until it is quicker than the converger, which connects the container again at once.
func (w *world) removeNetworkByHand(id, network string) {
	w.t.Helper()
	w.eventually("removed by hand", func() bool {
		_, _ = dock.Client.NetworkDisconnect(w.ctx, network, client.NetworkDisconnectOptions{Container: w.status(id).GetContainerId(), Force: true})
		_, err := dock.Client.NetworkRemove(w.ctx, network, client.NetworkRemoveOptions{})
		return err == nil
	})
}

// Changed limits are told and held, not undone; set back, all is well again.
func TestDrift(t *testing.T) {
	w := newWorld(t)
	id, _ := w.running()
	container := w.status(id).GetContainerId()
	limit := func(bytes int64) {
		_, err := dock.Client.ContainerUpdate(w.ctx, container, client.ContainerUpdateOptions{Resources: &dockercontainer.Resources{Memory: bytes, MemorySwap: bytes}})
		if err != nil {
			t.Fatal(err)
		}
	}
	limit(128 << 20)
	if s := w.becomes(id, drifted); !strings.Contains(s.GetMessage(), "memory 134217728") {
		t.Errorf("%v", s)
	}
	if a := w.address(id); !a.GetReady() {
		t.Error("visitors were sent away")
	}
	if got := w.inspect(id).HostConfig.Memory; got != 128<<20 {
		t.Errorf("somebody undid it: %d", got)
	}
	limit(64 << 20)
	w.becomes(id, ready)
}

// A new agent takes running containers over without touching them, and its addresses never flap.
func TestReattach(t *testing.T) {
	w := newWorld(t)
	id, _ := w.running("VERSION=kept")
	before, address := w.inspect(id), w.address(id)
	w.stop()
	quiet := true
	w.adjust = append(w.adjust, func(d *converge.Deps) {
		d.Secrets = func(context.Context, string) (map[string]string, error) { quiet = false; return nil, nil }
	})
	w.start()
	if s := w.status(id); s.GetState() != ready {
		t.Errorf("before the first look: %v", s)
	}
	end := time.After(2 * time.Second)
	for watching := true; watching; {
		if a := w.address(id); a.GetIp() != address.GetIp() || a.GetPort() != address.GetPort() || !a.GetReady() {
			t.Fatalf("address became %v, was %v", a, address)
		}
		select {
		case <-end:
			watching = false
		case <-time.After(time.Millisecond):
		}
	}
	after := w.inspect(id)
	if before.ID != after.ID || before.State.StartedAt != after.State.StartedAt || !quiet {
		t.Errorf("container was touched: %s %s, then %s %s", before.ID, before.State.StartedAt, after.ID, after.State.StartedAt)
	}
	if s := w.status(id); s.GetState() != ready || s.GetHealed() != 0 {
		t.Errorf("%v", s)
	}

	w.stop() // the ledger is lost: everything is read back from Docker
	if err := os.RemoveAll(w.dir); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.becomes(id, ready)
	if a := w.address(id); a.GetIp() != address.GetIp() || !a.GetReady() {
		t.Errorf("address %v, was %v", a, address)
	}
	if again := w.inspect(id); again.ID != before.ID || again.State.StartedAt != before.State.StartedAt {
		t.Error("container was touched after the ledger was lost")
	}
}

// What ended while no agent looked is seen by the next one.
func TestReattachToTrouble(t *testing.T) {
	w := newWorld(t)
	environment, image := w.environment(), w.image()
	failing := container(image)
	failing.Health = &spec.Health{Kind: spec.HealthHTTP, Interval: spec.Duration(50 * time.Millisecond), Retries: 2}
	stopped, ill := w.instance(environment, "stopped", container(image)), w.instance(environment, "ill", failing)
	w.send()
	w.becomes(stopped, ready)
	w.becomes(ill, ready)
	w.stop()
	w.mustGet(ill, "/fail")
	if _, err := dock.Client.ContainerStop(w.ctx, w.status(stopped).GetContainerId(), client.ContainerStopOptions{}); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.becomes(ill, unready)
	w.eventually("the stopped one runs again", func() bool {
		_, err := w.get(stopped, "/")
		return err == nil && w.status(stopped).GetState() == ready
	})
}

// A task runs once: not again after success, whoever restarts or removes what.
func TestTasks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	environment, volume, image := w.environment(), newID(), w.image()
	w.put("volume/"+volume, &agentv1.Volume{Id: volume, EnvironmentId: environment, OrganizationId: newID(), Name: "data"})
	task := container(image)
	task.Listens, task.Restart, task.Command = false, spec.RestartNever, []string{"touch", "/data/runs"}
	task.Mounts = []spec.Mount{{Volume: "data", ID: volume, Path: "/data"}}
	reader := container(image)
	reader.Mounts = task.Mounts
	bad := task
	bad.Command = []string{"exit", "5"}
	endless := container(image, "NEVER_LISTEN=1")
	endless.Listens, endless.Restart = false, spec.RestartNever
	good, wrong := w.instance(environment, "migrate", task), w.instance(environment, "broken", bad)
	web, long := w.instance(environment, "web", reader), w.instance(environment, "long", endless)
	w.send()
	w.becomes(good, done)
	if s := w.becomes(wrong, failed); s.GetExitCode() != 5 || s.GetReason() != "exited" {
		t.Errorf("%v", s)
	}
	w.becomes(web, ready)
	w.becomes(long, ready)
	once := func(when string) {
		t.Helper()
		if got := w.mustGet(web, "/file?path=/data/runs"); got != "ran\n" {
			t.Errorf("%s: the task wrote %q", when, got)
		}
		if s := w.status(good); s.GetState() != done {
			t.Errorf("%s: %v", when, s)
		}
	}
	once("at first")
	w.restart()
	w.becomes(web, ready)
	once("after a restart of the agent")
	if _, err := dock.Client.ContainerRemove(w.ctx, w.status(good).GetContainerId(), client.ContainerRemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := dock.Client.ContainerRemove(w.ctx, w.status(long).GetContainerId(), client.ContainerRemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	if s := w.becomes(long, failed); !strings.Contains(s.GetMessage(), "removed by hand") {
		t.Errorf("%v", s)
	}
	once("after its container was removed")
	w.bury("instance/"+good, "instance/"+wrong, "instance/"+long)
	w.becomes(good, gone)
	w.becomes(wrong, gone)
	w.becomes(long, gone)
}

// A failed instance stays failed across a restart of the agent, and is not started again.
func TestFailureIsRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	environment := w.environment()
	c := container(w.image(), "NEVER_LISTEN=1")
	c.Health = &spec.Health{Kind: spec.HealthTCP, Gate: spec.Duration(300 * time.Millisecond)}
	id := w.instance(environment, "web", c)
	w.send()
	before := w.becomes(id, failed)
	w.eventually("stopped", func() bool { return w.inspect(id).State.Status == "exited" })
	started := w.inspect(id).State.StartedAt
	w.restart()
	other := w.instance(environment, "other", container(c.Image)) // its way shows that passes were made
	w.send()
	w.becomes(other, ready)
	if s := w.status(id); s.GetState() != failed || s.GetReason() != before.GetReason() || s.GetMessage() != before.GetMessage() {
		t.Errorf("%v, was %v", s, before)
	}
	if i := w.inspect(id); i.State.StartedAt != started || i.State.Running {
		t.Error("it was started again")
	}
}

// The list may be short, late or empty: only tombstones stop.
func TestShortListStopsNothing(t *testing.T) {
	w := newWorld(t)
	id, environment := w.running()
	entry := w.entries["instance/"+id]
	started := w.inspect(id).State.StartedAt
	w.c.SetDesired(nil)
	w.eventually("quarantined", func() bool { return w.status(id).GetState() == quarantine })
	if a := w.address(id); !a.GetReady() {
		t.Error("visitors were sent away")
	}
	w.mustGet(id, "/")
	w.c.SetDesired([]*agentv1.Entry{entry, w.entries["environment/"+environment]})
	w.becomes(id, ready)
	if got := w.inspect(id).State.StartedAt; got != started {
		t.Error("the container was touched")
	}
}

// The registry's port changes with every start of the agent: what Docker has under the old one is not pulled again.
func TestRegistryMoves(t *testing.T) {
	w := newWorld(t)
	environment, image := w.environment(), w.image("ENV KIND=moving")
	first := w.instance(environment, "first", container(image))
	w.send()
	w.becomes(first, ready)
	started := w.inspect(first).State.StartedAt
	w.stop()
	w.registry = registry.Start(t, dock)
	w.registry.SetDown(true)
	second := w.instance(environment, "second", container(image))
	w.start()
	w.becomes(second, ready)
	w.becomes(first, ready)
	if got := w.inspect(first).State.StartedAt; got != started {
		t.Error("the running container was touched")
	}
}
