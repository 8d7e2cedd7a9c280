package converge

import (
	"context"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
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
