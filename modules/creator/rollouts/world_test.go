package rollouts_test

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"pandu/modules/agent/agentv1"
	"pandu/modules/creator/rollouts"
	"pandu/modules/manager/deployments"
	"pandu/modules/manager/projects"
	"pandu/modules/manager/routing"
	"pandu/modules/manager/servers"
	"pandu/modules/spec"
)

// states of instances, short.
const (
	pending    = agentv1.InstanceState_INSTANCE_STATE_PENDING
	starting   = agentv1.InstanceState_INSTANCE_STATE_STARTING
	ready      = agentv1.InstanceState_INSTANCE_STATE_READY
	unready    = agentv1.InstanceState_INSTANCE_STATE_UNREADY
	restarting = agentv1.InstanceState_INSTANCE_STATE_RESTARTING
	completed  = agentv1.InstanceState_INSTANCE_STATE_COMPLETED
	failed     = agentv1.InstanceState_INSTANCE_STATE_FAILED
	stopping   = agentv1.InstanceState_INSTANCE_STATE_STOPPING
	gone       = agentv1.InstanceState_INSTANCE_STATE_GONE
)

// house is an environment with the least of a database, an agent and a gateway around the planner. What is written to
// the database by doors and by Apply is written here in the same way.
type house struct {
	w       *deployments.World
	undo    deployments.Undo
	sets    []*agentv1.RouteSet // every revision of the routes; nil: taken away
	acked   int                 // how many of sets the gateway has taken
	real    map[uuid.UUID]agentv1.InstanceState
	removed bool
	number  int
	ids     int
	results []string // how deployments ended
	why     *deployments.Error
}

func newHouse() *house {
	organization := uuid.New()
	return &house{
		real: map[uuid.UUID]agentv1.InstanceState{},
		w: &deployments.World{
			Now:         time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
			Environment: projects.Environment{ID: uuid.New(), OrganizationID: organization, Wanted: projects.Running, Slug: "production"},
			Replicas:    map[string]int{}, TasksDone: map[string]bool{}, Volumes: map[uuid.UUID]deployments.Volume{},
			Keys: map[string]agentv1.KeyStatus_State{}, Held: map[string]bool{},
			Server: uuid.New(), ServerState: servers.State{Synced: true, Name: "one"},
			Domains: []routing.Domain{{Hostname: "hello.localhost", Kind: routing.Auto}},
		},
	}
}

// service is a service of a version; change alters it.
func service(name, version string, change ...func(*spec.Service)) spec.Service {
	s := spec.Service{Name: name, Replicas: 1, Container: spec.Container{Image: spec.Image{Repository: "o/p", Digest: version}, Port: 80}}
	for _, fn := range change {
		fn(&s)
	}
	return s
}

func public(s *spec.Service) { s.Public = true }
func task(s *spec.Service)   { s.Task = true }

func times(n int) func(*spec.Service) { return func(s *spec.Service) { s.Replicas = n } }

func after(other string, c spec.Condition) func(*spec.Service) {
	return func(s *spec.Service) {
		s.DependsOn = append(s.DependsOn, spec.Dependency{Service: other, Condition: c})
	}
}

func writes(volume string) func(*spec.Service) {
	return func(s *spec.Service) {
		s.Container.Mounts = append(s.Container.Mounts, spec.Mount{Volume: volume, ID: uuid.NewSHA1(uuid.Nil, []byte(volume)).String(), Path: "/data"})
	}
}

func reads(volume string) func(*spec.Service) {
	return func(s *spec.Service) {
		writes(volume)(s)
		s.Container.Mounts[len(s.Container.Mounts)-1].ReadOnly = true
	}
}

func release(services ...spec.Service) *deployments.Release {
	return &deployments.Release{ID: uuid.New(), Application: spec.Application{Services: services}}
}

