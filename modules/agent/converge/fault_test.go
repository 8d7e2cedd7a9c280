package converge_test

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"pandu/modules/agent/agentv1"
	"pandu/tests/engine"

	dockercontainer "github.com/moby/moby/api/types/container"
	dockernetwork "github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// Docker stops or is killed: what was true stays reported, with the error beside it, and everything converges when it is
// back, at the same addresses.
func TestEngineAway(t *testing.T) {
	if !dock.Owned() {
		t.Skip("a reused engine is not stopped")
	}
	for _, how := range []struct {
		name string
		down func()
	}{{"stopped", dock.StopDaemon}, {"killed", dock.KillDaemon}} {
		t.Run(how.name, func(t *testing.T) {
			w := newWorld(t)
			environment, image := w.environment(), w.image()
			id := w.instance(environment, "web", container(image))
			w.send()
			w.becomes(id, ready)
			before, lost := w.address(id).GetIp(), w.status(id).GetContainerId()
			how.down()
			back := false
			defer func() {
				if !back {
					_ = dock.StartDaemon(w.ctx)
				}
			}()
			w.eventually("the error is told", func() bool { return w.c.Engine().Error != "" })
			late := w.instance(environment, "late", container(image))
			w.send()
			if s := w.status(id); s.GetContainerId() != lost || s.GetState() == gone || s.GetState() == failed {
				t.Errorf("while Docker is away: %v", s)
			}
			if err := dock.StartDaemon(w.ctx); err != nil {
				t.Fatal(err)
			}
			back = true
			w.becomes(late, ready)
			w.eventually("the old one is ready", func() bool {
				_, err := w.get(id, "/")
				return err == nil && w.status(id).GetState() == ready && w.address(id).GetReady()
			})
			s := w.status(id)
			// A daemon that stops its containers looks like a hand until it is gone itself.
			counted := how.name == "killed" && s.GetHealed() != 0
			if a := w.address(id); a.GetIp() != before || s.GetContainerId() != lost || counted {
				t.Errorf("after Docker's return: %v %v, was %s %s", s, a, lost, before)
			}
			if e := w.c.Engine(); e.Error != "" || e.Version == "" || e.CPUs == 0 {
				t.Errorf("engine %+v", e)
			}
		})
	}
}

// An agent that starts without Docker reports what it remembers, and goes on when Docker comes.
func TestStartWithoutEngine(t *testing.T) {
	if !dock.Owned() {
		t.Skip("a reused engine is not stopped")
	}
	w := newWorld(t)
	id, _ := w.running()
	address := w.address(id)
	w.stop()
	dock.KillDaemon()
	back := false
	defer func() {
		if !back {
			_ = dock.StartDaemon(w.ctx)
		}
	}()
	w.start()
	w.eventually("the error is told", func() bool { return w.c.Engine().Error != "" })
	if a := w.address(id); a.GetIp() != address.GetIp() || !a.GetReady() {
		t.Errorf("address %v, was %v", a, address)
	}
	if err := dock.StartDaemon(w.ctx); err != nil {
		t.Fatal(err)
	}
	back = true
	w.eventually("ready again", func() bool {
		_, err := w.get(id, "/")
		return err == nil && w.status(id).GetState() == ready && w.c.Engine().Error == ""
	})
}

// Containers of one environment reach each other, those of another do not; each asks its own bridge for names.
func TestEnvironmentsAreApart(t *testing.T) {
	release, err := engine.HoldFirewall()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	w := newWorld(t)
	image := w.image()
	one, two := w.environment(), w.environment()
	a, b := w.instance(one, "a", container(image)), w.instance(one, "b", container(image))
	c := w.instance(two, "c", container(image))
	w.send()
	for _, id := range []string{a, b, c} {
		w.becomes(id, ready)
	}
	to := func(id string) string {
		return "/dial?address=" + url.QueryEscape(net.JoinHostPort(w.address(id).GetIp(), "8080"))
	}
	w.mustGet(a, to(b))
	if _, err := w.get(a, to(c)); err == nil {
		t.Error("another environment is reachable")
	}
	bridge := ""
	_, networks := w.c.Addresses()
	for _, n := range networks {
		if n.GetEnvironmentId() == one {
			bridge = n.GetBridgeIp()
		}
	}
	if dns := w.inspect(a).HostConfig.DNS; len(dns) != 1 || dns[0].String() != bridge {
		t.Errorf("names are asked from %v, the bridge is %s", dns, bridge)
	}
	if got := w.mustGet(a, "/file?path=/etc/resolv.conf"); !strings.Contains(got, "nameserver 127.0.0.11") {
		t.Errorf("resolv.conf %q", got)
	}
}

