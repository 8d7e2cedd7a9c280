// Package link is the agent's conversation with one manager at a time: the session, and the streams it asks for.
//
// It dials the managers' addresses in turn, says hello, hands what comes to the ledger, and sends up what really is: a
// full report first, then only what changed, and a heartbeat with a digest each beat. Nothing that happens to the
// connection changes what runs on the server. It decides nothing about desired state (the ledger does) and stores nothing.
package link

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/internal/backoff"
	"pandu/modules/agent/internal/ledger"
)

// Protocol is the newest version of the protocol that this agent speaks.
const Protocol = 1

const (
	defaultBeat = 5 * time.Second
	maxMessage  = 4 << 20 // bytes
	maxLogs     = 8       // logs sent at once
)

// Deps is what a Link needs. All but Ping and Logger are required.
type Deps struct {
	Addresses    []string // host:port of the managers
	TLS          *tls.Config
	Ledger       *ledger.Ledger
	Version      string
	Capabilities []string
	Server       func() *agentv1.ServerInfo // cheap: asked each beat
	Statuses     func() ([]*agentv1.InstanceStatus, []*agentv1.KeyStatus)
	Desired      func(agentv1.Stream) // a stream of the ledger changed; returns at once
	// Logs reads a log and gives it to send until it ends, ctx ends, or send fails.
	Logs   func(ctx context.Context, req *agentv1.LogRequest, send func(*agentv1.LogChunk) error) error
	Ping   time.Duration // a connection without a byte for this long is pinged, and left after two more; zero: 5 s
	Logger *slog.Logger
}

// Link keeps a session open. It is safe for concurrent use.
type Link struct {
	deps  Deps
	start int // index of the first address

	mu      sync.Mutex
	state   State
	live    *session
	applied map[agentv1.Stream]*agentv1.Applied
}

// Phase is how far a connection has come.
type Phase string

// The phases.
const (
	Connecting Phase = "connecting"
	Connected  Phase = "connected"
	Observing  Phase = "observing" // the manager did not issue what we hold: nothing changes
	Waiting    Phase = "waiting"   // for the next attempt
)

// State is what the ops page shows of a link.
type State struct {
	Phase    Phase
	Address  string // of the manager we are connected to, or tried last
	Session  uint64 // its number
	Reason   string // of Observing
	Since    time.Time
	Problem  string // why the last session ended; empty while connected
	Attempts uint64 // since the start
}

// New makes a link; Run works it. At least one address is needed.
func New(d Deps) (*Link, error) {
	if len(d.Addresses) == 0 {
		return nil, errors.New("no manager address is known")
	}
	if d.Ping == 0 {
		d.Ping = defaultBeat
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	return &Link{
		deps: d, start: rand.N(len(d.Addresses)), applied: map[agentv1.Stream]*agentv1.Applied{}, state: State{Phase: Waiting},
	}, nil
}

// State tells where the link stands.
func (l *Link) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

// Changed says that Statuses may give something new.
func (l *Link) Changed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.live != nil {
		l.live.out.note(func(o *outbox) { o.changed = true })
	}
}

// Applied says that a revision of a stream is acted on: it is acknowledged now, and again in every session to come.
func (l *Link) Applied(stream agentv1.Stream, epoch *agentv1.Epoch, revision uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ack := &agentv1.Applied{Stream: stream, Epoch: epoch, Revision: revision}
	if proto.Equal(l.applied[stream], ack) {
		return
	}
	l.applied[stream] = ack
	if l.live != nil {
		l.live.out.note(func(o *outbox) { o.acks[stream] = ack })
	}
}

// Run holds one session after the other until ctx ends. It returns nil.
func (l *Link) Run(ctx context.Context) error {
	wait := &backoff.Backoff{}
	for attempt := l.start; ; attempt++ {
		address := l.deps.Addresses[attempt%len(l.deps.Addresses)]
		err := l.hold(ctx, address)
		if ctx.Err() != nil {
			return nil
		}
		pause := l.pause(err, wait)
		l.ended(ctx, address, err, pause)
		if !backoff.Sleep(ctx, pause) {
			return nil
		}
	}
}

// pause is how long to wait after a session: what a manager that said goodbye asked for, else the next step back.
func (l *Link) pause(err error, wait *backoff.Backoff) time.Duration {
	var bye *goodbyeError
	if errors.As(err, &bye) {
		wait.Reset()
		after := min(max(bye.after, 0), time.Minute)
		return after + rand.N(after/2+100*time.Millisecond)
	}
	var end *endError
	if errors.As(err, &end) && end.stable {
		wait.Reset()
	}
	return wait.Next()
}

func (l *Link) ended(ctx context.Context, address string, err error, pause time.Duration) {
	l.mu.Lock()
	before := l.state
	l.state.Phase, l.state.Session, l.state.Reason, l.state.Problem = Waiting, 0, "", err.Error()
	l.state.Since = time.Now()
	l.mu.Unlock()
	if before.Session != 0 || before.Problem != err.Error() {
		l.deps.Logger.WarnContext(ctx, "not connected to a manager", "address", address, "error", err, "retry_in", pause)
	}
}

func (l *Link) connecting(address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.Phase, l.state.Address, l.state.Since = Connecting, address, time.Now()
	l.state.Attempts++
}

// welcomed makes s the live session and queues what every session begins with.
func (l *Link) welcomed(s *session, w *agentv1.Welcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live = s
	l.state.Phase, l.state.Session, l.state.Problem, l.state.Reason, l.state.Since = Connected, w.GetSession(), "", "", time.Now()
	s.out.note(func(o *outbox) {
		o.full = true
		for stream, ack := range l.applied {
			o.acks[stream] = ack
		}
	})
}

func (l *Link) observing(reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.Phase, l.state.Reason = Observing, reason
}

func (l *Link) left(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.live == s {
		l.live = nil
	}
}

// transport makes a connection of its own for one session, which finds out by itself when the other end is silent.
func (l *Link) transport() *http.Transport {
	return &http.Transport{
		TLSClientConfig:     l.deps.TLS.Clone(), // a transport changes its configuration
		ForceAttemptHTTP2:   true,
		TLSHandshakeTimeout: 10 * time.Second,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: l.deps.Ping, PingTimeout: 2 * l.deps.Ping},
	}
}