func (h *house) count() {
	for _, r := range []*deployments.Release{h.w.Live, h.w.Target} {
		if r == nil {
			continue
		}
		for _, s := range r.Application.Services {
			if _, set := h.w.Replicas[s.Name]; !set || s.Task {
				h.w.Replicas[s.Name] = s.Replicas
			}
		}
	}
}

// begin puts a deployment under way, as the room does once its images exist; the one before is superseded.
func (h *house) begin(kind deployments.Kind, r *deployments.Release, undo deployments.Undo) {
	h.supersede()
	h.number++
	h.tick(time.Second)
	if r != nil {
		h.w.Target = r
	}
	h.count()
	h.undo = undo
	h.w.Deployment = &deployments.Deployment{
		ID: uuid.New(), Number: int64(h.number), Kind: kind, State: deployments.Releasing, CreatedAt: h.w.Now, DeadlineAt: h.w.Now.Add(15 * time.Minute), Undo: undo,
	}
}

func (h *house) supersede() {
	if h.w.Deployment == nil {
		return
	}
	h.w.Deployment = nil
	h.results = append(h.results, "superseded")
	h.w.Target, h.w.Serving = h.w.Live, h.w.Live
}

func (h *house) deploy(services ...spec.Service) *deployments.Release {
	r := release(services...)
	h.begin(deployments.KindDeploy, r, deployments.Undo{})
	h.w.Environment.Wanted = projects.Running
	return r
}

func (h *house) retreat(result string) {
	h.w.Deployment = nil
	h.results = append(h.results, result)
	h.w.Target, h.w.Serving = h.w.Live, h.w.Live
	if h.undo.Wanted != "" && h.w.Environment.Wanted != projects.Deleted {
		h.w.Environment.Wanted = h.undo.Wanted
	}
	for name, n := range h.undo.Replicas {
		h.w.Replicas[name] = *n
	}
	h.undo = deployments.Undo{}
}

func (h *house) tick(d time.Duration) { h.w.Now = h.w.Now.Add(d) }

// plan runs the planner once, as rollouts.Run does, and reports whether anything was written.
func (h *house) plan() (changed bool) {
	if h.removed {
		return false
	}
	w := h.w
	h.count()
	if rollouts.NeedsServer(w) {
		w.Server = uuid.New()
	}
	if w.Server != uuid.Nil {
		w.Serving = rollouts.Serve(w)
		changed = h.put(rollouts.Routes(w))
		w.RoutesServed = h.acked == len(h.sets)
	}
	c := rollouts.Plan(w)
	if rollouts.Withdraw(w, c) && w.Server != uuid.Nil {
		changed = h.put(rollouts.Routes(w)) || changed
	}
	return h.apply(c) || changed
}

func (h *house) put(set *agentv1.RouteSet) bool {
	if len(h.sets) > 0 && proto.Equal(h.sets[len(h.sets)-1], set) || len(h.sets) == 0 && set == nil {
		return false
	}
	h.sets = append(h.sets, set)
	return true
}

func (h *house) apply(c deployments.Changes) bool {
	w := h.w
	changed := len(c.Ready)+len(c.Completed)+len(c.Gone)+len(c.Create)+len(c.Retire)+len(c.DropKeys)+len(c.ForgetKeys) > 0
	now := w.Now
	for i := range w.Instances {
		switch id := w.Instances[i].ID; {
		case slices.Contains(c.Ready, id):
			w.Instances[i].ReadyAt = &now
		case slices.Contains(c.Completed, id):
			w.Instances[i].CompletedAt = &now
			w.TasksDone[*w.Instances[i].TaskKey] = true
		}
	}
	for _, i := range c.Gone {
		w.Instances = slices.DeleteFunc(w.Instances, func(o deployments.Instance) bool { return o.ID == i.ID })
		delete(h.real, i.ID)
	}
	h.tick(time.Millisecond)
	for _, i := range c.Create {
		i.ID, i.Desired, i.SpecHash, i.CreatedAt, i.ServerID = h.id(), "running", i.Spec.Hash(), w.Now, w.Server
		w.Instances = append(w.Instances, i)
		h.real[i.ID] = pending
		w.Held[servers.KeyOf("environment", w.Environment.ID)] = false
		for _, m := range i.Spec.Mounts {
			w.Held["volume/"+m.ID] = false
		}
	}
	for _, r := range c.Retire {
		i := h.find(r.Instance)
		i.Desired, i.Cause = "gone", r.Cause
	}
	for _, key := range c.DropKeys {
		w.Held[key] = true
	}
	for _, key := range c.ForgetKeys {
		delete(w.Held, key)
		delete(w.Keys, key)
	}
	switch {
	case c.Live && w.Deployment != nil:
		if w.Deployment.Kind != deployments.KindStop {
			w.Live = w.Target
		}
		w.Deployment = nil
		h.results = append(h.results, "live")
	case c.Failed != nil && w.Deployment != nil:
		h.why = c.Failed
		h.retreat("failed")
	case c.Removed:
		h.removed = true
	default:
		return changed
	}
	return true
}

