package agent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/internal/ledger"
	"pandu/modules/agent/internal/managertest"
	"pandu/modules/gateway"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, // these two are of the registry that tests use in place of the panel's; it cannot be closed
		goleak.IgnoreAnyFunction("github.com/distribution/distribution/v3/registry/handlers.startUploadPurger.func1"),
		goleak.IgnoreAnyFunction("github.com/docker/go-events.(*Broadcaster).run"))
}

const (
	instances = agentv1.Stream_STREAM_INSTANCES
	routes    = agentv1.Stream_STREAM_ROUTES
	beat      = 20 * time.Millisecond
)

var epoch = &agentv1.Epoch{Number: 1, Lineage: "one"}

// options are of an agent whose Docker Engine is away, which must stop nothing else.
func options(t *testing.T, dir string, managers ...*managertest.Manager) Options {
	t.Helper()
	o := Options{
		Dir: dir, Docker: "unix://" + filepath.Join(dir, "no-docker.sock"), GatewayDir: filepath.Join(dir, "gateway"),
		Executable: os.Args[0], Version: "test", Logger: slog.New(slog.DiscardHandler),
		JoinToken: func(context.Context) (string, error) { return managers[0].Token(), nil },
	}
	for _, m := range managers {
		o.Managers = append(o.Managers, m.Address)
	}
	return o
}

// start runs an agent; stop ends it and waits.
func start(t *testing.T, o Options) (a *Agent, stop func()) {
	t.Helper()
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	}
	t.Cleanup(stop)
	return a, stop
}

