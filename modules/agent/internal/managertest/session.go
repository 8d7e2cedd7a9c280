package managertest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"pandu/modules/agent/agentv1"
)

// Session is one agent's session as the manager sees it.
type Session struct {
	Hello *agentv1.Hello

	in      chan *agentv1.AgentMessage
	out     chan *agentv1.ManagerMessage
	end     chan struct{}
	endOnce sync.Once
	over    chan struct{}
}

func (m *Manager) hold(ctx context.Context, stream *connect.BidiStream[agentv1.AgentMessage, agentv1.ManagerMessage]) error {
	first, err := stream.Receive()
	if err != nil {
		return err
	}
	s := &Session{
		Hello: first.GetHello(), in: make(chan *agentv1.AgentMessage, 1024), out: make(chan *agentv1.ManagerMessage, 64),
		end: make(chan struct{}), over: make(chan struct{}),
	}
	defer close(s.over)
	m.sessions <- s
	read := make(chan error, 1)
	go func() {
		for {
			message, err := stream.Receive()
			if err != nil {
				read <- err
				return
			}
			s.in <- message
		}
	}()
	for {
		select {
		case message := <-s.out:
			if err := stream.Send(message); err != nil {
				return err
			}
		case <-s.end:
			return nil
		case <-m.done:
			return errors.New("stopped")
		case <-ctx.Done():
			return ctx.Err()
		case <-read:
			return nil
		}
	}
}

// End closes the session.
func (s *Session) End() { s.endOnce.Do(func() { close(s.end) }) }

// Over is closed when the session has ended, by whomever.
func (s *Session) Over() <-chan struct{} { return s.over }

// Received gives the next message of the agent, whatever it is.
func (s *Session) Received() <-chan *agentv1.AgentMessage { return s.in }

// Welcome sends a Welcome with number 7 of an epoch.
func (s *Session) Welcome(epoch *agentv1.Epoch, beat time.Duration) {
	s.out <- &agentv1.ManagerMessage{Message: &agentv1.ManagerMessage_Welcome{Welcome: &agentv1.Welcome{
		ServerId: ServerID, Session: 7, Epoch: epoch, Beat: durationpb.New(beat),
	}}}
}

// Observe sends an Observe.
func (s *Session) Observe(reason string) {
	s.out <- &agentv1.ManagerMessage{Message: &agentv1.ManagerMessage_Observe{Observe: &agentv1.Observe{Reason: reason}}}
}

// Snapshot sends a whole stream in one chunk.
func (s *Session) Snapshot(stream agentv1.Stream, epoch *agentv1.Epoch, revision uint64, entries ...*agentv1.Entry) {
	count, hash := announce(entries)
	s.out <- &agentv1.ManagerMessage{Message: &agentv1.ManagerMessage_Snapshot{Snapshot: &agentv1.Snapshot{
		Stream: stream, Epoch: epoch, Revision: revision, Entries: entries, Last: true, Count: count, Hash: hash,
	}}}
}

// Delta sends changed; after is what is live then.
func (s *Session) Delta(stream agentv1.Stream, epoch *agentv1.Epoch, from, revision uint64, changed, after []*agentv1.Entry) {
	count, hash := announce(after)
	s.out <- &agentv1.ManagerMessage{Message: &agentv1.ManagerMessage_Delta{Delta: &agentv1.Delta{
		Stream: stream, Epoch: epoch, From: from, Revision: revision, Entries: changed, Count: count, Hash: hash,
	}}}
}

func announce(entries []*agentv1.Entry) (uint64, []byte) {
	live := uint64(0)
	for _, e := range entries {
		if !e.GetTombstone() {
			live++
		}
	}
	return live, agentv1.HashEntries(entries)
}

// Request sends a request.
func (s *Session) Request(r *agentv1.Request) {
	s.out <- &agentv1.ManagerMessage{Message: &agentv1.ManagerMessage_Request{Request: r}}
}

// Goodbye sends a goodbye.
func (s *Session) Goodbye(after time.Duration) {
	s.out <- &agentv1.ManagerMessage{Message: &agentv1.ManagerMessage_Goodbye{Goodbye: &agentv1.Goodbye{
		Reason: "moving", ReconnectAfter: durationpb.New(after),
	}}}
}

// Wait returns the next message of the agent that pick accepts; others are dropped.
func (s *Session) Wait(t testing.TB, what string, pick func(*agentv1.AgentMessage) bool) *agentv1.AgentMessage {
	t.Helper()
	deadline := time.After(Patience)
	for {
		select {
		case message := <-s.in:
			if pick(message) {
				return message
			}
		case <-deadline:
			t.Fatalf("no %s in %v", what, Patience)
		case <-s.over:
			t.Fatalf("session ended before %s", what)
		}
	}
}

// Report waits for the next report.
func (s *Session) Report(t testing.TB, full bool) *agentv1.Report {
	t.Helper()
	return s.Wait(t, "report", func(m *agentv1.AgentMessage) bool {
		return m.GetReport() != nil && m.GetReport().GetFull() == full
	}).GetReport()
}

// Heartbeat waits for the next heartbeat.
func (s *Session) Heartbeat(t testing.TB) *agentv1.Heartbeat {
	t.Helper()
	return s.Wait(t, "heartbeat", func(m *agentv1.AgentMessage) bool { return m.GetHeartbeat() != nil }).GetHeartbeat()
}

// Applied waits until a stream has reached a revision.
func (s *Session) Applied(t testing.TB, stream agentv1.Stream, revision uint64) {
	t.Helper()
	s.Wait(t, "applied", func(m *agentv1.AgentMessage) bool {
		return m.GetApplied().GetStream() == stream && m.GetApplied().GetRevision() == revision
	})
}

// Failed waits for a RequestFailed.
func (s *Session) Failed(t testing.TB) *agentv1.RequestFailed {
	t.Helper()
	return s.Wait(t, "failed request", func(m *agentv1.AgentMessage) bool { return m.GetRequestFailed() != nil }).GetRequestFailed()
}
