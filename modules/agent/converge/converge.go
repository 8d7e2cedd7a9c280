// Package converge makes the Docker Engine of this server match the desired entries: networks, volumes and containers,
// with their health, addresses and a truthful report of them.
//
// It is level-triggered: every change of the desired list, event of Docker, result of a probe and a slow sweep cause a
// pass that lists what is, plans (a pure function) and acts; running it twice changes nothing. It removes only what a
// tombstone names, never touches what does not carry this server's label, and only reports what carries it and was not
// asked for. It speaks to nobody but Docker and the containers: what it finds is read through Statuses and Addresses.
package converge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/internal/docker"
)

// DefaultPool is where environments get their subnets from: 4096 of 256 addresses each. It is the upper part of 10/8,
// which clouds, Kubernetes, VPNs and Docker itself use least.
var DefaultPool = netip.MustParsePrefix("10.192.0.0/12") //nolint:gochecknoglobals // a constant

// Deps is what a Converger needs.
type Deps struct {
	Docker     *docker.Engine
	ServerID   string       // whose containers these are; labels every thing we make
	Dir        string       // keeps what must survive a restart of the agent: addresses, outcomes
	Pool       netip.Prefix // zero: DefaultPool
	SubnetBits int          // zero: 24
	Registry   string       // "127.0.0.1:PORT": images are pulled as Registry/repository@digest
	// Secrets fetches the variables of an instance; only called for instances with a variables version.
	Secrets func(ctx context.Context, instanceID string) (map[string]string, error)
	// InFlight tells how many requests the gateway still has open to an instance.
	InFlight func(ctx context.Context, instanceID string) (uint32, error)
	Logger   *slog.Logger
	Now      func() time.Time

	Sweep      time.Duration // between full passes when nothing happens; zero: 30 s
	ImageDelay time.Duration // how long an image of ours stays that no entry names; zero: 1 h; negative: for ever
	Proc       string        // zero: /proc
}

// Open makes the connection to Docker that Deps needs; an empty host is Docker's default socket.
func Open(host string) (*docker.Engine, error) { return docker.Open(host) }

// EngineInfo is what ServerInfo tells about Docker.
type EngineInfo struct {
	Version     string
	Error       string // empty: it answered the last time we asked
	CPUs        uint32
	MemoryBytes uint64
	Root        string // Docker's directory, for the free space of its disk
}

// Converger keeps one Engine like the desired entries.
type Converger struct {
	deps   Deps
	ledger *ledger

	wake             chan struct{} // a pass is due
	changed          chan struct{}
	addressesChanged chan struct{}
	pulls            chan struct{} // bounds what runs at once
	starts           chan struct{}
	stops            chan struct{}
	bridges          chan struct{}
	work             sync.WaitGroup
	life             context.Context // of Run; monitors live in it

	mu       sync.Mutex
	entries  []*agentv1.Entry
	given    bool // SetDesired was called: without a list nothing is judged unknown
	desired  desired
	decoded  map[string]decodedEntry
	seen     observed // of the last pass
	keys     map[string]keyState
	jobs     map[string]*job
	retries  map[string]retry
	monitors map[string]*monitor
	byHand   map[string]bool // containers that were sent a signal, not by us
	strays   []stray
	engine   EngineInfo
	away     bool                 // Docker did not answer; its return excuses stopped containers
	unused   map[string]time.Time // names of images, since when
	deleted  map[string]bool      // repositories of deleted projects
	dropped  chan struct{}        // their images can go
}

// keyState is the state of an environment or a volume.
type keyState struct {
	state   agentv1.KeyStatus_State
	message string
}

// New reads what Dir remembers. Nothing runs before Run.
func New(d Deps) (*Converger, error) {
	if d.Docker == nil || d.ServerID == "" || d.Dir == "" || d.Registry == "" || d.Secrets == nil || d.InFlight == nil {
		return nil, errors.New("converge needs docker, server id, directory, registry, secrets and in-flight")
	}
	defaults(&d)
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make converge directory: %w", err)
	}
	l, err := openLedger(d.Dir, d.Pool, d.SubnetBits, d.Now)
	if err != nil {
		return nil, err
	}
	return &Converger{
		deps: d, ledger: l,
		wake: make(chan struct{}, 1), changed: make(chan struct{}, 1), addressesChanged: make(chan struct{}, 1),
		// Docker starts hardly faster in parallel than alone (it locks network set-up); more at once only delay the first.
		pulls: make(chan struct{}, 3), starts: make(chan struct{}, 4), stops: make(chan struct{}, 8), bridges: make(chan struct{}, 4),
		decoded: map[string]decodedEntry{}, keys: map[string]keyState{}, jobs: map[string]*job{}, retries: map[string]retry{},
		away:     true, // the machine may have been away with us
		monitors: map[string]*monitor{}, byHand: map[string]bool{}, unused: map[string]time.Time{}, deleted: map[string]bool{}, dropped: make(chan struct{}, 1),
	}, nil
}