func instance(t *testing.T, id string, revision uint64) *agentv1.Entry {
	t.Helper()
	body, err := proto.Marshal(&agentv1.Instance{Id: id, EnvironmentId: "e", Project: "hello", Service: "web", Spec: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	return &agentv1.Entry{Key: "instance/" + id, Revision: revision, Body: body}
}

func routeSet(t *testing.T, host string, revision uint64) *agentv1.Entry {
	t.Helper()
	body, err := proto.Marshal(&agentv1.RouteSet{EnvironmentId: "e", OrganizationId: "o", Routes: []*agentv1.Route{
		{Host: host, Path: "/", Service: "web", State: agentv1.Route_STATE_STOPPED},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return &agentv1.Entry{Key: "routes/e", Revision: revision, Body: body}
}

func TestJoinsHoldsAndSurvivesARestartWithoutDocker(t *testing.T) {
	dir := t.TempDir()
	m := managertest.Start(t, managertest.NewCA(t, time.Now))
	a, stop := start(t, options(t, dir, m))
	s := m.Session(t)
	s.Welcome(epoch, beat)
	const id = "0193e0b0-6c1e-7a54-9f0b-000000000001"
	s.Snapshot(instances, epoch, 3, instance(t, id, 3))
	s.Applied(t, instances, 3)
	waitFor(t, func() bool { return strings.Contains(a.State().Server.GetEngineError(), "no-docker.sock") })
	s.Request(&agentv1.Request{Request: &agentv1.Request_FullReport{FullReport: &agentv1.FullReport{}}})
	full := s.Wait(t, "full report without an engine", func(m *agentv1.AgentMessage) bool {
		return m.GetReport().GetFull() && strings.Contains(m.GetReport().GetServer().GetEngineError(), "no-docker.sock")
	}).GetReport()
	if len(full.GetInstances()) != 1 || full.GetInstances()[0].GetInstanceId() != id {
		t.Errorf("full report is %v", full.GetInstances())
	}
	state := a.State()
	if state.ServerID != managertest.ServerID || state.Connection != "connected" || state.Session != 7 || state.Streams["instances"].Revision != 3 {
		t.Errorf("state is %+v", state)
	}
	if _, err := New(options(t, dir, m)); err == nil || !strings.Contains(err.Error(), ledger.ErrInUse.Error()) {
		t.Errorf("a second agent got the directory: %v", err)
	}
	stop()

	o := options(t, dir, m)
	o.JoinToken = nil // it knows who it is
	start(t, o)
	s = m.Session(t)
	if s.Hello.GetRevisions()[int32(instances)] != 3 || s.Hello.GetEpoch().GetLineage() != "one" {
		t.Errorf("after the restart hello says %v %v", s.Hello.GetEpoch(), s.Hello.GetRevisions())
	}
	s.Welcome(epoch, beat)
	if full := s.Report(t, true); len(full.GetInstances()) != 1 {
		t.Errorf("full report is %v", full.GetInstances())
	}
	s.Applied(t, instances, 3)
}

func TestRoutesReachTheGatewayAndOutliveManagerAndAgent(t *testing.T) {
	dir := t.TempDir()
	address := freeAddress(t)
	m := managertest.Start(t, managertest.NewCA(t, time.Now))
	o := options(t, dir, m)
	g := gateway.New(gateway.Options{Dir: o.GatewayDir, HTTPAddress: address, DrainTimeout: time.Second, Version: "test"})
	ctx, cancel := context.WithCancel(context.Background())
	gatewayEnded := make(chan error, 1)
	go func() { gatewayEnded <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-gatewayEnded; err != nil {
			t.Error(err)
		}
	})
	_, stop := start(t, o)
	s := m.Session(t)
	s.Welcome(epoch, beat)
	s.Snapshot(routes, epoch, 5, routeSet(t, "hello.localhost", 5))
	s.Applied(t, routes, 5)
	if status := get(t, address, "hello.localhost"); status != http.StatusServiceUnavailable {
		t.Errorf("a stopped site answers %d when its revision is acknowledged", status)
	}
	s.Request(&agentv1.Request{Request: &agentv1.Request_FullReport{FullReport: &agentv1.FullReport{}}})
	s.Wait(t, "the gateway in a full report", func(m *agentv1.AgentMessage) bool {
		return m.GetReport().GetFull() && m.GetReport().GetServer().GetGatewayVersion() == "test"
	})
	m.Stop()
	stop()
	if status := get(t, address, "hello.localhost"); status != http.StatusServiceUnavailable {
		t.Errorf("without manager and agent it answers %d", status)
	}
	again, _ := start(t, o) // no manager anywhere
	waitFor(t, func() bool { return again.State().Gateway.GetRevision() == 5 && again.State().GatewayProblem == "" })
	if status := get(t, address, "hello.localhost"); status != http.StatusServiceUnavailable {
		t.Errorf("after the agent's restart it answers %d", status)
	}
}

func TestWithoutATokenItWaitsAndSaysSo(t *testing.T) {
	m := managertest.Start(t, managertest.NewCA(t, time.Now))
	o := options(t, t.TempDir(), m)
	o.JoinToken = nil
	a, _ := start(t, o)
	waitFor(t, func() bool { return strings.Contains(a.State().IdentityProblem, "no join token") })
	if state := a.State(); state.ServerID != "" || state.Connection != "waiting" {
		t.Errorf("state is %+v", state)
	}
}

func TestAPartThatFailsIsStartedAgain(t *testing.T) {
	p := &parts{logger: slog.New(slog.DiscardHandler)}
	runs, order := make(chan int, 8), make(chan string, 2)
	n := 0
	p.start(t.Context(), "first", func(ctx context.Context) error {
		<-ctx.Done()
		order <- "first"
		return nil
	})
	p.start(t.Context(), "second", func(ctx context.Context) error {
		n++
		runs <- n
		if n < 3 {
			return fmt.Errorf("failure %d", n)
		}
		<-ctx.Done()
		order <- "second"
		return nil
	})
	for want := 1; want <= 3; want++ {
		if got := <-runs; got != want {
			t.Errorf("run %d, want %d", got, want)
		}
	}
	p.stop()
	if a, b := <-order, <-order; a != "second" || b != "first" {
		t.Errorf("stopped %s before %s", a, b)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func get(t *testing.T, address, host string) int {
	t.Helper()
	status, _ := fetch(t, address, host, "/")
	return status
}

func fetch(t *testing.T, address, host, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.After(managertest.Patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("state was not reached")
		case <-tick.C:
		}
	}
}
