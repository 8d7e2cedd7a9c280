package rollouts_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"pandu/modules/agent/agentv1"
	"pandu/modules/manager/deployments"
	"pandu/modules/manager/projects"
	"pandu/modules/spec"
)

// sim is an environment to which anything may happen in any order: what the agent does, what it reports, and what the
// gateway acknowledges are three different things.
type sim struct {
	*house
	t      *rapid.T
	up     bool // web was live and nobody has asked for anything that would end that
	number int
}

func TestSimulation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &sim{house: newHouse(), t: t}
		t.Repeat(map[string]func(*rapid.T){
			"deploy":  s.eventDeploy,
			"again":   s.eventRollback,
			"scale":   s.eventScale,
			"stop":    s.eventStop,
			"start":   s.eventStart,
			"cancel":  s.eventCancel,
			"move":    s.eventMove,
			"move+":   s.eventMove,
			"move++":  s.eventMove,
			"sicken":  s.eventSicken,
			"report":  s.eventReport,
			"report+": s.eventReport,
			"ack":     s.eventAck,
			"silent":  s.eventSilent,
			"synced":  s.eventSynced,
			"delete":  s.eventDelete,
			"":        func(*rapid.T) { s.rest(); s.check() },
		})
		s.quiet()
	})
}

// rest runs the plans that changes order. A plan orders another one only when it ended a deployment without success.
func (s *sim) rest() {
	for range 4 {
		n := len(s.results)
		s.plan()
		if s.w.Deployment == nil && len(s.results) > n && s.last() == "live" {
			s.wentLive()
		}
		if len(s.results) == n || s.last() == "live" {
			break
		}
	}
	if s.plan() {
		s.t.Fatal("planning twice changed something")
	}
}

func (s *sim) wentLive() {
	s.up = s.w.Environment.Wanted == projects.Running && s.w.Live.Service("web") != nil && s.w.Replicas["web"] > 0
}

func (s *sim) check() {
	s.checkVolumes()
	s.checkRoutes()
	s.checkGenerations()
}

// checkVolumes looks at what really runs, not at what was reported.
func (s *sim) checkVolumes() {
	writers := map[string]string{}
	for _, i := range s.w.Instances {
		if state := s.real[i.ID]; state == pending || state == gone || state == failed || state == completed {
			continue
		}
		for _, v := range i.Spec.Writes() {
			if other, taken := writers[v]; taken {
				s.t.Fatalf("%s and %s write to one volume", other, i.Service)
			}
			writers[v] = i.Service
		}
	}
}

func (s *sim) checkRoutes() {
	if s.removed || len(s.sets) == 0 {
		return
	}
	for _, set := range []*agentv1.RouteSet{s.sets[len(s.sets)-1], s.served()} {
		for _, r := range set.GetRoutes() {
			for _, id := range r.GetInstanceIds() {
				s.checkServed(uuid.MustParse(id))
			}
		}
	}
	if s.up && !s.anyServed() {
		s.t.Fatalf("visitors find nothing: %v", s.served())
	}
}

func (s *sim) checkServed(id uuid.UUID) {
	at := slices.IndexFunc(s.w.Instances, func(i deployments.Instance) bool { return i.ID == id })
	deleting := s.w.Environment.Wanted == projects.Deleted
	if at < 0 {
		if !deleting {
			s.t.Fatal("an instance that is gone is in the routes")
		}
		return
	}
	i := s.w.Instances[at]
	if i.ReadyAt == nil {
		s.t.Fatalf("%s is served, but never passed its gate", i.Service)
	}
	if i.Desired == "gone" && len(i.Spec.Writes()) == 0 && !deleting {
		s.t.Fatalf("%s was ended while the gateway still serves it", i.Service)
	}
}

func (s *sim) anyServed() bool {
	for _, r := range s.served().GetRoutes() {
		for _, id := range r.GetInstanceIds() {
			if state := s.real[uuid.MustParse(id)]; state == ready || state == unready {
				return true
			}
		}
	}
	return false
}

// served is what the gateway has taken.
func (s *sim) served() *agentv1.RouteSet {
	if s.acked == 0 {
		return nil
	}
	return s.sets[s.acked-1]
}

