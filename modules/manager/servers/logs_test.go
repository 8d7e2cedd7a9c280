package servers_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/agentv1/agentv1connect"
	"pandu/modules/kit/fault"
)

func TestLogsAreReadLocallyAndThroughAPeer(t *testing.T) {
	h := newHouse(t)
	other := h.another()
	a := h.join("one")
	s := a.connect(h.manager, &agentv1.Hello{})
	s.welcome()
	read := func(m *manager) ([]string, error) {
		var lines []string
		err := m.ReadLog(context.Background(), a.id, &agentv1.LogRequest{InstanceId: "x"}, func(c *agentv1.LogChunk) error {
			for _, l := range c.GetLines() {
				lines = append(lines, l.GetText())
			}
			return nil
		})
		return lines, err
	}
	serve := func() {
		for {
			m := <-s.in
			if m.GetRequest().GetLog() == nil {
				continue
			}
			up := agentv1connect.NewLogServiceClient(a.http(), "https://"+h.address, connect.WithGRPC()).Send(context.Background())
			_ = up.Send(&agentv1.LogChunk{RequestId: m.GetRequest().GetId(), Lines: []*agentv1.LogLine{{Text: "one"}}})
			_ = up.Send(&agentv1.LogChunk{Lines: []*agentv1.LogLine{{Text: "two"}}, End: true})
			_, _ = up.CloseAndReceive()
			return
		}
	}
	for _, m := range []*manager{h.manager, other} {
		go serve()
		lines, err := read(m)
		if err != nil || strings.Join(lines, " ") != "one two" {
			t.Fatalf("read %v, %v", lines, err)
		}
	}
	go func() {
		for {
			if m := <-s.in; m.GetRequest() != nil {
				_ = s.stream.Send(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_RequestFailed{RequestFailed: &agentv1.RequestFailed{Id: m.GetRequest().GetId(), Code: "not_found"}}})
				return
			}
		}
	}()
	if _, err := read(h.manager); fault.KindOf(err) != fault.NotFound {
		t.Fatalf("a log that is gone: %v", err)
	}
	h.dead(h.process)
	must(t, other.SweepSessions(context.Background()))
	if _, err := read(other); fault.KindOf(err) != fault.Unavailable {
		t.Fatalf("a silent server: %v", err)
	}
}

func TestOnlyManagersReadThroughPeers(t *testing.T) {
	h := newHouse(t)
	a := h.join("one")
	stream, err := agentv1connect.NewPeerServiceClient(a.http(), "https://"+h.address).
		Log(context.Background(), connect.NewRequest(&agentv1.PeerLogRequest{ServerId: a.id.String(), Request: &agentv1.LogRequest{}}))
	must(t, err)
	for stream.Receive() {
		t.Fatal("an agent reads another's log")
	}
	code(t, stream.Err(), connect.CodePermissionDenied)
}

func TestReadersAreBounded(t *testing.T) {
	h := newHouse(t)
	a := h.join("one")
	s := a.connect(h.manager, &agentv1.Hello{})
	s.welcome()
	asked := make(chan struct{}, 1000)
	go func() {
		for m := range s.in {
			if m.GetRequest().GetLog() != nil {
				asked <- struct{}{}
			}
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	read := func() error {
		return h.ReadLog(ctx, a.id, &agentv1.LogRequest{}, func(*agentv1.LogChunk) error { return nil })
	}
	var readers sync.WaitGroup
	for range 512 {
		readers.Go(func() {
			if err := read(); !errors.Is(err, context.Canceled) {
				t.Errorf("a reader ended with %v", err)
			}
		})
	}
	for range 512 {
		<-asked
	}
	if err := read(); fault.KindOf(err) != fault.Limit {
		t.Fatalf("one more: %v", err)
	}
	cancel()
	readers.Wait()
	ctx, cancel = context.WithCancel(context.Background())
	defer cancel()
	again := make(chan error, 1)
	go func() { again <- read() }()
	<-asked
	cancel()
	if err := <-again; !errors.Is(err, context.Canceled) {
		t.Fatalf("places were not given back: %v", err)
	}
}

// An agent that goes away in the middle of a log ends its reader.
func TestReaderEndsWithItsSession(t *testing.T) {
	h := newHouse(t)
	a := h.join("one")
	s := a.connect(h.manager, &agentv1.Hello{})
	s.welcome()
	ended := make(chan error, 1)
	go func() {
		ended <- h.ReadLog(context.Background(), a.id, &agentv1.LogRequest{Follow: true}, func(*agentv1.LogChunk) error { return nil })
	}()
	for s.next().GetRequest() == nil { //nolint:revive // both streams come first
	}
	must(t, s.stream.CloseRequest())
	if err := <-ended; fault.From(err).Code != "log_interrupted" {
		t.Fatal(err)
	}
	h.until("silent", "select silent_since is not null from servers.sessions where server_id = $1", a.id)
}