func defaults(d *Deps) {
	if !d.Pool.IsValid() {
		d.Pool = DefaultPool
	}
	if d.SubnetBits == 0 {
		d.SubnetBits = 24
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Sweep == 0 {
		d.Sweep = 30 * time.Second
	}
	if d.ImageDelay == 0 {
		d.ImageDelay = time.Hour
	}
	if d.Proc == "" {
		d.Proc = "/proc"
	}
}

// SetDesired replaces the whole desired list, live entries and tombstones; it keeps the slice. Entries that are missing
// are not stopped: what still runs of them is reported as quarantined.
func (c *Converger) SetDesired(entries []*agentv1.Entry) {
	c.mu.Lock()
	c.entries, c.given = entries, true
	c.mu.Unlock()
	signal(c.wake)
}

// Changed receives after Statuses may give something new.
func (c *Converger) Changed() <-chan struct{} { return c.changed }

// AddressesChanged receives after Addresses may give something new.
func (c *Converger) AddressesChanged() <-chan struct{} { return c.addressesChanged }

// Engine tells what is known about Docker.
func (c *Converger) Engine() EngineInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.engine
}

// Run converges until ctx ends, then waits for what it started. It stops no container. It returns nil.
func (c *Converger) Run(ctx context.Context) error {
	c.life = ctx
	defer c.work.Wait()
	defer c.ledger.flush() //nolint:errcheck // the last truth is written with every change that matters; this is a courtesy
	c.work.Go(func() { c.listen(ctx) })
	sweep := time.NewTicker(c.deps.Sweep)
	defer sweep.Stop()
	signal(c.wake)
	pause := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		case <-c.dropped:
			c.collectImages(ctx)
		case <-sweep.C:
			c.collectImages(ctx)
		case <-after(pause):
		}
		pause = c.attempt(ctx, pause)
	}
}

// attempt makes a pass and says how long to wait before the next one, 0: until something happens.
func (c *Converger) attempt(ctx context.Context, before time.Duration) time.Duration {
	err := c.pass(ctx)
	if err == nil || ctx.Err() != nil {
		return 0
	}
	if c.noteEngineError(err) {
		c.deps.Logger.Warn("docker engine does not answer", "error", err)
	}
	return min(max(2*before, 200*time.Millisecond), 5*time.Second)
}

// listen turns Docker's events into wake-ups. The stream has no memory, so each new one is followed by a pass.
func (c *Converger) listen(ctx context.Context) {
	pause := 100 * time.Millisecond
	for ctx.Err() == nil {
		start := c.deps.Now()
		_ = c.deps.Docker.Events(ctx, labelServer+"="+c.deps.ServerID, c.missedEvents, c.event)
		signal(c.wake)
		if c.deps.Now().Sub(start) > time.Minute {
			pause = 100 * time.Millisecond
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
			pause = min(2*pause, 3*time.Second)
		}
	}
}

// missedEvents makes everybody look again: something may have happened while no stream was open.
func (c *Converger) missedEvents() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.monitors {
		signal(m.poke)
	}
	signal(c.wake)
}

// event wakes who cares. Our own probes cause exec events, which nobody does.
func (c *Converger) event(e docker.Event) {
	switch e.Action {
	case "kill":
		c.mu.Lock()
		if j := c.jobs[instanceKey(e.Labels[labelInstance])]; j == nil {
			c.byHand[e.ID] = true
		}
		c.mu.Unlock()
	case "die", "oom", "start", "stop", "destroy", "update", "pause", "unpause", "connect", "disconnect":
		c.mu.Lock()
		for _, m := range c.monitors {
			if m.container == e.ID {
				signal(m.poke)
			}
		}
		c.mu.Unlock()
		signal(c.wake)
	}
}

// noteEngineError remembers that Docker is away and reports whether that is news.
func (c *Converger) noteEngineError(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	news := c.engine.Error == ""
	c.engine.Error, c.away = err.Error(), true
	if news {
		signal(c.changed)
	}
	return news
}

// signal puts a token into a channel of capacity one, where one is enough.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// after is time.After that never comes for 0.
func after(d time.Duration) <-chan time.Time {
	if d <= 0 {
		return nil
	}
	return time.After(d)
}
