package converge

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/internal/docker"
	"pandu/modules/spec"

	"pgregory.net/rapid"
)

const hash = "h1"

// want builds a desired list: "e" makes an environment, "v" a volume in e, "i" an instance in e with volume v; a minus
// before it is a tombstone.
func want(words ...string) desired {
	d := desired{map[string]*environment{}, map[string]*volume{}, map[string]*instance{}}
	for _, w := range words {
		id, dead := strings.CutPrefix(w, "-")
		switch id[0] {
		case 'e':
			d.environments[id] = &environment{id: id, tombstone: dead}
		case 'v':
			d.volumes[id] = &volume{id: id, environment: "e", tombstone: dead}
		case 'i':
			i := &instance{id: id, tombstone: dead}
			if !dead {
				i.body = &agentv1.Instance{Id: id, EnvironmentId: "e", SpecHash: hash}
			}
			d.instances[id] = i
		}
	}
	return d
}

func (d desired) with(id string, change func(*instance)) desired {
	change(d.instances[id])
	return d
}

func has(containers ...container) observed {
	o := observed{networks: map[string]network{"e": {id: "n"}}, volumes: map[string]bool{}}
	for _, c := range containers {
		c.networks = map[string]bool{"n": true}
		c.environment = "e"
		if c.hash == "" {
			c.hash = hash
		}
		o.containers = append(o.containers, c)
	}
	return o
}

func (o observed) volume(id string) observed {
	o.volumes[id] = true
	return o
}

func summary(p plan) string {
	var words []string
	for _, a := range p.actions {
		words = append(words, strings.TrimSpace(string(a.kind)+" "+a.key+" "+strings.Join(a.containers, ",")))
	}
	for _, key := range p.gone {
		words = append(words, "gone "+key)
	}
	for _, id := range p.strays {
		words = append(words, "stray "+id)
	}
	for _, id := range sorted(p.watch) {
		words = append(words, "watch "+p.watch[id])
	}
	for _, id := range sorted(p.waiting) {
		words = append(words, "waits "+id)
	}
	for _, id := range sorted(p.drifted) {
		words = append(words, "drifted "+id)
	}
	return strings.Join(words, "; ")
}

func restartRule(r spec.Restart) func(*instance) {
	return func(i *instance) { i.spec.Restart = r }
}

func mounts(i *instance) { i.spec.Mounts = []spec.Mount{{Volume: "data", ID: "v"}} }

