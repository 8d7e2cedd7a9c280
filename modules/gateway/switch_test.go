package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	"pandu/modules/agent/agentv1"
	"pandu/modules/kit/fault"
)

// generation is a set of instances of one release.
type generation struct {
	name    string
	ids     []string
	servers []*httptest.Server
}

func (r *rig) generation(name string) *generation {
	g := &generation{name: name}
	for i := range 2 {
		server := newBackend(r.t, http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
			_, _ = io.Copy(io.Discard, in.Body)
			_, _ = io.WriteString(w, name)
		}))
		id := fmt.Sprintf("%s-%d", name, i)
		r.instance(id, server.Listener.Addr().String())
		g.ids, g.servers = append(g.ids, id), append(g.servers, server)
	}
	return g
}

// retire does what an agent does: it waits until nothing is in flight, then stops the instance, at once and hard.
func (r *rig) retire(g *generation) {
	r.t.Helper()
	await(r.t, g.name+" drained", func() bool {
		flight := r.gateway.Status().GetInFlight()
		return flight[g.ids[0]]+flight[g.ids[1]] == 0
	})
	for _, server := range g.servers {
		server.CloseClientConnections()
		server.Close()
	}
	var left []*agentv1.Address
	for _, a := range r.book.GetAddresses() {
		if !strings.HasPrefix(a.GetInstanceId(), g.name+"-") {
			left = append(left, a)
		}
	}
	r.book.Addresses = left
}

// visitors send requests, GET and POST in turn, until stop is called, which says how many were answered.
func (r *rig) visitors(n int) (answered *atomic.Int64, stop func()) {
	answered = &atomic.Int64{}
	ctx, cancel := context.WithCancel(r.t.Context())
	var visiting sync.WaitGroup
	client := r.client()
	for i := range n {
		visiting.Go(func() {
			for ctx.Err() == nil {
				if err := visit(client, i%2 == 0); err != nil {
					r.t.Errorf("request failed: %v", err)
				}
				answered.Add(1)
			}
		})
	}
	return answered, func() { cancel(); visiting.Wait() }
}

func visit(client *http.Client, post bool) error {
	method, body := http.MethodGet, io.Reader(nil)
	if post {
		method, body = http.MethodPost, strings.NewReader("some input")
	}
	request, err := http.NewRequest(method, "http://a.test/", body)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if text, err := io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("%d %q %w", response.StatusCode, text, err)
	}
	return nil
}

// Releases follow each other under load; old instances are killed the moment the gateway says that they have nothing
// in flight. No visitor may notice.
func TestSwitchesUnderLoadLoseNothing(t *testing.T) {
	r := newRig(t)
	old := r.generation("release0")
	at := r.route(&agentv1.Route{Host: "a.test", InstanceIds: old.ids})
	r.apply()
	answered, stop := r.visitors(8)
	for i := range 20 {
		next := r.generation(fmt.Sprintf("release%d", i+1))
		at.InstanceIds = next.ids
		r.apply()
		r.retire(old)
		r.apply()
		old = next
		before := answered.Load()
		await(t, "load", func() bool { return answered.Load() > before+50 })
	}
	stop()
	t.Logf("%d requests during 20 switches", answered.Load())
}

// A service with a volume is stopped before its successor starts: requests wait for it instead of failing.
func TestStopThenStartUnderLoadLosesNothing(t *testing.T) {
	r := newRig(t)
	old := r.generation("release0")
	at := r.route(&agentv1.Route{Host: "a.test", InstanceIds: old.ids})
	r.apply()
	answered, stop := r.visitors(8)
	for i := range 5 {
		for _, a := range r.book.GetAddresses() {
			a.Ready = false
		}
		r.apply()
		r.retire(old)
		next := r.generation(fmt.Sprintf("release%d", i+1))
		at.InstanceIds = next.ids
		r.apply()
		old = next
		before := answered.Load()
		await(t, "load", func() bool { return answered.Load() > before+20 })
	}
	stop()
}

func TestLeavingInstanceFinishesAndIsCounted(t *testing.T) {
	r := newRig(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	r.site("a.test", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		_, _ = io.WriteString(w, "finished")
	}))
	body := make(chan string, 1)
	go func() { _, text := r.get("http://a.test/"); body <- text }()
	<-arrived
	r.table.Sets, r.book.Addresses = nil, nil
	if status := r.apply(); status.GetInFlight()["a.test"] != 1 || status.GetRoutes() != 0 {
		t.Errorf("got %v", status)
	}
	if response, _ := r.get("http://a.test/"); response.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("a new request got %d", response.StatusCode)
	}
	close(release)
	if text := <-body; text != "finished" {
		t.Errorf("got %q", text)
	}
	await(t, "forgotten", func() bool { return len(r.gateway.Status().GetInFlight()) == 0 })
	r.apply()
	if n := len(r.gateway.registry.backends); n != 0 {
		t.Errorf("%d instances are remembered", n)
	}
}