// Many environments fit on one server: each has its own subnet, and all of them leave again.
func TestManyEnvironments(t *testing.T) {
	count := 40
	if os.Getenv("PANDU_TEST_MANY") != "" { // takes minutes: Docker makes and removes bridges one after the other
		count = 200
	}
	w := newWorld(t)
	image := w.image()
	var keys []string
	var ids []string
	for n := range count {
		environment := w.environment()
		keys = append(keys, "environment/"+environment)
		if n%(count/5) == 0 {
			ids = append(ids, w.instance(environment, fmt.Sprint("web-", n), container(image)))
		}
	}
	begun := time.Now()
	w.send()
	for _, id := range ids {
		w.becomes(id, ready)
	}
	w.all(keys, agentv1.KeyStatus_STATE_READY)
	t.Logf("%d environments made in %s", count, time.Since(begun))
	subnets := map[string]bool{}
	for _, key := range keys {
		subnets[w.key(key).GetSubnet()] = true
	}
	if len(subnets) != count {
		t.Errorf("%d subnets for %d environments", len(subnets), count)
	}
	for _, id := range ids {
		w.mustGet(id, "/")
		keys = append(keys, "instance/"+id)
	}
	w.bury(keys...)
	w.all(keys[:count], agentv1.KeyStatus_STATE_GONE)
	if left := w.ours(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func (w *world) all(keys []string, state agentv1.KeyStatus_State) {
	w.t.Helper()
	wanted := map[string]bool{}
	for _, k := range keys {
		wanted[k] = true
	}
	deadline := time.Now().Add(3 * time.Minute)
	for time.Now().Before(deadline) {
		n := 0
		_, statuses := w.c.Statuses()
		for _, s := range statuses {
			if wanted[s.GetKey()] && s.GetState() == state {
				n++
			}
		}
		if n == len(keys) {
			return
		}
		select {
		case <-w.c.Changed():
		case <-time.After(50 * time.Millisecond):
		}
	}
	_, statuses := w.c.Statuses()
	w.t.Fatalf("not all became %s: %v", state, statuses)
}

// From the desired entry to a ready instance there is little beside Docker's own work, which is measured in between.
func TestIsQuick(t *testing.T) {
	w := newWorld(t)
	_, environment := w.running()
	c := container(w.image())
	image, network := w.pulled(c.Image), w.network(environment)
	ours, bare := time.Hour, time.Hour
	for n := range 5 {
		id := w.instance(environment, fmt.Sprint("quick", n), c)
		begun := time.Now()
		w.send()
		for w.status(id).GetState() != ready {
			<-w.c.Changed()
		}
		ours = min(ours, time.Since(begun))
		begun = time.Now()
		w.bare(image, network, w.address(id).GetIp(), byte(200+n))
		bare = min(bare, time.Since(begun))
	}
	t.Logf("entry to ready %s, create, start and connect by hand %s", ours, bare)
	if ours > 5*time.Second {
		t.Errorf("entry to ready takes %s", ours)
	}
}

// bare does by hand what Docker has to do for an instance.
func (w *world) bare(image, network, neighbour string, last byte) {
	w.t.Helper()
	b := netip.MustParseAddr(neighbour).As4()
	b[3] = last
	at := &dockernetwork.EndpointSettings{IPAMConfig: &dockernetwork.EndpointIPAMConfig{IPv4Address: netip.AddrFrom4(b)}}
	c, err := dock.Client.ContainerCreate(w.ctx, client.ContainerCreateOptions{
		Config:     &dockercontainer.Config{Image: image, Labels: map[string]string{"pandu.server": w.server}},
		HostConfig: &dockercontainer.HostConfig{NetworkMode: dockercontainer.NetworkMode(network)},

		NetworkingConfig: &dockernetwork.NetworkingConfig{EndpointsConfig: map[string]*dockernetwork.EndpointSettings{network: at}},
	})
	if err == nil {
		_, err = dock.Client.ContainerStart(w.ctx, c.ID, client.ContainerStartOptions{})
	}
	if err != nil {
		w.t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if s, err := net.Dial("tcp", net.JoinHostPort(netip.AddrFrom4(b).String(), "8080")); err == nil { //nolint:noctx // loopback
			_ = s.Close()
			return
		}
	}
	w.t.Fatal("the bare container never listened")
}
