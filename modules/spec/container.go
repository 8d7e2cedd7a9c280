package spec

import (
	"maps"
	"slices"
)

// VariableNames lists the variables of the environment that a container's own variables name, sorted, each once. A
// value that is not well formed names none: Policy refuses it.
func (c Container) VariableNames() []string {
	names := map[string]bool{}
	for _, e := range c.Env {
		if e.FromVariable {
			names[e.Name] = true
			continue
		}
		references, err := References(e.Value)
		if err != nil {
			continue
		}
		for _, r := range references {
			names[r.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// NeedsVariables reports whether an agent has to fetch variables before it can start the container.
func (c Container) NeedsVariables() bool { return c.AllVariables || len(c.VariableNames()) > 0 }

// Writes lists the ids of the volumes that the container may write to.
func (c Container) Writes() []string {
	var ids []string
	for _, m := range c.Mounts {
		if !m.ReadOnly {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// SingleWriter reports whether the service writes to a volume, so that only one instance may run at a time.
func (s Service) SingleWriter() bool { return len(s.Container.Writes()) > 0 }

// Settle makes the two ways of saying that a service runs to its end agree: a task is never restarted, and what is
// never restarted is a task.
func (s *Service) Settle() {
	if s.Task || s.Container.Restart == RestartNever {
		s.Task, s.Container.Restart, s.Replicas = true, RestartNever, 1
	}
}
