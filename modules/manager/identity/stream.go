package identity

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"pandu/modules/kit/fault"
)

// The bounds of a stream of events to a browser.
const (
	streamPing    = 15 * time.Second
	streamRenew   = 25 * time.Second // how often the right to read is judged again; a revocation works within 30 s
	streamWrite   = 10 * time.Second // a reader that takes longer for one event is cut off and comes back
	streamLife    = time.Hour        // then the browser reconnects, to another manager perhaps
	streamRetry   = 2 * time.Second  // what browsers are told to wait before they reconnect
	streamsAtMost = 2000             // per process
	streamsEach   = 40               // per user or token and process, so that nobody takes them all
)

// Event is one server-sent event. Data may have several lines.
type Event struct {
	ID   string // comes back as Last-Event-ID
	Name string // "" is the browser's "message"
	Data string
}

// Send writes one event and returns when it has been handed to the connection. The error says that the stream is over.
type Send func(Event) error

// Events answers a Raw door with a stream of server-sent events: it runs source until it returns, the reader goes away,
// the right to read is lost (judged again every 25 s with the door's own rule) or an hour has passed. last is the id of
// the last event that the reader saw, "" at first. source must return when its context ends; it calls send from one
// goroutine or several. A nil error of source ends the stream for good with an event named "end".
func (d *Doors) Events(c echo.Context, door Door, source func(ctx context.Context, last string, send Send) error) error {
	who := ActorFrom(c.Request().Context()).ID
	if !d.streams.take(who) {
		return fault.New(fault.Limit, "streams_exhausted", "Too many live views are open. Close some, or try again in a moment.").After(5 * time.Second)
	}
	defer d.streams.give(who)
	ctx, cancel := context.WithTimeout(c.Request().Context(), streamLife)
	defer cancel()
	out := &stream{w: c.Response(), control: http.NewResponseController(c.Response())}
	if err := out.begin(); err != nil {
		return nil // the reader is gone already
	}
	var watching sync.WaitGroup
	watching.Go(func() { d.watch(ctx, cancel, c.Request(), door, out) })
	defer out.end()
	defer watching.Wait() // nothing may write after the handler has returned
	defer cancel()
	last := c.Request().Header.Get("Last-Event-ID")
	if last == "" {
		last = c.QueryParam("last_event_id")
	}
	err := source(ctx, last, out.send)
	switch {
	case ctx.Err() != nil || errors.Is(err, errStreamOver):
		return nil
	case err != nil:
		f := d.refuse(ctx, err)
		_ = out.send(Event{Name: "error", Data: fmt.Sprintf(`{"code":%q,"detail":%q}`, f.Code, f.Detail)}) // the reader may be gone
		return nil
	}
	_ = out.send(Event{Name: "end", Data: "{}"}) // the reader may be gone
	return nil
}

// watch pings the reader and judges its right to read, until the stream ends.
func (d *Doors) watch(ctx context.Context, cancel func(), r *http.Request, door Door, out *stream) {
	defer cancel()
	ping, renew := time.NewTicker(streamPing), time.NewTicker(d.renewEvery)
	defer ping.Stop()
	defer renew.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ping.C:
			if out.write(": ping\n\n") != nil {
				return
			}
		case <-renew.C:
			if d.lost(ctx, r, door) {
				return
			}
		}
	}
}

// lost reports whether the reader may no longer read. A database that is away takes nobody's right.
func (d *Doors) lost(ctx context.Context, r *http.Request, door Door) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	who, err := d.service.reload(r.WithContext(ctx))
	if err == nil {
		_, err = door.actor(who, r)
	}
	kind := fault.KindOf(err)
	return err != nil && (kind == fault.Unauthorized || kind == fault.Denied || kind == fault.NotFound)
}

// places counts open streams.
type places struct {
	mu   sync.Mutex
	all  int
	each map[uuid.UUID]int
}

func (p *places) take(who uuid.UUID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all >= streamsAtMost || p.each[who] >= streamsEach {
		return false
	}
	if p.each == nil {
		p.each = map[uuid.UUID]int{}
	}
	p.all++
	p.each[who]++
	return true
}

func (p *places) give(who uuid.UUID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all--
	if p.each[who]--; p.each[who] == 0 {
		delete(p.each, who)
	}
}

var errStreamOver = errors.New("stream is over")

type stream struct {
	mu      sync.Mutex
	w       http.ResponseWriter
	control *http.ResponseController
}

func (s *stream) begin() error {
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	s.w.WriteHeader(http.StatusOK)
	return s.write(fmt.Sprintf("retry: %d\n\n", streamRetry.Milliseconds()))
}

func (s *stream) send(e Event) error {
	var b strings.Builder
	if e.ID != "" {
		b.WriteString("id: " + oneLine(e.ID) + "\n")
	}
	if e.Name != "" {
		b.WriteString("event: " + oneLine(e.Name) + "\n")
	}
	for line := range strings.SplitSeq(strings.ReplaceAll(strings.ReplaceAll(e.Data, "\r\n", "\n"), "\r", "\n"), "\n") {
		b.WriteString("data: " + line + "\n")
	}
	b.WriteString("\n")
	return s.write(b.String())
}

// write hands text to the connection within streamWrite.
func (s *stream) write(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	// A writer without deadlines (a test's) is not an error.
	_ = s.control.SetWriteDeadline(time.Now().Add(streamWrite))
	if _, err := s.w.Write([]byte(text)); err != nil {
		return errStreamOver
	}
	if err := s.control.Flush(); err != nil {
		return errStreamOver
	}
	return nil
}

// end takes the deadline back: the connection may carry further requests.
func (s *stream) end() { _ = s.control.SetWriteDeadline(time.Time{}) }

func oneLine(s string) string {
	return strings.NewReplacer("\r", " ", "\n", " ", "\x00", "").Replace(s)
}
