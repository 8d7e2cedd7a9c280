package compose

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"pandu/modules/kit/fault"
	"pandu/modules/spec"
)

// judgePolicy asks the policy that the agent will ask, with what only a release knows filled in.
func (w *walker) judgePolicy(at string, c spec.Container) {
	c.Image = spec.Image{Repository: "x/y", Digest: "sha256:" + strings.Repeat("0", 64)}
	c.Mounts = slices.Clone(c.Mounts)
	for i := range c.Mounts {
		c.Mounts[i].ID = fmt.Sprintf("00000000-0000-0000-0000-%012x", slices.IndexFunc(c.Mounts, func(m spec.Mount) bool { return m.Volume == c.Mounts[i].Volume }))
	}
	err := spec.Policy(c)
	if err == nil {
		return
	}
	keys := map[string]string{
		"resources.memory": "mem_limit", "resources.milli_cpu": "cpus", "resources.pids": "pids_limit", "env": "environment",
		"mounts": "volumes", "stop_grace": "stop_grace_period", "health": "healthcheck",
	}
	for _, d := range fault.From(err).Details {
		field, rest, _ := strings.Cut(d.Location, ".")
		key := field
		for _, k := range []string{d.Location, field} {
			if name, ok := keys[k]; ok {
				key = name
				break
			}
		}
		key = at + "." + key
		if field == "env" && rest != "" {
			key += "." + rest
		}
		if _, ok := w.lines[key]; !ok && field == "resources" {
			key = at + ".deploy.resources.limits." + map[string]string{"memory": "memory", "milli_cpu": "cpus", "pids": "pids"}[rest]
		}
		w.problem(w.lineOf(key), key, "policy", "%s.", strings.ToUpper(d.Message[:1])+d.Message[1:])
	}
}

// tasks marks what others wait for to complete.
func (w *walker) tasks(services []spec.Service) {
	for i := range services {
		s := &services[i]
		waited := map[spec.Condition]int{}
		for _, other := range services {
			for _, d := range w.services[other.Name].dependencies {
				if d.name == s.Name {
					waited[d.condition] = d.line
				}
			}
		}
		line, ok := waited[spec.Completed]
		if !ok {
			continue
		}
		s.Task, s.Container.Restart, s.Container.Listens = true, spec.RestartNever, false
		at := "services." + s.Name
		if healthy, also := waited[spec.Healthy]; also {
			w.problem(healthy, at, "task", "The service %s runs to its end (line %d), so nothing can wait for it to be healthy.", s.Name, line)
		}
		if s.Replicas != 1 {
			w.problem(w.lineOf(at+".deploy.replicas"), at, "task", "The service %s runs to its end, so it has one replica.", s.Name)
		}
		if s.Public {
			w.problem(w.lineOf(at+".x-pandu"), at, "task", "The service %s runs to its end, so it cannot be public.", s.Name)
		}
	}
}

// judgeShared notes volumes of several services: they must run on one server.
func (w *walker) judgeShared(services []spec.Service) {
	users := map[string][]string{}
	for _, s := range services {
		for _, m := range s.Container.Mounts {
			if !slices.Contains(users[m.Volume], s.Name) {
				users[m.Volume] = append(users[m.Volume], s.Name)
			}
		}
	}
	for _, volume := range slices.Sorted(maps.Keys(users)) {
		if names := users[volume]; len(names) > 1 {
			w.note(w.lineOf("volumes."+volume), "volume_shared", "The volume %s is mounted by %s, which therefore run on one server.", volume, strings.Join(names, " and "))
		}
	}
}
