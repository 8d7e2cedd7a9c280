package converge

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"pandu/modules/agent/internal/docker"
	"pandu/modules/spec"
)

// observed is what Docker has of ours: only things with this server's label.
type observed struct {
	containers []container
	networks   map[string]network // by environment id
	volumes    map[string]bool    // by volume id
}

type container struct {
	id, name, instance, environment, hash string
	state                                 docker.State
	exitCode                              int             // when it has ended
	byHand                                bool            // it was sent a signal, not by us
	networks                              map[string]bool // ids
	volumes                               []string        // ids of our volumes
	address                               netip.Addr      // in its environment's network
	drain                                 time.Duration   // of its label
}

type network struct{ id, subnet, gateway string }

// memory is what the agent remembers of an instance beyond what Docker shows.
type memory struct {
	outcome bool // it completed or failed for good
	started bool // its container was started once
}

// kind of an action.
type kind string

const (
	makeNetwork   kind = "make network"
	removeNetwork kind = "remove network"
	makeVolume    kind = "make volume"
	removeVolume  kind = "remove volume"
	create        kind = "create"    // make the container and start it
	start         kind = "start"     // start the container that is there
	reconnect     kind = "reconnect" // to its environment's network
	halt          kind = "halt"      // stop a container that failed, keep it for its log
	retire        kind = "retire"    // drain, stop and remove
	completed     kind = "completed" // remember that it ended well
	failed        kind = "failed"    // remember that it ended badly
)

// action is one thing to do about one key. Actions of one plan with different keys may run at once, but each waits for
// those on the keys in after.
type action struct {
	kind       kind
	key        string
	containers []string // ids it is about
	exitCode   int      // of failed and completed
	after      []string
	excused    bool // set when carried out: Docker itself was away, so that nobody's hand is counted
}

// plan is what should be done and what should be said.
type plan struct {
	actions []action
	watch   map[string]string // instance id -> container id that runs and is to be probed
	drifted map[string]bool   // instances whose container was made from another specification
	waiting map[string]string // instances that cannot start yet, and why
	gone    []string          // tombstoned keys with nothing left
	strays  []string          // containers with our label that nobody asked for
}

// makePlan compares. It is pure, and complete in one step: when all its actions succeed, the next plan has none.
func makePlan(d desired, o observed, remembered map[string]memory) plan {
	p := planner{
		desired: d, observed: o, memory: remembered,
		plan: plan{watch: map[string]string{}, drifted: map[string]bool{}, waiting: map[string]string{}}, leaving: map[string]string{},
	}
	of := map[string][]container{}
	for _, c := range o.containers {
		if d.instances[c.instance] == nil {
			p.strays = append(p.strays, c.id)
			continue
		}
		of[c.instance] = append(of[c.instance], c)
	}
	for _, id := range sorted(d.environments) {
		p.makeNetwork(d.environments[id])
	}
	for _, id := range sorted(d.volumes) {
		p.makeVolume(d.volumes[id])
	}
	for _, id := range sorted(d.instances) {
		p.instance(d.instances[id], of[id])
	}
	for _, id := range sorted(d.volumes) {
		p.removeVolume(d.volumes[id])
	}
	for _, id := range sorted(d.environments) {
		p.removeNetwork(d.environments[id])
	}
	return p.plan
}

type planner struct {
	plan
	desired  desired
	observed observed
	memory   map[string]memory
	leaving  map[string]string // container id -> key whose action removes it
}

func (p *planner) do(a action) { p.actions = append(p.actions, a) }

func (p *planner) makeNetwork(e *environment) {
	if _, there := p.observed.networks[e.id]; !there && !e.tombstone && e.broken == "" {
		p.do(action{kind: makeNetwork, key: environmentKey(e.id)})
	}
}

func (p *planner) makeVolume(v *volume) {
	if !p.observed.volumes[v.id] && !v.tombstone && v.broken == "" {
		p.do(action{kind: makeVolume, key: volumeKey(v.id)})
	}
}

func (p *planner) instance(i *instance, containers []container) {
	key := instanceKey(i.id)
	if i.tombstone {
		p.retire(key, containers)
		return
	}
	if len(containers) > 1 { // somebody copied one: the eldest name stays ours, the rest are strays
		slices.SortFunc(containers, func(a, b container) int { return cmp.Compare(a.name, b.name) })
		at := max(0, slices.IndexFunc(containers, func(c container) bool { return i.body != nil && c.name == containerName(i.body) }))
		for n, c := range containers {
			if n != at {
				p.strays = append(p.strays, c.id)
			}
		}
		containers = containers[at : at+1]
	}
	if len(containers) == 0 {
		p.absent(i, key)
		return
	}
	p.present(i, key, containers[0])
}

