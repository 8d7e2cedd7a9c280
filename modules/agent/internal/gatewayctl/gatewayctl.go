// Package gatewayctl is the agent's hand on the gateway beside it: it leaves routes and addresses in the gateway's
// directory, says on its socket that they changed, and knows what is served.
//
// The gateway outlives the agent and needs nothing from it: what is written here is complete, and nothing is written
// before it is known, so that an agent that just started never empties what is being served. Where told to, it starts a
// gateway as a process of its own when none answers. It never stops one and carries no traffic.
package gatewayctl

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/agentv1/agentv1connect"
	"pandu/modules/agent/internal/backoff"
	"pandu/modules/kit/run"
)

const (
	callTimeout = 10 * time.Second
	fresh       = 100 * time.Millisecond // how old a status may be that draining asks for
)

// Deps is what a Control needs.
type Deps struct {
	Dir     string // the gateway's directory
	Start   *run.Command
	Served  func(epoch *agentv1.Epoch, revision uint64) // the gateway serves our routes of this revision; nil: nobody asks
	Changed func()                                      // Status may give something new; nil: nobody asks
	Check   time.Duration                               // how often a gateway that has nothing to do is asked whether it lives; zero: 5 s
	Logger  *slog.Logger
}

// Control is safe for concurrent use.
type Control struct {
	deps   Deps
	http   *http.Transport
	client agentv1connect.GatewayServiceClient
	wake   chan struct{}
	starts backoff.Backoff
	next   time.Time // no gateway is started before

	mu     sync.Mutex
	routes *agentv1.RouteTable // to be written; nil: nothing new
	book   *agentv1.AddressBook
	unsaid bool                // something written has not been applied
	ours   *agentv1.RouteTable // epoch and revision written last
	state  State

	asking sync.Mutex // one question for InFlight at a time
	asked  time.Time
	flight map[string]uint32
}

// State is what is known about the gateway.
type State struct {
	Status *agentv1.GatewayStatus // the last one; nil: none answered yet
	Error  string                 // why there is no newer one, or why it refused; empty: all is well
}

// New makes the directory and a control. Nothing happens before Run.
func New(d Deps) (*Control, error) {
	if d.Check == 0 {
		d.Check = 5 * time.Second
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	if d.Served == nil {
		d.Served = func(*agentv1.Epoch, uint64) {}
	}
	if d.Changed == nil {
		d.Changed = func() {}
	}
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make gateway directory: %w", err)
	}
	transport, client := dial(d.Dir)
	return &Control{
		deps: d, http: transport, wake: make(chan struct{}, 1), client: client, state: State{Error: "no gateway has answered yet"},
	}, nil
}

// dial makes a client of the gateway in a directory; nothing is connected yet.
func dial(dir string) (*http.Transport, agentv1connect.GatewayServiceClient) {
	socket := filepath.Join(dir, agentv1.GatewaySocketFile)
	transport := &http.Transport{MaxIdleConnsPerHost: 2, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", socket)
	}}
	return transport, agentv1connect.NewGatewayServiceClient(&http.Client{Transport: transport}, "http://gateway")
}

// SetRoutes says what the gateway shall serve: the live entries of the routes stream. Before the first snapshot of this
// server's life (epoch 0) nothing is known, so nothing is written.
func (c *Control) SetRoutes(epoch *agentv1.Epoch, revision uint64, entries []*agentv1.Entry) {
	if epoch.GetNumber() == 0 {
		return
	}
	table := &agentv1.RouteTable{Epoch: epoch, Revision: revision}
	for _, e := range entries {
		if e.GetTombstone() {
			continue
		}
		set := &agentv1.RouteSet{}
		if err := proto.Unmarshal(e.GetBody(), set); err != nil {
			c.deps.Logger.Error("route set does not decode and is left out", "key", e.GetKey(), "error", err)
			continue
		}
		table.Sets = append(table.Sets, set)
	}
	c.mu.Lock()
	c.routes = table
	c.mu.Unlock()
	c.nudge()
}