func (s *sim) checkGenerations() {
	if s.acked < len(s.sets) {
		return // what the gateway may still serve stays
	}
	kinds := map[string]bool{}
	for _, i := range s.w.Instances {
		if i.Service == "web" && i.Desired == "running" {
			kinds[i.SpecHash] = true
		}
	}
	if len(kinds) > 2 && s.w.ServerState.Synced {
		s.t.Fatalf("%d generations of web run", len(kinds))
	}
}

func (s *sim) eventDeploy(t *rapid.T) {
	if s.w.Environment.Wanted == projects.Deleted {
		t.Skip()
	}
	undo := deployments.Undo{}
	if s.w.Environment.Wanted == projects.Stopped {
		undo.Wanted = projects.Stopped
	}
	s.number++
	version := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "version")
	services := []spec.Service{service("web", version, public)}
	if rapid.Bool().Draw(t, "with database") {
		services = append(services, service("db", rapid.SampledFrom([]string{"a", "b"}).Draw(t, "database version"), writes("data")))
		if rapid.Bool().Draw(t, "web after database") {
			services[0].DependsOn = []spec.Dependency{{Service: "db", Condition: spec.Healthy}}
		}
	}
	if rapid.Bool().Draw(t, "with task") {
		services = append(services, service("migrate", "1", task))
		services[0].DependsOn = append(services[0].DependsOn, spec.Dependency{Service: "migrate", Condition: spec.Completed})
	}
	s.begin(deployments.KindDeploy, release(services...), undo)
	s.w.Environment.Wanted = projects.Running
}

func (s *sim) eventRollback(t *rapid.T) {
	if s.w.Live == nil || s.w.Environment.Wanted == projects.Deleted {
		t.Skip()
	}
	s.begin(deployments.KindRollback, s.w.Live, deployments.Undo{})
}

func (s *sim) eventScale(t *rapid.T) {
	if s.w.Live == nil || s.w.Environment.Wanted == projects.Deleted {
		t.Skip()
	}
	n, before := rapid.IntRange(0, 3).Draw(t, "replicas"), s.w.Replicas["web"]
	s.w.Replicas["web"] = n
	if n == 0 || before == 0 {
		s.up = false
	}
	if s.w.Deployment == nil {
		s.begin(deployments.KindScale, nil, deployments.Undo{Replicas: map[string]*int{"web": &before}})
	}
}

func (s *sim) eventStop(t *rapid.T) {
	if s.w.Environment.Wanted == projects.Deleted {
		t.Skip()
	}
	s.up = false
	s.begin(deployments.KindStop, nil, deployments.Undo{})
	s.w.Target, s.w.Serving = s.w.Live, s.w.Live
	s.w.Environment.Wanted = projects.Stopped
}

func (s *sim) eventStart(t *rapid.T) {
	if s.w.Live == nil || s.w.Environment.Wanted == projects.Deleted {
		t.Skip()
	}
	s.begin(deployments.KindStart, s.w.Live, deployments.Undo{Wanted: s.w.Environment.Wanted})
	s.w.Environment.Wanted = projects.Running
}

func (s *sim) eventCancel(t *rapid.T) {
	if s.w.Deployment == nil {
		t.Skip()
	}
	s.retreat("cancelled")
	s.up = s.up && s.w.Environment.Wanted == projects.Running && s.w.Replicas["web"] > 0
}

func (s *sim) eventDelete(t *rapid.T) {
	if rapid.IntRange(0, 9).Draw(t, "sure") > 0 {
		t.Skip()
	}
	s.up = false
	s.w.Deployment, s.w.Environment.Wanted, s.w.Environment.KeepVolumes = nil, projects.Deleted, rapid.Bool().Draw(t, "keep volumes")
}

// eventMove lets the agent get one step further with one instance, without telling anybody.
func (s *sim) eventMove(t *rapid.T) {
	if len(s.w.Instances) == 0 {
		t.Skip()
	}
	s.move(rapid.SampledFrom(s.w.Instances).Draw(t, "instance"), rapid.IntRange(0, 5).Draw(t, "luck") > 0)
}