// absent plans for a live instance without a container.
func (p *planner) absent(i *instance, key string) {
	m := p.memory[i.id]
	switch {
	case m.outcome || i.broken != "":
	case m.started && i.runsToEnd():
		// It ran and vanished before it ended: running it again could do its work twice.
		p.do(action{kind: failed, key: key, exitCode: -1})
	default:
		p.create(i, key)
	}
}

func (p *planner) create(i *instance, key string, instead ...string) {
	a := action{kind: create, key: key, containers: instead}
	environment := p.desired.environments[i.body.GetEnvironmentId()]
	if environment == nil || environment.tombstone || environment.broken != "" {
		p.waiting[i.id] = "Its environment is not on this server."
		return
	}
	a.after = append(a.after, environmentKey(environment.id))
	for _, m := range i.spec.Mounts {
		v := p.desired.volumes[m.ID]
		if v == nil || v.tombstone || v.broken != "" || v.environment != environment.id {
			p.waiting[i.id] = "The volume " + m.Volume + " is not on this server."
			return
		}
		a.after = append(a.after, volumeKey(m.ID))
	}
	for _, id := range instead {
		p.leaving[id] = key
	}
	p.do(a)
}

// present plans for a live instance with a container.
func (p *planner) present(i *instance, key string, c container) {
	m := p.memory[i.id]
	active := c.state == docker.Running || c.state == docker.Restarting || c.state == docker.Paused
	switch {
	case m.outcome:
		if active {
			p.do(action{kind: halt, key: key, containers: []string{c.id}})
		}
		return
	case i.broken != "":
		return // nothing is started of it, and nothing stopped either
	case c.hash != i.body.GetSpecHash():
		p.drifted[i.id] = true
		if active {
			p.watch[i.id] = c.id
		}
		return
	}
	switch c.state {
	case docker.Running, docker.Restarting, docker.Paused:
		p.reconnect(i, key, c)
		p.watch[i.id] = c.id
	case docker.Created:
		p.start(i, key, c)
	case docker.Exited:
		p.ended(i, key, c)
	case docker.Dead: // Docker could not remove it
		p.create(i, key, c.id)
	case docker.Removing:
	}
}

// reconnect puts a container back into its network, also when the network was made anew.
func (p *planner) reconnect(i *instance, key string, c container) {
	n, there := p.observed.networks[i.body.GetEnvironmentId()]
	if there && c.networks[n.id] {
		return
	}
	if !p.networked(i) {
		return
	}
	p.do(action{kind: reconnect, key: key, containers: []string{c.id}, after: []string{environmentKey(i.body.GetEnvironmentId())}})
}

// ended plans for a container that does not run and that Docker will not start by itself.
func (p *planner) ended(i *instance, key string, c container) {
	well := c.exitCode == 0 && !c.byHand
	switch {
	case i.runsToEnd() && c.exitCode == 0, i.spec.Restart == spec.RestartOnFailure && well:
		p.do(action{kind: completed, key: key, containers: []string{c.id}})
	case i.runsToEnd():
		p.do(action{kind: failed, key: key, containers: []string{c.id}, exitCode: c.exitCode})
	default: // Docker restarts what fails, so somebody stopped this one
		p.start(i, key, c)
	}
}

// start starts a container that is there, once its network is.
func (p *planner) start(i *instance, key string, c container) {
	if !p.networked(i) {
		p.waiting[i.id] = "Its environment is not on this server."
		return
	}
	p.do(action{kind: start, key: key, containers: []string{c.id}, after: []string{environmentKey(i.body.GetEnvironmentId())}})
}

// networked reports whether the network of an instance is there or will be when this plan is carried out.
func (p *planner) networked(i *instance) bool {
	id := i.body.GetEnvironmentId()
	if _, there := p.observed.networks[id]; there {
		return true
	}
	e := p.desired.environments[id]
	return e != nil && !e.tombstone && e.broken == ""
}

// sorted are the keys of a map in order, so that a plan depends on nothing but its input.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
