package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/agentv1/agentv1connect"
	"pandu/modules/agent/internal/ledger"
)

// Why sessions end.
var (
	errSilent   = errors.New("manager was silent for too long")
	errStuck    = errors.New("manager does not read what it is sent")
	errClosed   = errors.New("manager closed the session")
	errProtocol = errors.New("manager broke the protocol")
)

// goodbyeError is a manager that asked us to come back later, or elsewhere.
type goodbyeError struct {
	reason string
	after  time.Duration
}

func (e *goodbyeError) Error() string { return "manager said goodbye: " + e.reason }

// endError is any other end; stable when the session had lasted.
type endError struct {
	cause  error
	stable bool
}

func (e *endError) Error() string { return e.cause.Error() }
func (e *endError) Unwrap() error { return e.cause }

type bidi = connect.BidiStreamForClient[agentv1.AgentMessage, agentv1.ManagerMessage]

// session is one conversation. Two goroutines work it: one receives and acts, one sends.
type session struct {
	link   *Link
	stream *bidi
	logs   agentv1connect.LogServiceClient
	cancel context.CancelCauseFunc
	out    *outbox
	free   chan struct{} // slots for logs
	work   sync.WaitGroup

	welcome chan time.Duration // the beat, once

	mu        sync.Mutex
	observing bool
	welcomed  time.Time // zero: not yet
	beat      time.Duration
}

// hold opens a session at an address and returns why it ended; never nil.
func (l *Link) hold(ctx context.Context, address string) error {
	l.connecting(address)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	transport := l.transport()
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	options := []connect.ClientOption{connect.WithGRPC(), connect.WithReadMaxBytes(maxMessage), connect.WithSendMaxBytes(maxMessage)}
	s := &session{
		link: l, cancel: cancel, out: newOutbox(), free: make(chan struct{}, maxLogs), welcome: make(chan time.Duration, 1),
		stream: agentv1connect.NewSessionServiceClient(client, "https://"+address, options...).Session(ctx),
		logs:   agentv1connect.NewLogServiceClient(client, "https://"+address, options...),
	}
	defer s.close()
	if err := s.hello(ctx); err != nil {
		return &endError{cause: err}
	}
	s.work.Go(func() { cancel(s.receive(ctx)) })
	cancel(s.send(ctx))
	return s.reason(context.Cause(ctx))
}

func (s *session) close() {
	s.link.left(s)
	s.cancel(errClosed)
	_ = s.stream.CloseRequest() // the context is over: this only frees what is left
	_ = s.stream.CloseResponse()
	s.work.Wait()
}

// reason keeps a goodbye as it is and says of everything else whether the session had lasted three beats.
func (s *session) reason(err error) error {
	var bye *goodbyeError
	if errors.As(err, &bye) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	stable := !s.welcomed.IsZero() && time.Since(s.welcomed) > 3*s.beat
	return &endError{cause: err, stable: stable}
}

func (s *session) hello(ctx context.Context) error {
	epoch, revisions := s.link.deps.Ledger.Hello()
	return s.deliver(ctx, defaultBeat, &agentv1.AgentMessage{Message: &agentv1.AgentMessage_Hello{Hello: &agentv1.Hello{
		Protocol: Protocol, AgentVersion: s.link.deps.Version, Capabilities: s.link.deps.Capabilities,
		Epoch: epoch, Revisions: revisions, Server: s.link.deps.Server(),
	}}})
}

// deliver sends one message; a manager that takes none for three beats (and three seconds) is left.
func (s *session) deliver(ctx context.Context, beat time.Duration, m *agentv1.AgentMessage) error {
	watchdog := time.AfterFunc(3*max(beat, time.Second), func() { s.cancel(errStuck) })
	defer watchdog.Stop()
	err := s.stream.Send(m)
	if errors.Is(err, io.EOF) && ctx.Err() == nil {
		// The reason stands at the other end of the stream.
		if _, err := s.stream.Receive(); err != nil {
			return fmt.Errorf("send to manager: %w", err)
		}
		return errClosed
	}
	return err
}

// receive acts on what comes, in order, until the stream ends.
func (s *session) receive(ctx context.Context) error {
	for {
		m, err := s.stream.Receive()
		if errors.Is(err, io.EOF) {
			return errClosed
		}
		if err != nil {
			return fmt.Errorf("receive from manager: %w", err)
		}
		if err := s.act(ctx, m); err != nil {
			return err
		}
	}
}

