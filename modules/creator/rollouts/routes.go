package rollouts

import (
	"slices"

	"pandu/modules/agent/agentv1"
	"pandu/modules/manager/deployments"
	"pandu/modules/manager/projects"
	"pandu/modules/spec"
)

// Serve is the release whose instances the routes shall name: the one they name now, until everything of the target is
// ready; then the target, in one revision.
func Serve(w *deployments.World) *deployments.Release {
	if w.Target == nil || w.Environment.Wanted != projects.Running || !w.ServerState.Synced {
		return w.Serving
	}
	if w.Serving != nil && w.Serving.ID == w.Target.ID {
		return w.Serving
	}
	if complete(w) {
		return w.Target
	}
	return w.Serving
}

// Routes is what the gateway shall serve of an environment: nil for one that is being deleted. w.Serving is what Serve said.
func Routes(w *deployments.World) *agentv1.RouteSet {
	if w.Environment.Wanted == projects.Deleted {
		return nil
	}
	set := &agentv1.RouteSet{EnvironmentId: w.Environment.ID.String(), OrganizationId: w.Environment.OrganizationID.String()}
	release := w.Serving
	if release == nil {
		release = w.Target
	}
	main := mainService(release)
	for _, d := range w.Domains {
		service := d.Service
		if service == "" {
			service = main
		}
		set.Routes = append(set.Routes, route(w, service, d.Hostname, 0))
	}
	if w.OwnPort != 0 {
		set.Routes = append(set.Routes, route(w, main, "", uint32(w.OwnPort)))
	}
	for _, name := range serviceNames(w.Serving, w.Target) {
		if ids := named(w, name); len(ids) > 0 {
			set.Names = append(set.Names, &agentv1.ServiceName{Name: name, InstanceIds: ids})
		}
	}
	return set
}

func mainService(r *deployments.Release) string {
	if r == nil {
		return ""
	}
	name, _ := spec.ChoosePublic(r.Application)
	return name
}

func route(w *deployments.World, service, host string, port uint32) *agentv1.Route {
	r := &agentv1.Route{Host: host, ListenPort: port, Path: "/", Service: service}
	switch {
	case w.Environment.Wanted == projects.Stopped:
		r.State = agentv1.Route_STATE_STOPPED
	case w.Serving == nil || service == "":
		r.State = agentv1.Route_STATE_STARTING // nothing passed yet: what is being tried is not shown to visitors
	default:
		r.State = agentv1.Route_STATE_SERVING
		r.InstanceIds = named(w, service)
		if svc := w.Serving.Service(service); svc != nil {
			r.Port = uint32(svc.Container.Port)
		}
	}
	return r
}

// named are the instances that a service's name stands for: those of the release that is served; or, where it has none
// (it is new, or its old instance had to stop first), those of the target that have passed their gate.
func named(w *deployments.World, service string) []string {
	if w.Environment.Wanted != projects.Running {
		return nil
	}
	if ids := passed(w, w.Serving, service); len(ids) > 0 {
		return ids
	}
	return passed(w, w.Target, service)
}

// passed lists the instances of a release's service that shall run and have passed their gate, as many as are wanted.
func passed(w *deployments.World, r *deployments.Release, service string) []string {
	svc := r.Service(service)
	if svc == nil || svc.Task {
		return nil
	}
	var ids []string
	for _, i := range matching(w, *svc) {
		if (i.ReadyAt != nil || ready(i)) && !failed(i) && len(ids) < w.Replicas[service] {
			ids = append(ids, i.ID.String())
		}
	}
	slices.Sort(ids)
	return ids
}

func serviceNames(releases ...*deployments.Release) []string {
	var names []string
	for _, r := range releases {
		if r == nil {
			continue
		}
		for _, svc := range r.Application.Services {
			names = append(names, svc.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
