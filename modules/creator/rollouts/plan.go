package rollouts

import (
	"cmp"
	"slices"
	"time"

	"github.com/google/uuid"

	"pandu/modules/agent/agentv1"
	"pandu/modules/manager/deployments"
	"pandu/modules/manager/projects"
	"pandu/modules/manager/servers"
	"pandu/modules/spec"
)

// Plan says what should change in an environment. It is pure: the same world gives the same changes, and the world
// after them gives none until somebody reports something new.
//
// New instances start when what they depend on is as far as they ask; when all of the target are ready the routes move
// (Serve, Routes), and only when the gateway serves those routes the old instances end. What writes to a volume is the
// exception: its old instance ends before the new one starts. Nothing is decided about a server that is not known.
func Plan(w *deployments.World) deployments.Changes {
	p := &planner{w: w}
	p.note()
	switch {
	case w.Environment.Wanted == projects.Deleted:
		p.remove()
	case p.late():
	case w.Server == uuid.Nil:
		p.settleUnplaced()
	case !w.ServerState.Synced:
	case w.Environment.Wanted == projects.Stopped:
		p.stop()
	case w.Target == nil:
		p.retireStale()
	default:
		p.run()
	}
	return p.c
}

type planner struct {
	w *deployments.World
	c deployments.Changes
}

// note takes in what agents reported of instances.
func (p *planner) note() {
	for _, i := range p.w.Instances {
		switch {
		case i.Desired == "gone" && i.State() == agentv1.InstanceState_INSTANCE_STATE_GONE:
			p.c.Gone = append(p.c.Gone, i)
		case i.Desired == "gone":
		case i.ReadyAt == nil && ready(i):
			p.c.Ready = append(p.c.Ready, i.ID)
		case i.CompletedAt == nil && i.State() == agentv1.InstanceState_INSTANCE_STATE_COMPLETED:
			p.c.Completed = append(p.c.Completed, i.ID)
		}
	}
}

// late fails a deployment that has waited for too long, saying for what.
func (p *planner) late() bool {
	d := p.w.Deployment
	if d == nil || !p.w.Now.After(d.DeadlineAt) {
		return false
	}
	p.c.Failed = p.waiting()
	return true
}

func (p *planner) waiting() *deployments.Error {
	w := p.w
	if w.Server != uuid.Nil && !w.ServerState.Synced {
		return &deployments.Error{Code: "server_silent", Message: "The server " + w.ServerState.Name + " is not connected.", Parameters: map[string]string{"server": w.ServerState.Name}}
	}
	if w.Target != nil {
		for _, svc := range w.Target.Application.Services {
			if !satisfied(w, svc, want(svc)) {
				return &deployments.Error{Code: "not_ready", Message: svc.Name + " did not become ready in time.", Service: svc.Name, Parameters: map[string]string{"service": svc.Name}}
			}
		}
	}
	return &deployments.Error{Code: "gateway_silent", Message: "The gateway of the server did not take the new routes in time."}
}

// settleUnplaced ends a deployment that has nothing to do, because nothing has ever run.
func (p *planner) settleUnplaced() {
	p.c.Live = p.w.Deployment != nil && p.w.Environment.Wanted == projects.Stopped
}

// stop ends everything once visitors are told so.
func (p *planner) stop() {
	if p.w.RoutesServed {
		p.retireAll("stop")
	}
	// A release that was made meanwhile becomes the one that a start will start.
	p.c.Live = p.w.Deployment != nil && len(p.w.Instances) == len(p.c.Gone)
}

func (p *planner) retireAll(cause string) {
	for _, i := range p.w.Instances {
		p.retire(i, cause)
	}
}

func (p *planner) retire(i deployments.Instance, cause string) {
	if i.Desired != "gone" {
		p.c.Retire = append(p.c.Retire, deployments.Retirement{Instance: i.ID, Cause: cause})
	}
}

// remove takes an environment away: instances, then its network and, if so wanted, its volumes.
func (p *planner) remove() {
	w := p.w
	if w.Server == uuid.Nil {
		p.c.Removed = true
		return
	}
	if !w.ServerState.Synced {
		return
	}
	p.retireAll("delete")
	if len(w.Instances) > len(p.c.Gone) {
		return
	}
	left := 0
	for key, tombstone := range w.Held {
		if key != servers.KeyOf("environment", w.Environment.ID) && w.Environment.KeepVolumes {
			continue
		}
		switch {
		case !tombstone:
			p.c.DropKeys = append(p.c.DropKeys, key)
			left++
		case w.Keys[key] == agentv1.KeyStatus_STATE_GONE:
			p.c.ForgetKeys = append(p.c.ForgetKeys, key)
		default:
			left++
		}
	}
	slices.Sort(p.c.DropKeys)
	slices.Sort(p.c.ForgetKeys)
	// The routes' tombstone is forgotten with the rest, so the gateway must have carried it out by then.
	p.c.Removed = left == 0 && w.RoutesServed
}

