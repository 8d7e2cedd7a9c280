package converge

import (
	"context"
	"fmt"
	"time"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/internal/docker"
	"pandu/modules/spec"
)

// Times of probing.
const (
	defaultGate     = 60 * time.Second
	defaultInterval = 5 * time.Second
	defaultTimeout  = 5 * time.Second
	defaultRetries  = 3
	settle          = 1500 * time.Millisecond // a program without a check is ready when it has run this long
	firstPause      = 5 * time.Millisecond    // most programs listen a moment after they start, and somebody waits for it
	relook          = time.Minute             // without any event, a container that is well is inspected this often
	longestPause    = time.Second
)

// monitor probes one container: first as the gate of a new instance, then for as long as it lives.
type monitor struct {
	c         *Converger
	instance  *instance
	container string
	poke      chan struct{} // Docker told something about it
	cancel    context.CancelFunc

	image    docker.Image
	check    spec.Health
	begun    time.Time // of the gate
	run      string    // StartedAt of the run that is probed
	runSince time.Time // when this run was first seen
	failures int       // in a row
	pause    time.Duration
	crowded  int // looks in a row that found several ports
	details  docker.Details
	looked   time.Time // when details were read
}

// watchAll starts and ends monitors so that exactly the containers in the plan are probed.
func (c *Converger) watchAll(d desired, p plan, busy map[string]bool) {
	for id, containerID := range p.watch {
		if !busy[instanceKey(id)] {
			c.watch(d.instances[id], containerID)
		}
	}
	c.mu.Lock()
	var end []string
	for id := range c.monitors {
		if _, on := p.watch[id]; !on && !busy[instanceKey(id)] && c.jobs[instanceKey(id)] == nil {
			end = append(end, id)
		}
	}
	c.mu.Unlock()
	for _, id := range end {
		// Started by a job that ended after this pass had looked: the next pass sees its container.
		if i := d.instances[id]; i == nil || i.tombstone || c.ledger.record(id).Outcome {
			c.unwatch(id)
		}
	}
}

// watch begins to probe a container, unless it is probed already.
func (c *Converger) watch(i *instance, containerID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.monitors[i.id]; m != nil {
		if m.container == containerID {
			return
		}
		m.cancel()
	}
	ctx, cancel := context.WithCancel(c.life)
	m := &monitor{c: c, instance: i, container: containerID, poke: make(chan struct{}, 1), cancel: cancel, begun: c.deps.Now()}
	c.monitors[i.id] = m
	c.work.Go(func() {
		m.loop(ctx)
		cancel()
		c.mu.Lock()
		if c.monitors[i.id] == m {
			delete(c.monitors, i.id)
		}
		c.mu.Unlock()
		signal(c.wake)
	})
}

func (c *Converger) unwatch(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.monitors[id]; m != nil {
		m.cancel()
		delete(c.monitors, id)
	}
}

// loop probes until the container is gone or given up.
func (m *monitor) loop(ctx context.Context) {
	m.pause = firstPause
	poked := true
	for ctx.Err() == nil {
		wait, on := m.step(ctx, poked)
		if !on {
			return
		}
		poked = false
		select {
		case <-ctx.Done():
		case <-m.poke:
			poked = true
		case <-time.After(wait):
		}
	}
}

// look inspects the container. One that is well and that no event was about is not inspected for every probe: probing
// is then all the work there is.
func (m *monitor) look(ctx context.Context, poked bool) (docker.Details, error) {
	if !poked && m.failures == 0 && m.was().Ready && m.c.deps.Now().Sub(m.looked) < relook {
		return m.details, nil
	}
	d, err := m.c.deps.Docker.Inspect(ctx, m.container)
	if err == nil {
		m.details, m.looked = d, m.c.deps.Now()
		m.compare(d)
	}
	return d, err
}

// step looks once and says how long to wait before the next look; on is false when there is nothing more to look at.
func (m *monitor) step(ctx context.Context, poked bool) (wait time.Duration, on bool) {
	d, err := m.look(ctx, poked)
	switch {
	case isMissing(err):
		m.down("Its container was removed.")
		return 0, false
	case err != nil: // Docker is away: nothing is known, so nothing changes; visitors do not need Docker
		if ctx.Err() == nil && m.was().WasReady {
			m.probeBlind(ctx)
		}
		return longestPause, true
	}
	switch d.State {
	case docker.Running, docker.Paused:
		return m.probe(ctx, d)
	case docker.Restarting:
		return m.crashed(ctx, d)
	default:
		m.down(exitMessage(d))
		return 0, false // the planner decides what follows
	}
}

func (m *monitor) was() record { return m.c.ledger.record(m.instance.id) }

func (m *monitor) say(change func(*record)) { m.c.update(m.instance.id, change) }

