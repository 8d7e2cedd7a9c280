package converge

import (
	"context"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/internal/docker"
)

// pass looks at everything, plans and starts what is to be done. An error means that Docker did not answer; then nothing
// was concluded from it.
func (c *Converger) pass(ctx context.Context) error {
	c.mu.Lock()
	given := c.given
	busy := map[string]bool{} // what a job changes while we look is not judged in this pass; its end causes another
	for key := range c.jobs {
		busy[key] = true
	}
	c.desired, c.decoded = decode(c.entries, c.decoded)
	d := c.desired
	c.mu.Unlock()
	if err := c.meet(ctx); err != nil || !given {
		return err
	}
	o, err := c.observe(ctx)
	if err != nil {
		return err
	}
	c.remember(d, o)
	p := makePlan(d, o, c.memories(d))
	c.judge(d, o, p, busy)
	for _, a := range p.actions {
		c.dispatch(ctx, a, busy)
	}
	c.mu.Lock()
	c.away = false
	c.mu.Unlock()
	return c.ledger.flush()
}

// meet asks the Engine who it is once after every silence.
func (c *Converger) meet(ctx context.Context) error {
	c.mu.Lock()
	known := c.engine.Version != "" && c.engine.Error == ""
	c.mu.Unlock()
	if known {
		return nil
	}
	i, err := c.deps.Docker.Info(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.engine = EngineInfo{Version: i.Version, CPUs: uint32(max(0, i.CPUs)), MemoryBytes: uint64(max(0, i.Memory)), Root: i.Root} //nolint:gosec // small
	c.mu.Unlock()
	signal(c.changed)
	return nil
}

// observe lists what carries our label.
func (c *Converger) observe(ctx context.Context) (observed, error) {
	label := labelServer + "=" + c.deps.ServerID
	o := observed{networks: map[string]network{}, volumes: map[string]bool{}}
	networks, err := c.deps.Docker.Networks(ctx)
	if err != nil {
		return o, err
	}
	for _, n := range networks {
		if id := n.Labels[labelEnvironment]; n.Labels[labelServer] == c.deps.ServerID && id != "" && len(n.Subnets) > 0 {
			o.networks[id] = network{id: n.ID, subnet: n.Subnets[0].String(), gateway: n.Gateway.String()}
			c.ledger.adoptSubnet(id, n.Subnets[0].Masked())
		}
	}
	volumes, err := c.deps.Docker.Volumes(ctx, label)
	if err != nil {
		return o, err
	}
	for _, v := range volumes {
		if id, ok := volumeID(v.Name); ok && v.Labels[labelVolume] == id {
			o.volumes[id] = true
		}
	}
	containers, err := c.deps.Docker.Containers(ctx, label)
	if err != nil {
		return o, err
	}
	for _, listed := range containers {
		seen, err := c.look(ctx, listed, o.networks)
		if err != nil {
			return o, err
		}
		o.containers = append(o.containers, seen)
	}
	return o, nil
}

// look turns a line of Docker's list into what the planner judges. Only ended containers are inspected, for their status.
func (c *Converger) look(ctx context.Context, l docker.Container, networks map[string]network) (container, error) {
	s := container{
		id: l.ID, name: l.Name, instance: l.Labels[labelInstance], environment: l.Labels[labelEnvironment],
		hash: l.Labels[labelSpec], state: l.State, networks: map[string]bool{},
	}
	for id, e := range l.Networks {
		s.networks[id] = true
		if id == networks[s.environment].id {
			s.address = e.Address.Unmap()
		}
	}
	for _, name := range l.Volumes {
		if id, ok := volumeID(name); ok {
			s.volumes = append(s.volumes, id)
		}
	}
	s.drain, _ = time.ParseDuration(l.Labels[labelDrain])
	c.mu.Lock()
	s.byHand = c.byHand[l.ID] || c.away // what ended with Docker itself did not mean to end
	if l.State == docker.Running {
		delete(c.byHand, l.ID)
	}
	c.mu.Unlock()
	if l.State != docker.Exited || c.ledger.record(s.instance).Outcome {
		return s, nil
	}
	d, err := c.deps.Docker.Inspect(ctx, l.ID)
	if err != nil && !isMissing(err) {
		return s, err
	}
	s.exitCode = d.ExitCode
	return s, nil
}

// remember takes back from Docker what the ledger does not know, and forgets what nobody asks for any more.
func (c *Converger) remember(d desired, o observed) {
	there, ids := map[string]bool{}, map[string]bool{}
	for _, s := range o.containers {
		ids[s.id] = true
		there[s.instance] = true
		if d.instances[s.instance] == nil {
			continue
		}
		c.update(s.instance, func(r *record) {
			r.ContainerID, r.Environment = s.id, s.environment
			r.Started = r.Started || s.state != docker.Created
			if !r.IP.IsValid() && s.address.IsValid() {
				r.IP = s.address
			}
			if r.Drain == 0 {
				r.Drain = s.drain
			}
		})
	}
	for id, r := range c.ledger.records() {
		if d.instances[id] == nil && !there[id] && r.State == agentv1.InstanceState_INSTANCE_STATE_GONE {
			c.ledger.forget(id)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.byHand, func(id string, _ bool) bool { return !ids[id] })
}

func (c *Converger) memories(d desired) map[string]memory {
	m := make(map[string]memory, len(d.instances))
	for id, r := range c.ledger.records() {
		m[id] = memory{outcome: r.Outcome, started: r.Started}
	}
	return m
}

// judge writes down what the plan says beyond its actions: what is gone, unknown, waiting, refused, and what to probe.
func (c *Converger) judge(d desired, o observed, p plan, busy map[string]bool) {
	c.watchAll(d, p, busy)
	gone := map[string]bool{}
	for _, key := range p.gone {
		if under := c.cancelStart(key); !under && !busy[key] {
			gone[key] = true
		}
	}
	for id, i := range d.instances {
		key := instanceKey(id)
		switch {
		case gone[key]:
			c.ledger.release(id)
			c.update(id, func(r *record) {
				*r = record{State: agentv1.InstanceState_INSTANCE_STATE_GONE, Healed: r.Healed, Environment: r.Environment}
			})
		case i.tombstone:
		case i.broken != "":
			c.update(id, func(r *record) {
				r.State, r.Ready, r.SpecHash, r.Environment = agentv1.InstanceState_INSTANCE_STATE_FAILED, false, i.body.GetSpecHash(), i.body.GetEnvironmentId()
				r.say("policy", i.broken, nil)
			})
		default:
			c.introduce(i, p, busy)
		}
	}
	c.judgeKeys(d, o, gone)
	c.judgeStrays(o, p)
}

// introduce gives a live instance its first words.
func (c *Converger) introduce(i *instance, p plan, busy map[string]bool) {
	why, waits := p.waiting[i.id]
	c.update(i.id, func(r *record) {
		r.SpecHash, r.Environment = i.body.GetSpecHash(), i.body.GetEnvironmentId()
		r.Drain, r.Grace = i.body.GetDrain().AsDuration(), i.grace()
		if r.State == agentv1.InstanceState_INSTANCE_STATE_UNSPECIFIED {
			r.State = agentv1.InstanceState_INSTANCE_STATE_PENDING
		}
		if waits && !r.Outcome && !busy[instanceKey(i.id)] {
			r.State, r.Ready = agentv1.InstanceState_INSTANCE_STATE_PENDING, false
			r.say("", why, nil)
		}
		if p.drifted[i.id] {
			r.Drift = "The container was made from another specification."
		}
	})
}

// judgeKeys reports environments and volumes.
func (c *Converger) judgeKeys(d desired, o observed, gone map[string]bool) {
	next := map[string]keyState{}
	for id, e := range d.environments {
		_, there := o.networks[id]
		if gone[environmentKey(id)] {
			c.ledger.dropSubnet(id)
		}
		next[environmentKey(id)] = c.keyOf(environmentKey(id), e.tombstone, there, e.broken, gone)
	}
	for id, v := range d.volumes {
		next[volumeKey(id)] = c.keyOf(volumeKey(id), v.tombstone, o.volumes[id], v.broken, gone)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, s := range next {
		if c.keys[key] != s {
			signal(c.changed)
			signal(c.addressesChanged)
		}
	}
	if len(c.keys) != len(next) {
		signal(c.changed)
	}
	c.keys, c.seen = next, o
}

func (c *Converger) keyOf(key string, tombstone, there bool, broken string, gone map[string]bool) keyState {
	c.mu.Lock()
	failure := c.retries[key].message
	c.mu.Unlock()
	switch {
	case gone[key]:
		return keyState{state: agentv1.KeyStatus_STATE_GONE}
	case broken != "":
		return keyState{agentv1.KeyStatus_STATE_FAILED, broken}
	case failure != "":
		return keyState{agentv1.KeyStatus_STATE_FAILED, failure}
	case tombstone && there:
		return keyState{agentv1.KeyStatus_STATE_READY, "It is still in use."}
	case there:
		return keyState{state: agentv1.KeyStatus_STATE_READY}
	default:
		return keyState{}
	}
}

// stray is a container with our label that nobody asked for.
type stray struct{ instance, environment, container, hash, state string }

func (c *Converger) judgeStrays(o observed, p plan) {
	var next []stray
	for _, s := range o.containers {
		if slices.Contains(p.strays, s.id) {
			next = append(next, stray{s.instance, s.environment, s.id, s.hash, string(s.state)})
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Equal(c.strays, next) {
		signal(c.changed)
		signal(c.addressesChanged)
	}
	c.strays = next
}

// update changes what is known of an instance and tells who waits for news.
func (c *Converger) update(id string, change func(*record)) {
	changed, moved := c.ledger.update(id, change)
	if changed {
		signal(c.changed)
	}
	if moved {
		signal(c.addressesChanged)
	}
}

// conclude writes an instance's last state down before anything follows from it.
func (c *Converger) conclude(id string, change func(*record)) {
	c.update(id, func(r *record) {
		r.Outcome, r.Ready = true, false
		change(r)
	})
	if err := c.ledger.flush(); err != nil {
		c.deps.Logger.Error("ledger cannot be written", "error", err)
	}
	signal(c.wake)
}

// taken lists the subnets that must not be given out: the host's routes and every network Docker has.
func (c *Converger) taken(ctx context.Context) ([]netip.Prefix, error) {
	networks, err := c.deps.Docker.Networks(ctx)
	if err != nil {
		return nil, err
	}
	var out []netip.Prefix
	for _, n := range networks {
		out = append(out, n.Subnets...)
	}
	if f, err := os.Open(filepath.Join(c.deps.Proc, "net", "route")); err == nil {
		out = append(out, parseRoutes(f)...)
		_ = f.Close()
	}
	return out, nil
}