// run brings the target about.
func (p *planner) run() {
	w := p.w
	for _, svc := range w.Target.Application.Services {
		if why := p.failure(svc); why != nil {
			p.c.Failed = why
			return
		}
	}
	for _, svc := range w.Target.Application.Services {
		if p.mayStart(svc) {
			p.start(svc)
		}
	}
	// Until the target is live everything that a failure goes back to stays.
	done := w.Serving != nil && w.Serving.ID == w.Target.ID && (w.Deployment == nil || complete(w))
	if !done || !w.RoutesServed {
		p.retireStale()
		return
	}
	p.retireOthers()
	p.c.Live = w.Deployment != nil
}

// failure is why a deployment cannot succeed because of a service; nil when it still can, or when none is under way.
func (p *planner) failure(svc spec.Service) *deployments.Error {
	d := p.w.Deployment
	if d == nil {
		return nil
	}
	if p.w.Keys[servers.KeyOf("environment", p.w.Environment.ID)] == agentv1.KeyStatus_STATE_FAILED {
		return &deployments.Error{Code: "network_failed", Message: "The server could not make the environment's network. An operator finds the reason in the agent's log."}
	}
	for _, i := range matching(p.w, svc) {
		fresh := !i.CreatedAt.Before(d.CreatedAt) || i.ReadyAt == nil
		looping := i.State() == agentv1.InstanceState_INSTANCE_STATE_RESTARTING && i.Status.GetRestarts() >= 3
		// What was well before may be away for a moment. For longer, waiting only hides why nothing goes on.
		sick := !ready(i) && p.w.Now.Sub(d.CreatedAt) > keptPatience
		if (fresh && (failed(i) || looping)) || (!fresh && sick) {
			return deployments.ReasonOf(i)
		}
	}
	return nil
}

// keptPatience is how long a deployment waits for an instance that it keeps and that is not well.
const keptPatience = time.Minute

func (p *planner) mayStart(svc spec.Service) bool {
	for _, d := range svc.DependsOn {
		on := p.w.Target.Service(d.Service)
		if on == nil || !satisfied(p.w, *on, d.Condition) {
			return false
		}
	}
	return true
}

// start adds the instances of a service that are missing, making room first where a volume may have one writer only.
func (p *planner) start(svc spec.Service) {
	w := p.w
	key := taskKey(w.Target, svc)
	if svc.Task && w.TasksDone[key] {
		return
	}
	have := matching(w, svc)
	if svc.SingleWriter() && len(have) == 0 && w.Replicas[svc.Name] > 0 && p.blocked(svc) {
		return
	}
	taken := map[int]bool{}
	for _, i := range have {
		taken[i.Index] = true
	}
	for index, missing := 0, w.Replicas[svc.Name]-len(have); missing > 0; index++ {
		if taken[index] {
			continue
		}
		i := deployments.Instance{
			ReleaseID: w.Target.ID, Service: svc.Name, Index: index, Spec: svc.Container, VariablesVersion: w.Target.VariablesVersion,
		}
		if svc.Task {
			i.TaskKey = &key
		}
		p.c.Create = append(p.c.Create, i)
		missing--
	}
}

// blocked ends whoever else writes to a service's volumes and reports whether one of them is still there. Services of
// the target may share a volume, because their source says so.
func (p *planner) blocked(svc spec.Service) bool {
	mine := svc.Container.Writes()
	blocked := false
	for _, i := range p.w.Instances {
		shared := slices.ContainsFunc(i.Spec.Writes(), func(id string) bool { return slices.Contains(mine, id) })
		if !shared || p.isGone(i) || (i.Service != svc.Name && belongs(p.w, p.w.Target, i)) {
			continue
		}
		blocked = true
		p.retire(i, "deployment")
	}
	return blocked
}

func (p *planner) isGone(i deployments.Instance) bool {
	return i.Desired == "gone" && i.State() == agentv1.InstanceState_INSTANCE_STATE_GONE
}

// retireOthers ends what the target does not have: other specifications, services that left, counts that shrank, tasks
// of earlier releases.
func (p *planner) retireOthers() {
	keep := map[uuid.UUID]bool{}
	for _, svc := range p.w.Target.Application.Services {
		for n, i := range matching(p.w, svc) {
			if n < p.w.Replicas[svc.Name] {
				keep[i.ID] = true
			}
		}
	}
	for _, i := range p.w.Instances {
		if keep[i.ID] {
			continue
		}
		cause := "deployment"
		if svc := p.w.Target.Service(i.Service); svc != nil && svc.Container.Hash() == i.SpecHash {
			cause = "scale"
		}
		p.retire(i, cause)
	}
}