// down takes visitors away from a container that does not run.
func (m *monitor) down(message string) {
	m.say(func(r *record) {
		r.Ready = false
		if r.WasReady && !r.Outcome {
			r.State = agentv1.InstanceState_INSTANCE_STATE_RESTARTING
			r.say("exited", message, nil)
		}
	})
}

// crashed handles a container that ended and that Docker is about to start again.
func (m *monitor) crashed(ctx context.Context, d docker.Details) (time.Duration, bool) {
	m.down(exitMessage(d))
	m.say(func(r *record) { r.Restarts, r.ExitCode = restarts(d), int32(d.ExitCode) }) //nolint:gosec // small
	if !m.was().WasReady && d.RestartCount >= 3 {
		m.c.failExited(ctx, m.instance.id, d)
		return 0, false
	}
	return longestPause, true // an event comes before
}

func restarts(d docker.Details) uint32 { return uint32(max(0, d.RestartCount)) } //nolint:gosec // small

// compare notes what somebody changed in the container. It is reported and held, never undone.
func (m *monitor) compare(d docker.Details) {
	want, message := m.c.limits(m.instance.spec), ""
	want.Swap = d.Limits.Swap // not every kernel can limit it
	if d.Limits != want {
		message = fmt.Sprintf("Its limits were changed by hand: memory %d, CPU %d, processes %d, restart %q; it should have %d, %d, %d, %q.",
			d.Limits.Memory, d.Limits.NanoCPUs, d.Limits.Pids, d.Limits.Restart, want.Memory, want.NanoCPUs, want.Pids, want.Restart)
	}
	if d.Labels[labelSpec] != m.instance.body.GetSpecHash() {
		message = "The container was made from another specification."
	}
	m.say(func(r *record) { r.Drift = message })
}

// begin takes up a run of the container that was not seen before.
func (m *monitor) begin(ctx context.Context, d docker.Details) {
	again := m.run != ""
	m.run, m.runSince, m.failures, m.pause, m.crowded = d.StartedAt, m.c.deps.Now(), 0, firstPause, 0
	if m.image.ID == "" {
		m.image, _ = m.c.deps.Docker.ImageByID(ctx, d.ImageID)
	}
	m.check = checkOf(m.instance.spec, m.image)
	m.say(func(r *record) {
		r.Restarts = restarts(d)
		switch {
		case r.WasReady && again: // it crashed and came back between two looks
			r.State, r.Ready = agentv1.InstanceState_INSTANCE_STATE_RESTARTING, false
		case !r.WasReady:
			r.State, r.Ready = agentv1.InstanceState_INSTANCE_STATE_STARTING, false
		}
	})
}

// probe asks a running container whether it is well.
func (m *monitor) probe(ctx context.Context, d docker.Details) (time.Duration, bool) {
	if d.StartedAt != m.run {
		m.begin(ctx, d)
	}
	port, err := m.port(d)
	if err == nil {
		err = m.ask(ctx, port)
	}
	if ctx.Err() != nil {
		return 0, false
	}
	if err == nil {
		m.well(port)
		return m.interval(), true
	}
	if m.was().WasReady {
		return m.ill(err), true
	}
	return m.gate(ctx, d, err)
}

// probeBlind asks without Docker's help, at the address and port that are known.
func (m *monitor) probeBlind(ctx context.Context) {
	r := m.was()
	if m.run == "" || !r.Ready || m.check.Kind == spec.HealthCommand || m.check.Kind == spec.HealthNone {
		return
	}
	if err := m.ask(ctx, r.Port); err != nil && ctx.Err() == nil {
		m.ill(err)
	} else {
		m.failures = 0
	}
}

func (m *monitor) well(port int) {
	m.failures, m.pause = 0, firstPause
	m.say(func(r *record) {
		r.State, r.Ready, r.WasReady, r.Port = agentv1.InstanceState_INSTANCE_STATE_READY, true, true, port
		r.say("", "", nil)
	})
}

// ill counts a failure of an instance that was ready once, and says when to look again.
func (m *monitor) ill(err error) time.Duration {
	r := m.was()
	if !r.Ready { // restarting or already unready: look often, it wants to come back
		m.say(func(r *record) { r.Message = "Its health check fails: " + short(err) + "." })
		return m.grow()
	}
	m.failures++
	if m.failures < max(1, m.check.Retries) {
		return m.interval()
	}
	m.pause = firstPause
	m.say(func(r *record) {
		r.State, r.Ready = agentv1.InstanceState_INSTANCE_STATE_UNREADY, false
		r.say("unready", "Its health check fails: "+short(err)+".", nil)
	})
	return m.grow()
}

func (m *monitor) interval() time.Duration { return time.Duration(m.check.Interval) }

func (m *monitor) grow() time.Duration {
	pause := m.pause
	m.pause = min(2*m.pause, longestPause)
	return pause
}
