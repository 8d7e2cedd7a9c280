package converge

import (
	"slices"

	"pandu/modules/agent/agentv1"
)

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
		r.Drain, r.Grace, r.Repository = i.body.GetDrain().AsDuration(), i.grace(), i.spec.Image.Repository
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
