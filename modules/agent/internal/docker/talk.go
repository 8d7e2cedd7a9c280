package docker

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
)

// outputLimit bounds what is read of a log's end or a command's output.
const outputLimit = 64 << 10

// LastLines reads the last n lines a container wrote, oldest first, each at most 2 KiB of valid UTF-8.
func (e *Engine) LastLines(ctx context.Context, id string, n int) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, quick)
	defer cancel()
	r, err := e.c.ContainerLogs(ctx, id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: strconv.Itoa(n)})
	if err != nil {
		return nil, classify("read container log", err)
	}
	defer func() { _ = r.Close() }()
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &out, io.LimitReader(r, 1<<20)); err != nil && out.Len() == 0 {
		return nil, classify("read container log", err)
	}
	text := strings.TrimRight(strings.ToValidUTF8(out.String(), "�"), "\n")
	if text == "" {
		return nil, nil
	}
	lines := strings.Split(text, "\n")
	lines = lines[max(0, len(lines)-n):]
	for i, l := range lines {
		lines[i] = strings.ToValidUTF8(strings.ReplaceAll(l[:min(len(l), 2048)], "\x00", ""), "")
	}
	return lines, nil
}

// Exec runs argv inside a running container and returns its exit status and the beginning of what it wrote. When timeout
// is over it returns an error; Docker has no way to end the program then, the container's pids limit bounds it.
func (e *Engine) Exec(ctx context.Context, id string, argv []string, timeout time.Duration) (int, string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	x, err := e.c.ExecCreate(ctx, id, client.ExecCreateOptions{Cmd: argv, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return 0, "", classify("create exec", err)
	}
	a, err := e.c.ExecAttach(ctx, x.ID, client.ExecAttachOptions{})
	if err != nil {
		return 0, "", classify("start exec", err)
	}
	defer a.Close()
	stop := context.AfterFunc(ctx, a.Close)
	defer stop()
	out := &limited{}
	_, _ = stdcopy.StdCopy(out, out, a.Reader)
	if ctx.Err() != nil {
		return 0, out.String(), fmt.Errorf("run command: no answer within %s", timeout)
	}
	r, err := e.c.ExecInspect(ctx, x.ID, client.ExecInspectOptions{})
	if err != nil {
		return 0, "", classify("inspect exec", err)
	}
	return r.ExitCode, strings.TrimSpace(strings.ToValidUTF8(out.String(), "�")), nil
}

// limited keeps the first bytes and swallows the rest.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	l.Buffer.Write(p[:min(len(p), max(0, outputLimit-l.Len()))])
	return len(p), nil
}

// Event says that something happened to a thing of ours.
type Event struct {
	Kind   string // container, network, volume
	Action string // start, die, kill, stop, destroy, update, connect, disconnect …
	ID     string
	Labels map[string]string // of a container, with attributes such as exitCode and signal beside them
}

// Events calls handle for each event of containers with the label (key=value) and of networks, until ctx ends or the
// stream breaks. What happened before the call or between two calls is not told: list again after each return.
// connected is called once when the stream is open.
func (e *Engine) Events(ctx context.Context, label string, connected func(), handle func(Event)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	filters := make(client.Filters).Add("type", "container", "network")
	r := e.c.Events(ctx, client.EventsListOptions{Filters: filters}) // returns when the request was answered
	connected()
	key, value, _ := strings.Cut(label, "=")
	for {
		select {
		case m := <-r.Messages:
			if m.Type == events.ContainerEventType && m.Actor.Attributes[key] != value {
				continue
			}
			handle(Event{Kind: string(m.Type), Action: string(m.Action), ID: containerOf(m), Labels: m.Actor.Attributes})
		case err := <-r.Err:
			if err == nil {
				err = io.EOF
			}
			return classify("read docker events", err)
		}
	}
}

// containerOf is what an event is about: for a network the container that was connected or disconnected.
func containerOf(m events.Message) string {
	if m.Type == events.NetworkEventType && m.Actor.Attributes["container"] != "" {
		return m.Actor.Attributes["container"]
	}
	return m.Actor.ID
}