func (s *sim) move(i deployments.Instance, lucky bool) {
	state := s.real[i.ID]
	known := s.w.ServerState.Synced // what was decided meanwhile has not been sent
	switch {
	case i.Desired == "gone" && known && state == pending:
		state = gone
	case i.Desired == "gone" && known && state != stopping && state != gone:
		state = stopping
	case state == stopping:
		state = gone
	case state == pending && (known || i.Status != nil):
		state = starting
	case state == starting && !lucky:
		state = failed
	case state == starting && i.TaskKey != nil:
		state = completed
	case state == starting || state == unready:
		state = ready
	}
	s.real[i.ID] = state
}

// eventSicken lets the check of an instance fail for a while.
func (s *sim) eventSicken(t *rapid.T) {
	well := slices.DeleteFunc(slices.Clone(s.w.Instances), func(i deployments.Instance) bool { return s.real[i.ID] != ready })
	if len(well) == 0 {
		t.Skip()
	}
	s.real[rapid.SampledFrom(well).Draw(t, "instance").ID] = unready
}

// eventReport brings the news of one instance to the database: late, early, or again.
func (s *sim) eventReport(t *rapid.T) {
	if len(s.w.Instances) == 0 || !s.w.ServerState.Synced {
		t.Skip()
	}
	i := rapid.SampledFrom(s.w.Instances).Draw(t, "instance")
	s.report(i.ID, s.real[i.ID])
}

func (s *sim) eventAck(t *rapid.T) {
	if s.acked == len(s.sets) || !s.w.ServerState.Synced {
		t.Skip()
	}
	s.acked = rapid.IntRange(s.acked+1, len(s.sets)).Draw(t, "revision")
}

func (s *sim) eventSilent(*rapid.T) { s.w.ServerState.Synced = false }

func (s *sim) eventSynced(*rapid.T) { s.synced() }

func (s *sim) synced() {
	s.w.ServerState.Synced = true
	for _, i := range s.w.Instances {
		s.report(i.ID, s.real[i.ID])
	}
}

// quiet lets everything happen that is on its way, then looks at what came of it.
func (s *sim) quiet() {
	for range 60 {
		s.synced()
		s.rest()
		for _, i := range slices.Clone(s.w.Instances) {
			s.move(i, true)
		}
		s.acked = len(s.sets)
		s.synced()
		s.buryKeys()
		s.rest()
		s.check()
	}
	s.tick(time.Hour)
	s.rest()
	for range 10 {
		for _, i := range slices.Clone(s.w.Instances) {
			s.move(i, true)
		}
		s.synced()
		s.acked = len(s.sets)
		s.rest()
	}
	s.end()
}

// buryKeys reports the network and the volumes that were to be given up.
func (s *sim) buryKeys() {
	for key, tombstone := range s.w.Held {
		if tombstone {
			s.w.Keys[key] = agentv1.KeyStatus_STATE_GONE
		}
	}
}

func (s *sim) end() {
	if s.w.Deployment != nil {
		s.t.Fatalf("the deployment of kind %s never ended", s.w.Deployment.Kind)
	}
	switch {
	case s.w.Environment.Wanted == projects.Deleted:
		if !s.removed || len(s.w.Instances) > 0 {
			s.t.Fatal("not everything was removed")
		}
	case s.w.Environment.Wanted == projects.Stopped || s.w.Live == nil:
		if len(s.w.Instances) > 0 {
			s.t.Fatalf("%d instances are left", len(s.w.Instances))
		}
	default:
		s.endRunning()
	}
}

func (s *sim) endRunning() {
	wanted := 0
	for _, svc := range s.w.Live.Application.Services {
		if svc.Task {
			continue
		}
		wanted += s.w.Replicas[svc.Name]
		if got := len(s.of(svc.Name)); got != s.w.Replicas[svc.Name] {
			s.t.Fatalf("%d of %d instances of %s", got, s.w.Replicas[svc.Name], svc.Name)
		}
		for _, id := range s.of(svc.Name) {
			if s.find(id).SpecHash != svc.Container.Hash() {
				s.t.Fatalf("%s is not the live release's", svc.Name)
			}
		}
	}
	left := 0
	for _, i := range s.w.Instances {
		if i.TaskKey == nil {
			left++
		}
	}
	if left != wanted {
		s.t.Fatalf("%d instances are there, %d are wanted", left, wanted)
	}
}
