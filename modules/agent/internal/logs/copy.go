package logs

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/moby/moby/client"

	"pandu/modules/agent/agentv1"
)

// copier copies the output of one container into the stream of its instance.
type copier struct {
	service   *Service
	stream    *stream
	id        string
	container uint32
	from      mark
	budget    budget
	pending   []record
	bytes     int
}

// copy copies until the container stops (nil), ctx ends, or the Engine breaks off.
func (s *Service) copy(ctx context.Context, containerID, instanceID string) error {
	st, err := s.acquire(instanceKey(instanceID), true)
	if err != nil {
		return err
	}
	defer s.release(instanceKey(instanceID), st)
	c := &copier{service: s, stream: st, id: containerID, container: containerHash(containerID), budget: newBudget(s.deps.Rate, s.deps.Now())}
	if c.from, err = st.resume(c.container); err != nil {
		return err
	}
	for {
		behind, err := c.session(ctx)
		if err != nil || !behind {
			return err
		}
		c.jump()
	}
}

// session is one connection to the Engine. behind says that it was given up because the container prints faster than
// may be read.
func (c *copier) session(ctx context.Context) (behind bool, err error) {
	options := client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Timestamps: true, Follow: true}
	if since := c.from.since(); !since.IsZero() {
		options.Since = fmt.Sprintf("%d.%09d", since.Unix(), since.Nanosecond())
	}
	body, err := c.service.engine.ContainerLogs(ctx, c.id, options)
	if err != nil {
		return false, fmt.Errorf("read container log: %w", err)
	}
	defer body.Close()
	in := bufio.NewReaderSize(body, 64<<10)
	for !behind {
		var f frame
		if f, err = readFrame(in); err != nil {
			break
		}
		behind = c.take(ctx, f)
		if in.Buffered() == 0 || c.bytes >= 64<<10 {
			if err = c.flush(); err != nil {
				return false, err
			}
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	c.note()
	return behind, errors.Join(err, c.flush())
}

// take keeps one line, drops it, or finds that it is known. It reports whether the copy has fallen hopelessly behind.
func (c *copier) take(ctx context.Context, f frame) (behind bool) {
	if c.from.knows(f.source, f.at) {
		return false
	}
	now := c.service.deps.Now()
	if c.budget.keep(now, len(f.text)) {
		c.note()
		c.pending = append(c.pending, split(f.source, c.container, f.at, f.text)...)
		c.bytes += len(f.text)
		c.budget.last = f.at
		return false
	}
	c.budget.dropped++
	c.budget.last = f.at
	if c.budget.overread(len(f.text)) { // the Engine burns a core to send what nobody keeps
		pause(ctx, overreadPause)
	}
	return now.Sub(f.at) > lagLimit
}

// note writes how many lines were dropped before the line that is kept now.
func (c *copier) note() {
	if c.budget.dropped == 0 {
		return
	}
	text := fmt.Sprintf("%d lines were dropped here: this container prints more than %d KiB a second.", c.budget.dropped, c.service.deps.Rate>>10)
	c.pending = append(c.pending, record{source: agentv1.LogLine_SOURCE_PANDU, at: c.budget.last, text: text})
	c.budget.dropped = 0
}

// jump goes on with what the container prints from now on.
func (c *copier) jump() {
	now := c.service.deps.Now()
	text := fmt.Sprintf("All lines from %s on were skipped: this container prints faster than may be read.", c.budget.last.Format(time.RFC3339))
	c.pending = append(c.pending, record{source: agentv1.LogLine_SOURCE_PANDU, at: now, text: text})
	c.from = mark{jump: now}
}

func (c *copier) flush() error {
	if len(c.pending) == 0 {
		return nil
	}
	err := c.stream.append(c.pending...)
	c.pending, c.bytes = c.pending[:0], 0
	return err
}

// frame is one message of the Engine.
type frame struct {
	source agentv1.LogLine_Source
	at     time.Time
	text   string
}

var errFrame = errors.New("engine sent a log frame that is none")

// maxFrame is far above the 16 KiB that the Engine puts into one message.
const maxFrame = 1 << 20

// readFrame reads a header of eight bytes (stream, three zeros, length) and the message: RFC 3339 time, space, text.
func readFrame(in *bufio.Reader) (frame, error) {
	var h [8]byte
	if _, err := io.ReadFull(in, h[:]); err != nil {
		return frame{}, err
	}
	length := binary.BigEndian.Uint32(h[4:])
	if h[0] < 1 || h[0] > 2 || h[1] != 0 || h[2] != 0 || h[3] != 0 || length > maxFrame {
		return frame{}, errFrame
	}
	message := make([]byte, length)
	if _, err := io.ReadFull(in, message); err != nil {
		return frame{}, err
	}
	return parseFrame(h[0], message)
}

func parseFrame(stream byte, message []byte) (frame, error) {
	f := frame{source: agentv1.LogLine_SOURCE_STDOUT}
	if stream == 2 {
		f.source = agentv1.LogLine_SOURCE_STDERR
	}
	stamp, text, found := cutByte(message, ' ')
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	if !found || err != nil {
		return frame{}, errFrame
	}
	f.at, f.text = at.UTC(), string(text)
	return f, nil
}
