package compose

import (
	"slices"
	"strings"

	"pandu/modules/spec"
)

type dependency struct {
	name      string
	line      int
	condition spec.Condition
}

func (w *walker) dependsKey(path string, v *value) any {
	s := w.of(path)
	switch v.kind {
	case list:
		for _, item := range v.items {
			s.dependencies = append(s.dependencies, dependency{item.text, item.line, spec.Started})
		}
	case mapping:
		for _, p := range v.pairs {
			w.lines[join(path, p.key)] = p.line
			m := w.mapping(join(path, p.key), p.v, dependencyRules())
			condition := spec.Condition(text(m["condition"], string(spec.Started)))
			if !slices.Contains([]spec.Condition{spec.Started, spec.Healthy, spec.Completed}, condition) {
				w.problem(p.line, join(path, p.key), "invalid_value", "The condition %.60s is not known. Use service_started, service_healthy or service_completed_successfully.", condition)
			}
			s.dependencies = append(s.dependencies, dependency{p.key, p.line, condition})
		}
	case scalar:
		w.wrongKind(path, v, "a list or a mapping")
	}
	slices.SortFunc(s.dependencies, func(a, b dependency) int { return strings.Compare(a.name, b.name) })
	return nil
}

// judgeDependencies refuses dependencies on nothing and in a circle, and conditions that contradict each other.
func (w *walker) judgeDependencies() {
	names := make([]string, 0, len(w.services))
	for name := range w.services {
		names = append(names, name)
	}
	slices.Sort(names)
	done := map[string]bool{}
	for _, name := range names {
		w.follow(name, nil, done)
	}
}

func (w *walker) follow(name string, trail []string, done map[string]bool) {
	if done[name] {
		return
	}
	trail = append(trail, name)
	for _, d := range w.services[name].dependencies {
		at := join("services."+name+".depends_on", d.name)
		target, ok := w.services[d.name]
		switch i := slices.Index(trail, d.name); {
		case !ok:
			w.problem(d.line, at, "dependency_missing", "The service %s depends on %.60s, which the file does not have.", name, d.name)
		case target.skipped && !w.services[name].skipped:
			w.problem(d.line, at, "dependency_missing", "The service %s depends on %.60s, which has a profile and is not started.", name, d.name)
		case i >= 0:
			w.problem(d.line, at, "dependency_cycle", "The services depend on each other in a circle: %s.", strings.Join(append(slices.Clone(trail[i:]), d.name), " → "))
		default:
			w.follow(d.name, trail, done)
		}
	}
	done[name] = true
}
