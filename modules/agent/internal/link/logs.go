package link

import (
	"context"
	"errors"
	"sync"
	"time"

	"connectrpc.com/connect"

	"pandu/modules/agent/agentv1"
	"pandu/modules/kit/fault"
)

// quiet is how long a log that is followed may be silent before an empty chunk asks whether anybody still reads.
const quiet = 15 * time.Second

// serveLog answers a LogRequest on a stream of its own, on the session's connection: it ends at the manager that asked.
func (s *session) serveLog(ctx context.Context, id string, req *agentv1.LogRequest) {
	select {
	case s.free <- struct{}{}:
	default:
		s.out.note(func(o *outbox) { o.fail(id, "busy", "This server sends as many logs as it may already.") })
		return
	}
	s.work.Go(func() {
		err := s.sendLog(ctx, id, req)
		<-s.free // before the failure is told: whoever hears of it may ask again at once
		if err != nil && ctx.Err() == nil {
			s.out.note(func(o *outbox) { o.fail(id, failureCode(err), fault.From(err).Message) })
		}
	})
}

func failureCode(err error) string {
	switch fault.KindOf(err) {
	case fault.NotFound:
		return "not_found"
	case fault.Limit:
		return "busy"
	default:
		return "engine"
	}
}

// errUnread ends the reading of a log whose manager has closed the stream. It is no failure.
var errUnread = errors.New("nobody reads this log any more")

func (s *session) sendLog(ctx context.Context, id string, req *agentv1.LogRequest) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := &logStream{id: id, stream: s.logs.Send(ctx), cancel: cancel, last: time.Now()}
	var alive sync.WaitGroup
	alive.Go(func() { out.keepAlive(ctx) })
	err := s.link.deps.Logs(ctx, req, out.send)
	if err == nil && ctx.Err() == nil {
		err = out.finish()
	}
	if errors.Is(context.Cause(ctx), errUnread) {
		err = nil
	}
	if err == nil {
		out.close() // before the context ends, or the manager would see an interrupted log
	}
	cancel(nil)
	alive.Wait()
	return err
}

// logStream sends chunks from the reader and, in between, from keepAlive.
type logStream struct {
	id     string
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	stream *connect.ClientStreamForClient[agentv1.LogChunk, agentv1.LogReceived]
	begun  bool
	ended  bool
	last   time.Time
}

func (l *logStream) send(chunk *agentv1.LogChunk) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.begun {
		chunk.RequestId = l.id
		l.begun = true
	}
	l.ended, l.last = l.ended || chunk.GetEnd(), time.Now()
	if err := l.stream.Send(chunk); err != nil {
		l.cancel(errUnread)
		return errUnread
	}
	return nil
}

// finish says that this was all, if the reader did not.
func (l *logStream) finish() error {
	l.mu.Lock()
	ended := l.ended
	l.mu.Unlock()
	if ended {
		return nil
	}
	return l.send(&agentv1.LogChunk{End: true})
}

func (l *logStream) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	_, _ = l.stream.CloseAndReceive() // its answer says nothing
}

func (l *logStream) keepAlive(ctx context.Context) {
	ticker := time.NewTicker(quiet)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		l.mu.Lock()
		idle := !l.ended && time.Since(l.last) >= quiet
		l.mu.Unlock()
		if idle && l.send(&agentv1.LogChunk{}) != nil {
			return
		}
	}
}
