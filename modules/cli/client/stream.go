package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	mostLine       = 2 << 20          // bytes of one line of a stream
	mostEvent      = 4 << 20          // bytes of one event
	streamSilence  = 50 * time.Second // the panel pings every 15 s: after this the connection is dead
	streamAttempts = 8                // in a row, without one event between
	streamMostWait = 15 * time.Second
)

// Event is one server-sent event.
type Event struct {
	ID, Name string
	Data     []byte
}

// Stream is a stream of events. It is read with Each.
type Stream struct {
	c    *Client
	r    request
	last string
}

func (c *Client) stream(r request) *Stream { return &Stream{c: c, r: r} }

var (
	errStreamBroke = errors.New("the stream broke off")
	errSilent      = errors.New("the panel says nothing any more")
)

// Each gives every event to fn until the server says that the stream has ended (nil), fn fails, ctx ends, or the panel
// refuses. A connection that breaks is made again where it broke, up to eight times in a row.
func (s *Stream) Each(ctx context.Context, fn func(Event) error) error {
	for failed := 0; ; {
		heard, err := s.once(ctx, fn)
		if heard {
			failed = 0
		}
		if failed++; err == nil || ctx.Err() != nil || !broken(err) || failed >= streamAttempts {
			return interrupted(ctx, err)
		}
		wait := min(backoff(min(failed, 5)), streamMostWait)
		s.c.o.Waiting(wait, err)
		if err := s.c.o.Wait(ctx, wait); err != nil {
			return err
		}
	}
}

// broken: the connection, not the reader and not the panel's will.
func broken(err error) bool {
	var u *UnreachableError
	return errors.As(err, &u) || again(err, true)
}

// once reads one connection. It reports whether an event came.
func (s *Stream) once(ctx context.Context, fn func(Event) error) (heard bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(streamSilence, func() { cancel(errSilent) })
	defer silence.Stop()
	req, err := s.c.build(ctx, s.r)
	if err != nil {
		return false, err
	}
	req.Header.Set("Accept", "text/event-stream, application/problem+json")
	if s.last != "" {
		req.Header.Set("Last-Event-ID", s.last)
	}
	res, err := s.c.http.Do(req)
	if err != nil {
		return false, s.c.unreachable(err)
	}
	defer func() { _ = res.Body.Close() }() // read only
	if res.StatusCode != http.StatusOK {
		return false, problemOf(res)
	}
	lines := bufio.NewReaderSize(res.Body, 64<<10)
	for {
		e, err := readEvent(lines, func() { silence.Reset(streamSilence) })
		if err != nil {
			return heard, s.c.unreachable(errors.Join(errStreamBroke, context.Cause(ctx)))
		}
		over, err := s.handle(e, fn)
		if heard = true; over || err != nil {
			return heard, err
		}
	}
}

// handle reports whether the stream is over for good.
func (s *Stream) handle(e Event, fn func(Event) error) (bool, error) {
	switch e.Name {
	case "end":
		return true, nil
	case "error":
		return true, streamProblem(e.Data)
	}
	if err := fn(e); err != nil {
		return true, err
	}
	if e.ID != "" {
		s.last = e.ID
	}
	return false, nil
}

// streamProblem is what a panel says when it ends a stream that had begun.
func streamProblem(data []byte) error {
	e := &ProblemError{Problem: Problem{Code: "stream_failed", Detail: "The panel ended the stream.", Status: http.StatusInternalServerError}}
	var said struct{ Code, Detail string }
	if json.Unmarshal(data, &said) == nil && said.Detail != "" {
		e.Code, e.Detail = said.Code, said.Detail
	}
	return e
}

// readEvent reads up to the next event that has data or a name. Anything read, a ping too, is a sign of life.
func readEvent(r *bufio.Reader, alive func()) (Event, error) {
	var e Event
	var data strings.Builder
	for {
		line, err := readLine(r)
		if err != nil {
			return e, err
		}
		alive()
		if line == "" {
			if e.Name != "" || data.Len() > 0 {
				e.Data = []byte(strings.TrimSuffix(data.String(), "\n"))
				return e, nil
			}
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			e.ID = value
		case "event":
			e.Name = value
		case "data":
			if data.Len()+len(value) > mostEvent {
				return e, errors.New("event is too long")
			}
			data.WriteString(value + "\n")
		}
	}
}

// readLine reads a line of bounded length without its end.
func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if line = append(line, part...); len(line) > mostLine {
			return "", errors.New("line is too long")
		}
		if err == nil {
			return strings.TrimRight(string(line), "\r\n"), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return "", io.ErrUnexpectedEOF
		}
	}
}