// id makes ids that are the same in every run, so that what rapid found can be run again.
func (h *house) id() uuid.UUID {
	h.ids++
	return uuid.NewSHA1(uuid.Nil, fmt.Append(nil, h.ids))
}

func (h *house) find(id uuid.UUID) *deployments.Instance {
	for i := range h.w.Instances {
		if h.w.Instances[i].ID == id {
			return &h.w.Instances[i]
		}
	}
	panic(fmt.Sprintf("no instance %s", id))
}

// settle plans until nothing changes, as the marks that Apply raises make the queue do.
func (h *house) settle() *house {
	for range 20 {
		if !h.plan() {
			return h
		}
	}
	panic("the planner never comes to rest")
}

// of lists the instances of a service that shall run, oldest first.
func (h *house) of(name string) (ids []uuid.UUID) {
	for _, i := range h.w.Instances {
		if i.Service == name && i.Desired == "running" {
			ids = append(ids, i.ID)
		}
	}
	return ids
}

// set reports states of the instances of a service that shall run.
func (h *house) set(name string, state agentv1.InstanceState) *house {
	for _, id := range h.of(name) {
		h.report(id, state)
	}
	return h
}

func (h *house) report(id uuid.UUID, state agentv1.InstanceState) {
	h.real[id] = state
	h.find(id).Status = &agentv1.InstanceStatus{InstanceId: id.String(), State: state, Restarts: map[bool]uint32{true: 5}[state == restarting]}
}

// bury reports every tombstone as carried out.
func (h *house) bury() *house {
	for _, i := range h.w.Instances {
		if i.Desired == "gone" {
			h.report(i.ID, gone)
		}
	}
	for key, tombstone := range h.w.Held {
		if tombstone {
			h.w.Keys[key] = agentv1.KeyStatus_STATE_GONE
		}
	}
	return h
}

func (h *house) ack() *house { h.acked = len(h.sets); return h }

// live brings the deployment under way to its end with everything well.
func (h *house) live() *house {
	for range 20 {
		h.settle()
		for _, i := range h.w.Instances {
			switch {
			case i.Desired == "gone":
				h.report(i.ID, gone)
			case i.TaskKey != nil:
				h.report(i.ID, completed)
			default:
				h.report(i.ID, ready)
			}
		}
		h.ack().bury()
	}
	return h.settle()
}

// routed is what the newest routes say of a service's name.
func (h *house) routed(name string) []string {
	if len(h.sets) == 0 {
		return nil
	}
	for _, n := range h.sets[len(h.sets)-1].GetNames() {
		if n.GetName() == name {
			return n.GetInstanceIds()
		}
	}
	return nil
}

func (h *house) front() *agentv1.Route {
	if len(h.sets) == 0 {
		return nil
	}
	return h.sets[len(h.sets)-1].GetRoutes()[0]
}

func (h *house) last() string {
	if len(h.results) == 0 {
		return ""
	}
	return h.results[len(h.results)-1]
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