func (s *session) act(ctx context.Context, m *agentv1.ManagerMessage) error {
	switch m := m.GetMessage().(type) {
	case *agentv1.ManagerMessage_Welcome:
		s.takeWelcome(m.Welcome)
		return nil
	case *agentv1.ManagerMessage_Observe:
		s.takeObserve(m.Observe)
		return nil
	case *agentv1.ManagerMessage_Goodbye:
		return &goodbyeError{reason: m.Goodbye.GetReason(), after: m.Goodbye.GetReconnectAfter().AsDuration()}
	case *agentv1.ManagerMessage_Request:
		s.request(ctx, m.Request)
		return nil
	case *agentv1.ManagerMessage_Delta:
		if err := s.mayChange(); err != nil {
			return err
		}
		changed, err := s.link.deps.Ledger.Delta(m.Delta)
		return s.accepted(m.Delta.GetStream(), true, changed, err)
	case *agentv1.ManagerMessage_Snapshot:
		if err := s.mayChange(); err != nil {
			return err
		}
		done, changed, err := s.link.deps.Ledger.Chunk(m.Snapshot)
		return s.accepted(m.Snapshot.GetStream(), done, changed, err)
	default:
		return nil // a message of a newer protocol
	}
}

func (s *session) takeWelcome(w *agentv1.Welcome) {
	beat := w.GetBeat().AsDuration()
	if beat <= 0 {
		beat = defaultBeat
	}
	s.mu.Lock()
	s.welcomed, s.beat, s.observing = time.Now(), beat, false
	s.mu.Unlock()
	// What the planner has taken up is said in every session, also by an agent that was just started.
	if head := s.link.deps.Ledger.Head(agentv1.Stream_STREAM_INSTANCES); head.Epoch.GetNumber() > 0 {
		s.link.Applied(agentv1.Stream_STREAM_INSTANCES, head.Epoch, head.Revision)
	}
	s.link.welcomed(s, w)
	select {
	case s.welcome <- beat:
	default: // a second one, after an operator accepted a new history
	}
	s.link.deps.Logger.Info("connected to a manager", "address", s.link.State().Address, "session", w.GetSession())
}

func (s *session) takeObserve(o *agentv1.Observe) {
	s.mu.Lock()
	first := s.welcomed.IsZero()
	if first {
		s.welcomed, s.beat = time.Now(), defaultBeat
	}
	s.observing = true
	s.mu.Unlock()
	if first { // the difference can only be shown to somebody who knows what is here
		s.link.welcomed(s, &agentv1.Welcome{})
		s.welcome <- defaultBeat
	}
	s.link.observing(o.GetReason())
	s.link.deps.Logger.Warn("manager only observes this server", "reason", o.GetReason())
}

func (s *session) mayChange() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.welcomed.IsZero() || s.observing {
		return fmt.Errorf("%w: desired state without a welcome", errProtocol)
	}
	return nil
}

// accepted acknowledges instances, which the planner takes up at once; routes are acknowledged when the gateway serves
// them. What was refused ends the session, except a brake: that waits for a person.
func (s *session) accepted(stream agentv1.Stream, done, changed bool, err error) error {
	deps := s.link.deps
	switch {
	case errors.Is(err, ledger.ErrBraked):
		deps.Logger.Warn("desired state waits for a confirmation", "stream", stream.String(), "error", err)
		s.out.note(func(o *outbox) { o.fail(streamName(stream), "brake", err.Error()) })
		return nil
	case err != nil:
		return err
	case !done:
		return nil
	}
	if changed {
		deps.Desired(stream)
	}
	if stream == agentv1.Stream_STREAM_INSTANCES {
		head := deps.Ledger.Head(stream)
		s.link.Applied(stream, head.Epoch, head.Revision)
	}
	return nil
}

// streamName is what RequestFailed calls a stream whose change was held back.
func streamName(stream agentv1.Stream) string {
	if stream == agentv1.Stream_STREAM_ROUTES {
		return "routes"
	}
	return "instances"
}

func (s *session) request(ctx context.Context, r *agentv1.Request) {
	switch q := r.GetRequest().(type) {
	case *agentv1.Request_FullReport:
		s.out.note(func(o *outbox) { o.full = true })
	case *agentv1.Request_Log:
		s.serveLog(ctx, r.GetId(), q.Log)
	default:
		s.out.note(func(o *outbox) { o.fail(r.GetId(), "unsupported", "This agent does not know the request.") })
	}
}