func TestServesFromDiskAfterARestart(t *testing.T) {
	r := newRig(t)
	r.site("a.test", says("hello"))
	before := r.gateway.Status()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r.start()
	if _, body := r.get("http://a.test/"); body != "hello" {
		t.Fatalf("got %q", body)
	}
	if after := r.gateway.Status(); after.GetRevision() != before.GetRevision() || after.GetEpoch().GetLineage() != "l" {
		t.Errorf("got %v, want %v", after, before)
	}
}

// What was refused is refused after a restart as well, and what was served before is served again.
func TestRestartWithRefusedFilesServesTheLastGoodOnes(t *testing.T) {
	r := newRig(t)
	r.site("a.test", says("hello"))
	for _, name := range []string{agentv1.RouteTableFile, agentv1.AddressBookFile} {
		bad := filepath.Join(r.dir, "bad")
		if err := errors.Join(os.WriteFile(bad, []byte("rubbish"), 0o600), os.Rename(bad, filepath.Join(r.dir, name))); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r.start()
	if _, body := r.get("http://a.test/"); body != "hello" {
		t.Fatalf("got %q", body)
	}
	mustContain(t, fmt.Sprint(r.gateway.Status().GetProblems()), "routes.pb is damaged")
}

func TestRefusals(t *testing.T) {
	r := newRig(t)
	r.site("a.test", says("hello"))
	var revision uint64
	good := r.table.GetSets()
	extra := func(route *agentv1.Route) func() {
		return func() {
			r.table.Sets = append(good[:1:1], &agentv1.RouteSet{EnvironmentId: "x", Routes: []*agentv1.Route{route}})
		}
	}
	serving := agentv1.Route_STATE_SERVING
	for _, c := range []struct {
		name   string
		change func()
		code   connect.Code
	}{
		{"lower revision", func() { r.table.Revision = revision - 2 }, connect.CodeFailedPrecondition},
		{"lower epoch", func() { r.table.Epoch.Number = 0 }, connect.CodeFailedPrecondition},
		{"other lineage", func() { r.table.Epoch.Lineage = "m" }, connect.CodeFailedPrecondition},
		{"host of another environment", extra(&agentv1.Route{Host: "a.test", Path: "/x", State: serving}), connect.CodeInvalidArgument},
		{"environment twice", func() {
			r.table.Sets = append(good[:1:1], &agentv1.RouteSet{EnvironmentId: good[0].GetEnvironmentId()})
		}, connect.CodeInvalidArgument},
		{"same set twice", func() { r.table.Sets = append(good[:1:1], good[0]) }, connect.CodeInvalidArgument},
		{"host", extra(&agentv1.Route{Host: "A.test", State: serving}), connect.CodeInvalidArgument},
		{"no host", extra(&agentv1.Route{State: serving}), connect.CodeInvalidArgument},
		{"path", extra(&agentv1.Route{Host: "b.test", Path: "x", State: serving}), connect.CodeInvalidArgument},
		{"state", extra(&agentv1.Route{Host: "b.test"}), connect.CodeInvalidArgument},
		{"port", extra(&agentv1.Route{Host: "b.test", Port: 70000, State: serving}), connect.CodeInvalidArgument},
		{"address", func() { r.book.Addresses = []*agentv1.Address{{InstanceId: "i", Ip: "300.1.1.1"}} }, connect.CodeInvalidArgument},
		{"network", func() {
			r.book.Networks = []*agentv1.Network{{EnvironmentId: "e", BridgeIp: "10.0.0.1", Subnet: "10.1.0.0/16"}}
		}, connect.CodeInvalidArgument},
	} {
		addresses := r.book.GetAddresses()
		revision = r.gateway.Status().GetRevision()
		c.change()
		_, err := r.tryApply()
		if connect.CodeOf(err) != c.code {
			t.Errorf("%s: got %v, want %v", c.name, err, c.code)
		}
		if status := r.gateway.Status(); len(status.GetProblems()) == 0 || status.GetRevision() < revision {
			t.Errorf("%s: got %v", c.name, status)
		}
		if _, body := r.get("http://a.test/"); body != "hello" {
			t.Errorf("%s: got %q", c.name, body)
		}
		r.table.Epoch, r.table.Revision, r.table.Sets = &agentv1.Epoch{Number: 1, Lineage: "l"}, r.gateway.Status().GetRevision(), good
		r.book.Addresses, r.book.Networks = addresses, nil
		r.apply()
	}
	r.table.Epoch, r.table.Revision = &agentv1.Epoch{Number: 2, Lineage: "n"}, 0
	if status := r.apply(); status.GetEpoch().GetNumber() != 2 || len(status.GetProblems()) != 0 {
		t.Errorf("a higher epoch with a lower revision: got %v", status)
	}
}

// A bad route table must not keep new addresses away.
func TestFilesAreJudgedOnTheirOwn(t *testing.T) {
	r := newRig(t)
	r.site("a.test", says("old"))
	r.book.Addresses = nil
	r.instance("a.test", newBackend(t, says("new")).Listener.Addr().String())
	r.table.Sets[0].Routes[0].Host = "-"
	if _, err := r.tryApply(); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Fatalf("got %v", err)
	}
	if _, body := r.get("http://a.test/"); body != "new" {
		t.Errorf("got %q", body)
	}
}