// SetAddresses says where the instances are. Call it only with what is really known, never with an empty beginning.
func (c *Control) SetAddresses(addresses []*agentv1.Address, networks []*agentv1.Network) {
	c.mu.Lock()
	c.book = &agentv1.AddressBook{Addresses: addresses, Networks: networks}
	c.mu.Unlock()
	c.nudge()
}

func (c *Control) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// State tells what is known.
func (c *Control) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Run keeps the gateway up to date, and alive where told so, until ctx ends. It returns nil and leaves the gateway running.
func (c *Control) Run(ctx context.Context) error {
	defer c.http.CloseIdleConnections()
	again := &backoff.Backoff{First: 50 * time.Millisecond, Most: c.deps.Check}
	var pause time.Duration
	for {
		status, err := c.round(ctx)
		if ctx.Err() != nil {
			return nil
		}
		c.note(status, err)
		if err == nil {
			c.acknowledge(status)
			again.Reset()
			pause = c.deps.Check
		} else {
			pause = again.Next()
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-c.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// round writes what is new, tells the gateway, and otherwise asks whether it lives.
func (c *Control) round(ctx context.Context) (*agentv1.GatewayStatus, error) {
	if err := c.write(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c.mu.Lock()
	unsaid := c.unsaid
	c.mu.Unlock()
	status, err := c.call(ctx, unsaid)
	if away(err) {
		if startErr := c.start(); startErr != nil {
			return nil, startErr
		}
		return nil, fmt.Errorf("no gateway answers: %w", err)
	}
	if err != nil {
		return nil, err
	}
	c.starts.Reset()
	if unsaid {
		c.mu.Lock()
		c.unsaid = false
		c.mu.Unlock()
	}
	return status, nil
}

func (c *Control) call(ctx context.Context, apply bool) (*agentv1.GatewayStatus, error) {
	if apply {
		res, err := c.client.Apply(ctx, connect.NewRequest(&agentv1.ApplyRequest{}))
		if err != nil {
			return nil, fmt.Errorf("apply routes: %w", err)
		}
		return res.Msg, nil
	}
	res, err := c.client.Status(ctx, connect.NewRequest(&agentv1.GatewayStatusRequest{}))
	if err != nil {
		return nil, fmt.Errorf("ask gateway: %w", err)
	}
	return res.Msg, nil
}

// away reports that nobody listens on the socket, as against a gateway that refuses.
func away(err error) bool {
	var op *net.OpError
	return err != nil && (errors.As(err, &op) || connect.CodeOf(err) == connect.CodeUnavailable)
}

// acknowledge says what is served. Only exactly what we wrote counts: a gateway that is ahead was told by somebody else.
func (c *Control) acknowledge(status *agentv1.GatewayStatus) {
	c.mu.Lock()
	ours := c.ours
	c.mu.Unlock()
	if ours != nil && proto.Equal(status.GetEpoch(), ours.GetEpoch()) && status.GetRevision() == ours.GetRevision() {
		c.deps.Served(ours.GetEpoch(), ours.GetRevision())
	}
}

// note remembers a round's outcome and logs it when it is news.
func (c *Control) note(status *agentv1.GatewayStatus, err error) {
	c.mu.Lock()
	before := c.state
	if err != nil {
		c.state.Error = err.Error()
	} else {
		c.state = State{Status: status}
	}
	after := c.state
	c.mu.Unlock()
	switch {
	case err != nil && before.Error != after.Error:
		c.deps.Logger.Warn("gateway is not up to date", "error", err)
	case err == nil && before.Error != "":
		c.deps.Logger.Info("gateway is up to date", "pid", status.GetPid(), "revision", status.GetRevision())
	}
	if before.Error != after.Error || before.Status.GetPid() != after.Status.GetPid() {
		c.deps.Changed()
	}
}

// InFlight is how many requests and connections the gateway has open to an instance. The answer is at most 100 ms old.
func (c *Control) InFlight(ctx context.Context, instanceID string) (uint32, error) {
	c.asking.Lock()
	defer c.asking.Unlock()
	if time.Since(c.asked) > fresh {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		status, err := c.call(ctx, false)
		if err != nil {
			return 0, err
		}
		c.flight, c.asked = status.GetInFlight(), time.Now()
	}
	return c.flight[instanceID], nil
}