// retireStale ends what belongs to no release that may still be served: those that were superseded or given up on their
// way. What has passed its gate may be in the routes that the gateway serves, so it waits for the newest ones.
func (p *planner) retireStale() {
	w := p.w
	for _, i := range w.Instances {
		named := i.ReadyAt != nil || ready(i)
		if (named && !w.RoutesServed) || belongs(w, w.Target, i) || belongs(w, w.Serving, i) || belongs(w, w.Live, i) {
			continue
		}
		p.retire(i, "deployment")
	}
}

// belongs reports whether an instance that shall run is one of a release's.
func belongs(w *deployments.World, r *deployments.Release, i deployments.Instance) bool {
	svc := r.Service(i.Service)
	return svc != nil && matches(w, r, *svc, svc.Container.Hash(), i)
}

// complete reports whether everything of the target is ready at this moment.
func complete(w *deployments.World) bool {
	if w.Target == nil {
		return false
	}
	for _, svc := range w.Target.Application.Services {
		if !satisfied(w, svc, want(svc)) {
			return false
		}
	}
	return true
}

// want is how far a service must have come for its release to be complete.
func want(svc spec.Service) spec.Condition {
	if svc.Task {
		return spec.Completed
	}
	return spec.Healthy
}

// satisfied reports whether a service of the target has come as far as a condition says.
func satisfied(w *deployments.World, svc spec.Service, condition spec.Condition) bool {
	if svc.Task {
		return w.TasksDone[taskKey(w.Target, svc)] || slices.ContainsFunc(matching(w, svc), func(i deployments.Instance) bool {
			return i.State() == agentv1.InstanceState_INSTANCE_STATE_COMPLETED ||
				(condition == spec.Started && i.State() == agentv1.InstanceState_INSTANCE_STATE_STARTING)
		})
	}
	n := 0
	for _, i := range matching(w, svc) {
		if ready(i) || (condition == spec.Started && started(i)) {
			n++
		}
	}
	return n >= w.Replicas[svc.Name]
}

// matching lists the instances that shall run and have the specification of a service, those to be kept first: what
// is well before what is not, older indexes before newer ones.
func matching(w *deployments.World, svc spec.Service) []deployments.Instance {
	hash := svc.Container.Hash()
	var list []deployments.Instance
	for _, i := range w.Instances {
		if matches(w, w.Target, svc, hash, i) {
			list = append(list, i)
		}
	}
	slices.SortStableFunc(list, func(a, b deployments.Instance) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Index, b.Index))
	})
	return list
}

// matches reports whether an instance shall run and is one of a release's service. A task's instance counts only for
// the release that asked for it, and one that failed before a deployment began says nothing about that deployment.
func matches(w *deployments.World, r *deployments.Release, svc spec.Service, hash string, i deployments.Instance) bool {
	if i.Desired != "running" || i.Service != svc.Name || i.SpecHash != hash {
		return false
	}
	if svc.Task && (i.TaskKey == nil || *i.TaskKey != taskKey(r, svc)) {
		return false
	}
	return !failed(i) || w.Deployment == nil || !i.CreatedAt.Before(w.Deployment.CreatedAt)
}

// rank orders instances by how well they are.
func rank(i deployments.Instance) int {
	switch {
	case ready(i):
		return 0
	case i.ReadyAt != nil && !failed(i):
		return 1
	case !failed(i):
		return 2
	default:
		return 3
	}
}

// taskKey names a run of a task: once for each release.
func taskKey(r *deployments.Release, svc spec.Service) string { return r.ID.String() + ":" + svc.Name }

// ready also holds for what somebody changed by hand on a server: its agent reports drift in place of ready, and goes
// on sending visitors there.
func ready(i deployments.Instance) bool {
	return i.State() == agentv1.InstanceState_INSTANCE_STATE_READY || (i.State() == agentv1.InstanceState_INSTANCE_STATE_DRIFTED && i.ReadyAt != nil)
}

func started(i deployments.Instance) bool {
	switch i.State() {
	case agentv1.InstanceState_INSTANCE_STATE_STARTING, agentv1.InstanceState_INSTANCE_STATE_READY,
		agentv1.InstanceState_INSTANCE_STATE_UNREADY, agentv1.InstanceState_INSTANCE_STATE_RESTARTING:
		return true
	default:
		return false
	}
}

func failed(i deployments.Instance) bool {
	return i.State() == agentv1.InstanceState_INSTANCE_STATE_FAILED
}