func TestPortsOfTheirOwn(t *testing.T) {
	r := newRig(t)
	server := newBackend(t, says("own"))
	r.instance("i", server.Listener.Addr().String())
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free, busy := freePort(t), uint32(taken.Addr().(*net.TCPAddr).Port) //nolint:gosec // a port
	r.route(&agentv1.Route{ListenPort: free, InstanceIds: []string{"i"}})
	r.route(&agentv1.Route{ListenPort: busy, InstanceIds: []string{"i"}})
	status := r.apply()
	if len(status.GetPorts()) != 2 || len(status.GetProblems()) != 1 {
		t.Fatalf("got %v", status)
	}
	mustContain(t, status.GetProblems()[0], fmt.Sprintf("Port 127.0.0.1:%d cannot be opened", busy))
	shared := r.address
	r.address = fmt.Sprintf("127.0.0.1:%d", free)
	if _, body := r.get("http://any.host.at.all/"); body != "own" {
		t.Errorf("got %q", body)
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "busy port opened", func() bool { return len(r.gateway.Status().GetProblems()) == 0 })
	r.table.Sets = nil
	if status := r.apply(); len(status.GetPorts()) != 1 {
		t.Errorf("got %v", status)
	}
	if conn, err := net.Dial("tcp", r.address); err == nil {
		conn.Close()
		t.Error("the port is still open")
	}
	r.address = shared
	if response, _ := r.get("http://any.host.at.all/"); response.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("got %d", response.StatusCode)
	}
}

func freePort(t *testing.T) uint32 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint32(l.Addr().(*net.TCPAddr).Port) //nolint:gosec,forcetypeassert // a port
}

func TestOneGatewayPerDirectory(t *testing.T) {
	r := newRig(t)
	err := New(Options{Dir: r.dir, HTTPAddress: "127.0.0.1:0"}).Run(t.Context())
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), r.dir) {
		t.Fatalf("got %v", err)
	}
	r.apply() // the first one is unharmed
	info, err := os.Stat(filepath.Join(r.dir, agentv1.GatewaySocketFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("got %v, %v", info.Mode(), err)
	}
}

func TestStaleSocketIsReplacedAndStrangersAreNot(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, agentv1.GatewaySocketFile)
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	if err := stale.Close(); err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, dir: dir, book: &agentv1.AddressBook{}, table: &agentv1.RouteTable{Epoch: &agentv1.Epoch{Number: 1}}}
	r.start()
	r.apply()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the socket is left: %v", err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := New(Options{Dir: dir}).Run(t.Context()); fault.KindOf(err) != fault.Conflict {
		t.Fatalf("got %v", err)
	}
}

// A gateway that ends finishes what it has, and its successor serves meanwhile.
func TestDrainAndSuccession(t *testing.T) {
	r := newRig(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	r.site("a.test", http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
		if in.URL.Path == "/slow" {
			close(arrived)
			<-release
		}
		_, _ = io.WriteString(w, "served")
	}))
	slow := make(chan string, 1)
	go func() { _, text := r.get("http://a.test/slow"); slow <- text }()
	<-arrived
	ended := make(chan error, 1)
	stop := r.stop
	go func() { ended <- stop() }()
	successor := &rig{t: t, dir: r.dir}
	await(t, "directory free", func() bool {
		held, err := lock(r.dir)
		if err == nil {
			held.Close()
		}
		return err == nil
	})
	successor.start()
	if _, text := successor.get("http://a.test/"); text != "served" {
		t.Errorf("successor: got %q", text)
	}
	select {
	case err := <-ended:
		t.Fatalf("ended with a request in flight: %v", err)
	default:
	}
	close(release)
	if text := <-slow; text != "served" {
		t.Errorf("got %q", text)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestDrainCutsWhatDoesNotEnd(t *testing.T) {
	r := newRig(t, func(g *Gateway) { g.options.DrainTimeout = 50 * time.Millisecond })
	r.site("a.test", http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-in.Context().Done()
	}))
	response, err := r.client().Get("http://a.test/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(response.Body); err == nil {
		t.Error("a response that was cut looks whole")
	}
}