func TestPlan(t *testing.T) {
	running := container{id: "c", instance: "i", state: docker.Running}
	in := func(state docker.State) container { return container{id: "c", instance: "i", state: state} }
	exited := func(code int) container {
		return container{id: "c", instance: "i", state: docker.Exited, exitCode: code}
	}
	none := observed{networks: map[string]network{}, volumes: map[string]bool{}}
	ended, begun := map[string]memory{"i": {outcome: true, started: true}}, map[string]memory{"i": {started: true}}

	for name, c := range map[string]struct {
		desired desired
		seen    observed
		memory  map[string]memory
		want    string
	}{
		"nothing":                       {want(), none, nil, ""},
		"environment first":             {want("e", "i"), none, nil, "make network environment/e; create instance/i"},
		"network is there":              {want("e", "i"), has(), nil, "create instance/i"},
		"volume too":                    {want("e", "v", "i").with("i", mounts), has(), nil, "make volume volume/v; create instance/i"},
		"no such environment":           {want("i"), none, nil, "waits i"},
		"environment leaves":            {want("-e", "i"), has(), nil, "waits i"},
		"no such volume":                {want("e", "i").with("i", mounts), has(), nil, "waits i"},
		"volume of another environment": {want("e", "v", "i").with("i", mounts).other("v"), has(), nil, "make volume volume/v; waits i"},
		"runs":                          {want("e", "i"), has(running), begun, "watch c"},
		"restarting":                    {want("e", "i"), has(in(docker.Restarting)), begun, "watch c"},
		"paused by hand":                {want("e", "i"), has(in(docker.Paused)), begun, "watch c"},
		"made, not started":             {want("e", "i"), has(in(docker.Created)), nil, "start instance/i c"},
		"stopped by hand":               {want("e", "i"), has(exited(0)), begun, "start instance/i c"},
		"killed by hand":                {want("e", "i"), has(exited(137)), begun, "start instance/i c"},
		"removed by hand":               {want("e", "i"), has(), begun, "create instance/i"},
		"half removed":                  {want("e", "i"), has(in(docker.Dead)), begun, "create instance/i c"},
		"being removed":                 {want("e", "i"), has(in(docker.Removing)), begun, ""},
		"task ended well":               {want("e", "i").with("i", restartRule(spec.RestartNever)), has(exited(0)), begun, "completed instance/i c"},
		"task ended badly":              {want("e", "i").with("i", restartRule(spec.RestartNever)), has(exited(2)), begun, "failed instance/i c"},
		"task was removed":              {want("e", "i").with("i", restartRule(spec.RestartNever)), has(), begun, "failed instance/i"},
		"task not begun":                {want("e", "i").with("i", restartRule(spec.RestartNever)), has(), nil, "create instance/i"},
		"completed task":                {want("e", "i").with("i", restartRule(spec.RestartNever)), has(exited(0)), ended, ""},
		"completed task was removed":    {want("e", "i").with("i", restartRule(spec.RestartNever)), has(), ended, ""},
		"on-failure ended well":         {want("e", "i").with("i", restartRule(spec.RestartOnFailure)), has(exited(0)), begun, "completed instance/i c"},
		"on-failure stopped by hand": {want("e", "i").with("i", restartRule(spec.RestartOnFailure)),
			has(container{id: "c", instance: "i", state: docker.Exited, byHand: true}), begun, "start instance/i c"},
		"failed and still runs":    {want("e", "i"), has(running), ended, "halt instance/i c"},
		"failed and loops":         {want("e", "i"), has(in(docker.Restarting)), ended, "halt instance/i c"},
		"failed and stopped":       {want("e", "i"), has(exited(1)), ended, ""},
		"failed and removed":       {want("e", "i"), has(), ended, ""},
		"tombstone":                {want("e", "-i"), has(running), begun, "retire instance/i c"},
		"tombstone of nothing":     {want("e", "-i"), has(), nil, "gone instance/i"},
		"tombstone of a failed":    {want("e", "-i"), has(exited(1)), ended, "retire instance/i c"},
		"other specification":      {want("e", "i"), has(container{id: "c", instance: "i", state: docker.Running, hash: "h2"}), begun, "watch c; drifted i"},
		"unknown container":        {want("e"), has(running), nil, "stray c"},
		"unknown without instance": {want("e"), has(container{id: "c", state: docker.Running}), nil, "stray c"},
		"a copy": {want("e", "i"), has(container{id: "d", name: "zz", instance: "i", state: docker.Running},
			container{id: "c", name: containerName(&agentv1.Instance{Id: "i"}), instance: "i", state: docker.Running}), begun, "stray d; watch c"},
		"refused, nothing there":   {want("e", "i").with("i", func(i *instance) { i.broken = "no" }), has(), nil, ""},
		"refused, but it runs":     {want("e", "i").with("i", func(i *instance) { i.broken = "no" }), has(running), nil, ""},
		"environment tombstone":    {want("-e"), has(), nil, "remove network environment/e"},
		"all tombstones":           {want("-e", "-i"), has(running), nil, "retire instance/i c; remove network environment/e"},
		"environment in use":       {want("-e", "i"), has(running), nil, "watch c"},
		"environment with strays":  {want("-e"), has(running), nil, "stray c"},
		"environment is gone":      {want("-e"), none, nil, "gone environment/e"},
		"volume tombstone":         {want("e", "-v"), has().volume("v"), nil, "remove volume volume/v"},
		"volume in use":            {want("e", "-v", "i"), has(container{id: "c", instance: "i", state: docker.Running, volumes: []string{"v"}}).volume("v"), nil, "watch c"},
		"volume with its user":     {want("e", "-v", "-i"), has(container{id: "c", instance: "i", state: docker.Running, volumes: []string{"v"}}).volume("v"), nil, "retire instance/i c; remove volume volume/v"},
		"volume is gone":           {want("e", "-v"), has(), nil, "gone volume/v"},
		"unknown volume stays":     {want("e"), has().volume("w"), nil, ""},
		"empty list stops nothing": {want(), has(running).volume("v"), nil, "stray c"},
		"disconnected": {want("e", "i"), observed{networks: map[string]network{"e": {id: "n"}}, volumes: map[string]bool{},
			containers: []container{{id: "c", instance: "i", environment: "e", hash: hash, state: docker.Running}}}, begun, "reconnect instance/i c; watch c"},
		"network made anew": {want("e", "i"), observed{networks: map[string]network{}, volumes: map[string]bool{},
			containers: []container{{id: "c", instance: "i", environment: "e", hash: hash, state: docker.Running, networks: map[string]bool{"old": true}}}}, begun,
			"make network environment/e; reconnect instance/i c; watch c"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := summary(makePlan(c.desired, c.seen, c.memory)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func (d desired) other(volume string) desired {
	d.volumes[volume].environment = "e2"
	return d
}

// Actions wait for what they need: a container for its network and volumes, a removal for the users of the thing.
func TestPlanOrder(t *testing.T) {
	p := makePlan(want("e", "v", "i").with("i", mounts), observed{}, nil)
	if a := p.actions[len(p.actions)-1]; !slices.Equal(a.after, []string{"environment/e", "volume/v"}) {
		t.Errorf("create waits for %v", a.after)
	}
	p = makePlan(want("-e", "-v", "-i"), has(container{id: "c", instance: "i", state: docker.Running, volumes: []string{"v"}}).volume("v"), nil)
	for _, a := range p.actions {
		if a.kind != retire && !slices.Equal(a.after, []string{"instance/i"}) {
			t.Errorf("%s waits for %v", a.kind, a.after)
		}
	}
}

// Whatever is wanted and whatever is there: one plan is enough, it removes only what has a tombstone, and what nobody
// asked for stays as it is.
func TestPlanProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, o, m := anyDesired(t), anyObserved(t), anyMemory(t)
		p := makePlan(d, o, m)
		seen := map[string]bool{}
		for _, a := range p.actions {
			if seen[a.key] {
				t.Fatalf("two actions for %s", a.key)
			}
			seen[a.key] = true
			lawful(t, d, o, a)
		}
		after, remembered := applied(d, o, m, p)
		if again := makePlan(d, after, remembered); len(again.actions) > 0 {
			t.Fatalf("second plan is not empty: %s\nfirst: %s", summary(again), summary(p))
		}
		if !reflect.DeepEqual(p, makePlan(d, o, m)) {
			t.Fatal("the plan depends on more than its input")
		}
	})
}

// lawful fails when an action touches something it may not.
func lawful(t *rapid.T, d desired, o observed, a action) {
	kindOf, id, _ := strings.Cut(a.key, "/")
	switch a.kind {
	case retire:
		if !d.instances[id].tombstone {
			t.Fatalf("retires %s, which has no tombstone", id)
		}
	case removeNetwork:
		if !d.environments[id].tombstone {
			t.Fatalf("removes network %s, which has no tombstone", id)
		}
	case removeVolume:
		if !d.volumes[id].tombstone {
			t.Fatalf("removes volume %s, which has no tombstone", id)
		}
	}
	for _, c := range o.containers {
		if slices.Contains(a.containers, c.id) && (kindOf != "instance" || c.instance != id) {
			t.Fatalf("%s of %s touches container %s of %q", a.kind, a.key, c.id, c.instance)
		}
	}
}

// applied is the world after every action of the plan succeeded.
func applied(d desired, o observed, m map[string]memory, p plan) (observed, map[string]memory) {
	out := observed{networks: map[string]network{}, volumes: map[string]bool{}}
	for id, n := range o.networks {
		out.networks[id] = n
	}
	for id := range o.volumes {
		out.volumes[id] = true
	}
	next := map[string]memory{}
	for id, v := range m {
		next[id] = v
	}
	containers := map[string]container{}
	for _, c := range o.containers {
		containers[c.id] = c
	}
	for _, a := range p.actions {
		_, id, _ := strings.Cut(a.key, "/")
		applyOne(d, a, id, out, containers, next)
	}
	for _, id := range sorted(containers) {
		out.containers = append(out.containers, containers[id])
	}
	return out, next
}

func applyOne(d desired, a action, id string, out observed, containers map[string]container, next map[string]memory) {
	change := func(f func(*container)) {
		for _, cid := range a.containers {
			c := containers[cid]
			f(&c)
			containers[cid] = c
		}
	}
	join := func(c *container) {
		c.networks = map[string]bool{out.networks[d.instances[id].body.GetEnvironmentId()].id: true}
	}
	switch a.kind {
	case makeNetwork:
		out.networks[id] = network{id: "new-" + id}
	case removeNetwork:
		delete(out.networks, id)
	case makeVolume:
		out.volumes[id] = true
	case removeVolume:
		delete(out.volumes, id)
	case create:
		for _, cid := range a.containers {
			delete(containers, cid)
		}
		c := container{id: "new-" + id, instance: id, environment: d.instances[id].body.GetEnvironmentId(), hash: d.instances[id].body.GetSpecHash(), state: docker.Running}
		join(&c)
		containers[c.id] = c
	case start:
		change(func(c *container) { c.state = docker.Running; join(c) })
	case reconnect:
		change(join)
	case halt:
		change(func(c *container) { c.state = docker.Exited })
	case retire:
		for _, cid := range a.containers {
			delete(containers, cid)
		}
	case completed, failed:
		next[id] = memory{outcome: true, started: true}
	}
}

func anyDesired(t *rapid.T) desired {
	d := want()
	for n := range 3 {
		id := fmt.Sprint("e", n)
		if k := rapid.IntRange(0, 2).Draw(t, id); k > 0 {
			d.environments[id] = &environment{id: id, tombstone: k == 2}
		}
		id = fmt.Sprint("v", n)
		if k := rapid.IntRange(0, 2).Draw(t, id); k > 0 {
			d.volumes[id] = &volume{id: id, environment: fmt.Sprint("e", n), tombstone: k == 2}
		}
	}
	for n := range 5 {
		id := fmt.Sprint("i", n)
		k := rapid.IntRange(0, 3).Draw(t, id)
		if k == 0 {
			continue
		}
		i := &instance{id: id, tombstone: k == 1}
		if !i.tombstone {
			e := rapid.IntRange(0, 2).Draw(t, id+" environment")
			i.body = &agentv1.Instance{Id: id, EnvironmentId: fmt.Sprint("e", e), SpecHash: hash}
			i.spec.Restart = rapid.SampledFrom([]spec.Restart{spec.RestartAlways, spec.RestartOnFailure, spec.RestartNever}).Draw(t, id+" restart")
			if rapid.Bool().Draw(t, id+" mounts") {
				i.spec.Mounts = []spec.Mount{{ID: fmt.Sprint("v", e)}}
			}
			if rapid.IntRange(0, 9).Draw(t, id+" broken") == 0 {
				i.broken = "no"
			}
		}
		d.instances[id] = i
	}
	return d
}

func anyObserved(t *rapid.T) observed {
	o := observed{networks: map[string]network{}, volumes: map[string]bool{}}
	for n := range 3 {
		if rapid.Bool().Draw(t, fmt.Sprint("network ", n)) {
			o.networks[fmt.Sprint("e", n)] = network{id: fmt.Sprint("n", n)}
		}
		if rapid.Bool().Draw(t, fmt.Sprint("volume ", n)) {
			o.volumes[fmt.Sprint("v", n)] = true
		}
	}
	states := []docker.State{docker.Created, docker.Running, docker.Paused, docker.Restarting, docker.Removing, docker.Exited, docker.Dead}
	for n := range rapid.IntRange(0, 6).Draw(t, "containers") {
		e := rapid.IntRange(0, 2).Draw(t, fmt.Sprint("place ", n))
		c := container{
			id: fmt.Sprint("c", n), name: fmt.Sprint("name", n), environment: fmt.Sprint("e", e),
			instance: rapid.SampledFrom([]string{"", "i0", "i1", "i2", "i3", "i4", "i9"}).Draw(t, fmt.Sprint("of ", n)),
			hash:     rapid.SampledFrom([]string{hash, hash, "h2"}).Draw(t, fmt.Sprint("hash ", n)),
			state:    rapid.SampledFrom(states).Draw(t, fmt.Sprint("state ", n)),
			exitCode: rapid.IntRange(0, 1).Draw(t, fmt.Sprint("code ", n)),
			byHand:   rapid.Bool().Draw(t, fmt.Sprint("hand ", n)), networks: map[string]bool{},
		}
		if rapid.Bool().Draw(t, fmt.Sprint("joined ", n)) {
			c.networks[fmt.Sprint("n", e)] = true
		}
		if rapid.Bool().Draw(t, fmt.Sprint("uses ", n)) {
			c.volumes = []string{fmt.Sprint("v", e)}
		}
		o.containers = append(o.containers, c)
	}
	return o
}

func anyMemory(t *rapid.T) map[string]memory {
	m := map[string]memory{}
	for n := range 5 {
		id := fmt.Sprint("i", n)
		m[id] = memory{outcome: rapid.IntRange(0, 3).Draw(t, id+" outcome") == 0, started: rapid.Bool().Draw(t, id+" started")}
	}
	return m
}
