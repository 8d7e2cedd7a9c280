package servers

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	"pandu/modules/agent/agentv1"
	"pandu/modules/kit/fault"
)

// sessionDoor serves agentv1.SessionService.
type sessionDoor struct{ *Service }

// Session holds one agent's session until either side ends it.
func (d sessionDoor) Session(ctx context.Context, stream *connect.BidiStream[agentv1.AgentMessage, agentv1.ManagerMessage]) error {
	server, err := Caller(ctx)
	if err != nil {
		return fault.RPC(err)
	}
	first, err := stream.Receive()
	if err != nil {
		return err
	}
	hello := first.GetHello()
	if hello == nil {
		return fault.RPC(fault.New(fault.Invalid, "hello_expected", "The first message of a session is Hello."))
	}
	number, epoch, reason, err := d.open(ctx, server, hello)
	if err != nil {
		return fault.RPC(err)
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	live := &session{
		server: server, number: number, epoch: epoch, end: end, over: ctx.Done(),
		out: make(chan *agentv1.ManagerMessage, 64), wake: make(chan struct{}, 1), heard: make(chan struct{}, 1),
		sent: map[agentv1.Stream]uint64{}, live: map[agentv1.Stream]map[string]*agentv1.Entry{},
		revision: map[agentv1.Stream]*atomic.Uint64{streams[0]: new(atomic.Uint64), streams[1]: new(atomic.Uint64)},
		statuses: map[string]*agentv1.InstanceStatus{}, keys: map[string]*agentv1.KeyStatus{}, info: hello.GetServer(),
	}
	d.register(live)
	defer d.unregister(live)
	d.Log.InfoContext(ctx, "agent connected", "server_id", server, "session", number, "observe", reason)
	err = d.hold(ctx, live, stream, hello, reason)
	// The caller's context is over by now, yet the others must learn of the silence.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := d.silence(last, live); err != nil {
		d.Log.ErrorContext(last, "mark session silent", "server_id", server, "error", err)
	}
	d.Log.InfoContext(last, "agent disconnected", "server_id", server, "session", number, "reason", err)
	return fault.RPC(err)
}

func (d sessionDoor) hold(ctx context.Context, live *session, stream *connect.BidiStream[agentv1.AgentMessage, agentv1.ManagerMessage], hello *agentv1.Hello, reason string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return d.write(ctx, live, stream) })
	group.Go(func() error { return d.watch(ctx, live) })
	group.Go(func() error {
		if err := live.send(ctx, d.welcome(live)); err != nil {
			return err
		}
		if reason != "" {
			return d.onlyObserve(ctx, live, reason)
		}
		return d.push(ctx, live, hello)
	})
	received := make(chan error, 1)
	go func() { received <- d.read(ctx, live, stream) }() // ends with the stream, which ends with this call
	group.Go(func() error {
		select {
		case err := <-received:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	return group.Wait()
}

// errAccepted ends a session that only observed, so that the agent comes back to a new history.
var errAccepted = fault.New(fault.Unavailable, "history_accepted", "A new history begins. Connect again.")

// onlyObserve sends nothing but why nothing is sent, until somebody wakes the session.
func (d sessionDoor) onlyObserve(ctx context.Context, live *session, reason string) error {
	err := live.send(ctx, &agentv1.ManagerMessage{Message: &agentv1.ManagerMessage_Observe{Observe: &agentv1.Observe{Reason: reason}}})
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-live.wake:
		return errAccepted
	}
}

func (d sessionDoor) write(ctx context.Context, live *session, stream *connect.BidiStream[agentv1.AgentMessage, agentv1.ManagerMessage]) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case m := <-live.out:
			if err := stream.Send(m); err != nil {
				return err
			}
		}
	}
}

// errClosed ends a session that the agent closed.
var errClosed = errors.New("the agent closed the session")

func (d sessionDoor) read(ctx context.Context, live *session, stream *connect.BidiStream[agentv1.AgentMessage, agentv1.ManagerMessage]) error {
	for {
		m, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return errClosed
		}
		if err != nil {
			return err
		}
		live.beat.Store(time.Now().UnixNano())
		nudge(live.heard)
		if err := d.take(ctx, live, m); err != nil {
			return err
		}
	}
}

func (d sessionDoor) take(ctx context.Context, live *session, m *agentv1.AgentMessage) error {
	switch m := m.GetMessage().(type) {
	case *agentv1.AgentMessage_Report:
		return d.report(ctx, live, m.Report)
	case *agentv1.AgentMessage_Applied:
		return d.acked(ctx, live, m.Applied)
	case *agentv1.AgentMessage_Heartbeat:
		if live.digestDiffers(m.Heartbeat) {
			return live.send(ctx, &agentv1.ManagerMessage{Message: &agentv1.ManagerMessage_Request{Request: &agentv1.Request{
				Request: &agentv1.Request_FullReport{FullReport: &agentv1.FullReport{}},
			}}})
		}
		return nil
	case *agentv1.AgentMessage_RequestFailed:
		d.refused(live, m.RequestFailed)
		return nil
	default:
		return nil // a message of a newer protocol
	}
}
