package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/internal/identity"
	"pandu/modules/agent/internal/ledger"
	"pandu/modules/agent/internal/managertest"
	"pandu/modules/kit/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	instances = agentv1.Stream_STREAM_INSTANCES
	routes    = agentv1.Stream_STREAM_ROUTES
	beat      = 20 * time.Millisecond
)

var epoch = &agentv1.Epoch{Number: 1, Lineage: "one"}

// rig is a link with everything real but the server it speaks for.
type rig struct {
	link    *Link
	ledger  *ledger.Ledger
	desired chan agentv1.Stream

	mu       sync.Mutex
	statuses []*agentv1.InstanceStatus
	logs     func(context.Context, *agentv1.LogRequest, func(*agentv1.LogChunk) error) error
}

// dial joins through m and runs a link to the addresses until the test ends.
func dial(t *testing.T, m *managertest.Manager, ping time.Duration, addresses ...string) *rig {
	t.Helper()
	who, err := identity.Open(identity.Deps{
		Dir: t.TempDir(), Addresses: []string{m.Address},
		Token: func(context.Context) (string, error) { return m.Token(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := who.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	held, err := ledger.Open(t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{ledger: held, desired: make(chan agentv1.Stream, 64)}
	r.link, err = New(Deps{
		Addresses: addresses, TLS: who.TLS(), Ledger: held, Version: "test", Capabilities: []string{"run"}, Ping: ping,
		Server: func() *agentv1.ServerInfo { return &agentv1.ServerInfo{Hostname: "pier-1"} },
		Statuses: func() ([]*agentv1.InstanceStatus, []*agentv1.KeyStatus) {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.statuses, nil
		},
		Desired: func(s agentv1.Stream) { r.desired <- s },
		Logs: func(ctx context.Context, req *agentv1.LogRequest, send func(*agentv1.LogChunk) error) error {
			return r.logs(ctx, req, send)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.link.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
		if err := held.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) set(statuses ...*agentv1.InstanceStatus) {
	r.mu.Lock()
	r.statuses = statuses
	r.mu.Unlock()
	r.link.Changed()
}

// free is how many more logs the live session would send.
func (r *rig) free() int {
	r.link.mu.Lock()
	defer r.link.mu.Unlock()
	return maxLogs - len(r.link.live.free)
}

func live(key string, revision uint64) *agentv1.Entry {
	return &agentv1.Entry{Key: key, Revision: revision, Body: []byte(key)}
}

func status(id string, restarts uint32) *agentv1.InstanceStatus {
	return &agentv1.InstanceStatus{InstanceId: id, State: agentv1.InstanceState_INSTANCE_STATE_READY, Restarts: restarts}
}

func begin(t *testing.T) (*managertest.Manager, *rig, *managertest.Session) {
	t.Helper()
	m := managertest.Start(t, managertest.NewCA(t, time.Now))
	r := dial(t, m, time.Minute, m.Address)
	s := m.Session(t)
	s.Welcome(epoch, beat)
	return m, r, s
}

func TestDesiredGoesDownAndTheTruthComesUp(t *testing.T) {
	_, r, s := begin(t)
	if s.Hello.GetProtocol() != Protocol || s.Hello.GetServer().GetHostname() != "pier-1" || s.Hello.GetEpoch().GetNumber() != 0 {
		t.Errorf("hello is %v", s.Hello)
	}
	if full := s.Report(t, true); full.GetServer().GetHostname() != "pier-1" || len(full.GetInstances()) != 0 {
		t.Errorf("first report is %v", full)
	}
	a, b := live("instance/a", 1), live("instance/b", 2)
	s.Snapshot(instances, epoch, 1, a)
	s.Applied(t, instances, 1)
	s.Delta(instances, epoch, 1, 2, []*agentv1.Entry{b}, []*agentv1.Entry{a, b})
	s.Applied(t, instances, 2)
	if got := <-r.desired; got != instances {
		t.Errorf("desired changed in %v", got)
	}
	if head := r.ledger.Head(instances); head.Live != 2 || head.Revision != 2 {
		t.Errorf("ledger holds %+v", head)
	}
	r.set(status("a", 0), status("b", 0))
	if report := s.Report(t, false); len(report.GetInstances()) != 2 || report.GetServer() != nil {
		t.Errorf("report is %v", report)
	}
	r.set(status("a", 0), status("b", 1))
	if report := s.Report(t, false); len(report.GetInstances()) != 1 || report.GetInstances()[0].GetInstanceId() != "b" {
		t.Errorf("only b changed, reported is %v", report)
	}
	beat := s.Heartbeat(t)
	if want := agentv1.HashStatuses([]*agentv1.InstanceStatus{status("b", 1), status("a", 0)}); string(beat.GetDigest()) != string(want) {
		t.Error("the digest is not of what was reported")
	}
	if state := r.link.State(); state.Phase != Connected || state.Session != 7 {
		t.Errorf("state is %+v", state)
	}
}

func TestFullReportOnRequestAndWhenSomethingVanished(t *testing.T) {
	_, r, s := begin(t)
	s.Report(t, true)
	r.set(status("a", 0))
	s.Report(t, false)
	s.Request(&agentv1.Request{Request: &agentv1.Request_FullReport{FullReport: &agentv1.FullReport{}}})
	if full := s.Report(t, true); len(full.GetInstances()) != 1 {
		t.Errorf("full report is %v", full)
	}
	r.set() // gone without a word: only a full report tells
	if full := s.Report(t, true); len(full.GetInstances()) != 0 {
		t.Errorf("full report is %v", full)
	}
}

func TestRoutesAreAcknowledgedOnlyWhenServed(t *testing.T) {
	m, r, s := begin(t)
	set := live("routes/a", 1)
	s.Snapshot(routes, epoch, 1, set)
	if got := <-r.desired; got != routes {
		t.Fatalf("desired changed in %v", got)
	}
	s.Snapshot(instances, epoch, 9)
	s.Wait(t, "applied", func(msg *agentv1.AgentMessage) bool {
		if msg.GetApplied().GetStream() == routes {
			t.Error("routes were acknowledged before the gateway said so")
		}
		return msg.GetApplied().GetStream() == instances
	})
	r.link.Applied(routes, epoch, 1)
	s.Applied(t, routes, 1)
	s.Goodbye(0)
	again := m.Session(t)
	if again.Hello.GetRevisions()[int32(routes)] != 1 || again.Hello.GetRevisions()[int32(instances)] != 9 {
		t.Errorf("hello says %v", again.Hello.GetRevisions())
	}
	again.Welcome(epoch, beat)
	again.Applied(t, routes, 1) // said again to whoever holds the session now
}

func TestObserveChangesNothing(t *testing.T) {
	m, r, s := begin(t)
	s.Snapshot(instances, epoch, 1, live("instance/a", 1))
	s.Applied(t, instances, 1)
	s.Goodbye(0)
	s = m.Session(t)
	s.Welcome(&agentv1.Epoch{Number: 1, Lineage: "other"}, beat)
	s.Observe("this history is not ours")
	s.Report(t, true)
	s.Heartbeat(t)
	if state := r.link.State(); state.Phase != Observing || state.Reason != "this history is not ours" {
		t.Errorf("state is %+v", state)
	}
	s.Snapshot(instances, &agentv1.Epoch{Number: 9, Lineage: "other"}, 9)
	<-s.Over() // it may not send that
	if head := r.ledger.Head(instances); head.Revision != 1 || head.Live != 1 {
		t.Errorf("ledger holds %+v", head)
	}
}

func TestWhatDoesNotAddUpIsAskedForAgain(t *testing.T) {
	m, r, s := begin(t)
	a, b := live("instance/a", 1), live("instance/b", 2)
	s.Snapshot(instances, epoch, 1, a)
	s.Applied(t, instances, 1)
	s.Delta(instances, epoch, 1, 2, []*agentv1.Entry{b}, []*agentv1.Entry{b}) // as if a were not wanted any more
	<-s.Over()
	if head := r.ledger.Head(instances); head.Revision != 1 || head.Live != 1 {
		t.Errorf("ledger holds %+v", head)
	}
	s = m.Session(t)
	if s.Hello.GetRevisions()[int32(instances)] != 0 {
		t.Errorf("hello says %v, and so gets no snapshot", s.Hello.GetRevisions())
	}
	s.Welcome(epoch, beat)
	s.Snapshot(instances, epoch, 2, b)
	s.Applied(t, instances, 2)
	if head := r.ledger.Head(instances); head.Live != 1 || len(head.Unknown) != 1 || head.Unknown[0] != "instance/a" {
		t.Errorf("ledger holds %+v: a must be kept", head)
	}
}

func TestBrakeKeepsTheSession(t *testing.T) {
	_, r, s := begin(t)
	var held, stops []*agentv1.Entry
	for i := range 6 {
		held = append(held, live(fmt.Sprintf("instance/%d", i), 1))
		stops = append(stops, &agentv1.Entry{Key: held[i].GetKey(), Revision: 2, Tombstone: true})
	}
	s.Snapshot(instances, epoch, 1, held...)
	s.Applied(t, instances, 1)
	s.Delta(instances, epoch, 1, 2, stops, nil)
	if failed := s.Failed(t); failed.GetId() != "instances" || failed.GetCode() != "brake" {
		t.Errorf("failed is %v", failed)
	}
	s.Heartbeat(t)
	if head := r.ledger.Head(instances); head.Live != 6 || head.Held == nil {
		t.Errorf("ledger holds %+v", head)
	}
}

func TestPartitionIsNoticedAndHealed(t *testing.T) {
	m := managertest.Start(t, managertest.NewCA(t, time.Now))
	proxy := managertest.StartProxy(t, m.Address)
	r := dial(t, m, 30*time.Millisecond, proxy.Address)
	s := m.Session(t)
	s.Welcome(epoch, beat)
	s.Report(t, true)
	proxy.SetSilent(true)
	waitFor(t, func() bool { return r.link.State().Phase != Connected })
	if problem := r.link.State().Problem; problem == "" {
		t.Error("nobody knows why")
	}
	proxy.SetSilent(false)
	s = m.Session(t) // maybe one that the agent gave up during the silence; the last one works
	for alive := false; !alive; {
		s.Welcome(epoch, beat)
		select {
		case <-s.Over():
			s = m.Session(t)
		case <-s.Received():
			alive = true
		}
	}
	waitFor(t, func() bool { return r.link.State().Phase == Connected })
}

func TestAnotherAddressIsTakenWhenAManagerDies(t *testing.T) {
	authority := managertest.NewCA(t, time.Now)
	one, two := managertest.Start(t, authority), managertest.Start(t, authority)
	dial(t, one, time.Minute, one.Address, two.Address, "127.0.0.1:1")
	select {
	case s := <-one.Sessions():
		one.Stop()
		<-s.Over()
	case s := <-two.Sessions():
		one.Stop()
		s.End()
	case <-time.After(managertest.Patience):
		t.Fatal("no session")
	}
	s := two.Session(t)
	s.Welcome(epoch, beat)
	s.Report(t, true)
}

func TestLogsHaveStreamsOfTheirOwn(t *testing.T) {
	m, r, s := begin(t)
	hold, began := make(chan struct{}), make(chan struct{})
	r.logs = func(ctx context.Context, req *agentv1.LogRequest, send func(*agentv1.LogChunk) error) error {
		switch req.GetInstanceId() {
		case "short":
			return send(&agentv1.LogChunk{Lines: []*agentv1.LogLine{{Text: "hello"}}})
		case "missing":
			return fault.New(fault.NotFound, "log_not_found", "There is no log.")
		case "broken":
			return errors.New("disk")
		default:
			began <- struct{}{}
			select {
			case <-hold:
			case <-ctx.Done():
			}
			return nil
		}
	}
	ask := func(id, instance string) {
		s.Request(&agentv1.Request{Id: id, Request: &agentv1.Request_Log{Log: &agentv1.LogRequest{InstanceId: instance}}})
	}
	ask("1", "short")
	if c := m.Chunk(t); c.GetRequestId() != "1" || c.GetLines()[0].GetText() != "hello" {
		t.Errorf("chunk is %v", c)
	}
	if c := m.Chunk(t); !c.GetEnd() {
		t.Errorf("chunk is %v, expected the end", c)
	}
	waitFor(t, func() bool { return r.free() == maxLogs })
	ask("2", "missing")
	if f := s.Failed(t); f.GetId() != "2" || f.GetCode() != "not_found" {
		t.Errorf("failed is %v", f)
	}
	ask("3", "broken")
	if f := s.Failed(t); f.GetId() != "3" || f.GetCode() != "engine" {
		t.Errorf("failed is %v", f)
	}
	for i := range maxLogs {
		ask(fmt.Sprint("held ", i), "followed")
		<-began
	}
	ask("4", "followed")
	if f := s.Failed(t); f.GetId() != "4" || f.GetCode() != "busy" {
		t.Errorf("failed is %v", f)
	}
	s.Heartbeat(t)
	close(hold)
	for range maxLogs {
		if c := m.Chunk(t); !c.GetEnd() {
			t.Errorf("chunk is %v", c)
		}
	}
}

func TestManagerThatNeverWelcomesIsLeft(t *testing.T) {
	m := managertest.Start(t, managertest.NewCA(t, time.Now))
	r := dial(t, m, 20*time.Millisecond, m.Address)
	<-m.Session(t).Over()
	m.Session(t)
	if r.link.State().Attempts < 2 {
		t.Errorf("state is %+v", r.link.State())
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.After(managertest.Patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("state was not reached")
		case <-tick.C:
		}
	}
}
