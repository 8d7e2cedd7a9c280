package converge

import (
	"slices"
)

func (p *planner) retire(key string, containers []container) {
	if len(containers) == 0 {
		p.gone = append(p.gone, key)
		return
	}
	a := action{kind: retire, key: key}
	for _, c := range containers {
		a.containers = append(a.containers, c.id)
		p.leaving[c.id] = key
	}
	p.do(a)
}

func (p *planner) removeVolume(v *volume) {
	if !v.tombstone {
		return
	}
	if !p.observed.volumes[v.id] {
		p.gone = append(p.gone, volumeKey(v.id))
		return
	}
	a := action{kind: removeVolume, key: volumeKey(v.id)}
	for _, c := range p.observed.containers {
		if !slices.Contains(c.volumes, v.id) {
			continue
		}
		if p.leaving[c.id] == "" {
			return // still in use: its container has no tombstone
		}
		a.after = append(a.after, p.leaving[c.id])
	}
	p.do(a)
}

func (p *planner) removeNetwork(e *environment) {
	if !e.tombstone {
		return
	}
	n, there := p.observed.networks[e.id]
	if !there {
		p.gone = append(p.gone, environmentKey(e.id))
		return
	}
	for _, i := range p.desired.instances {
		if !i.tombstone && i.body.GetEnvironmentId() == e.id {
			return
		}
	}
	a := action{kind: removeNetwork, key: environmentKey(e.id)}
	for _, c := range p.observed.containers {
		if c.environment != e.id && !c.networks[n.id] {
			continue
		}
		if p.leaving[c.id] == "" {
			return
		}
		a.after = append(a.after, p.leaving[c.id])
	}
	p.do(a)
}
