package compose

import (
	"regexp"
	"slices"
	"strings"

	"pandu/modules/spec"
)

// variableForm is wider than that of the environment's own variables: programs read names with dots, too.
var variableForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,254}$`)

func (w *walker) environmentKey(path string, v *value) any {
	s := w.of(path)
	s.env = w.variables(path, v)
	for _, e := range s.env {
		line := w.lineOf(join(path, e.Name))
		if !variableForm.MatchString(e.Name) {
			w.problem(line, path, "variable_name", "%.60q is not a name for a variable.", e.Name)
		}
		if strings.HasPrefix(e.Name, "PANDU_") {
			w.problem(line, path, "variable_reserved", "Names that begin with PANDU_ are reserved. Choose another for %.60s.", e.Name)
		}
		if e.FromVariable {
			if err := spec.VariableName(e.Name); err != nil {
				w.refuse(line, path, err)
			}
			continue
		}
		if _, err := spec.References(e.Value); err != nil {
			w.refuse(line, join(path, e.Name), err)
		}
	}
	return nil
}

// variables reads NAME=value lists and mappings; the last of a name wins, as in compose. Sorted by name.
func (w *walker) variables(path string, v *value) []spec.Env {
	found := map[string]spec.Env{}
	set := func(line int, name, value string, has bool) {
		w.lines[join(path, name)] = line
		found[name] = spec.Env{Name: name, Value: value, FromVariable: !has}
	}
	switch v.kind {
	case mapping:
		for _, p := range v.pairs {
			if p.v.kind == list || p.v.kind == mapping {
				w.wrongKind(join(path, p.key), p.v, "text")
			}
			set(p.line, p.key, p.v.text, p.v.kind == scalar)
		}
	case list:
		for _, item := range v.items {
			if item.kind != scalar {
				w.problem(item.line, path, "invalid_value", "An item of %s must be NAME=value or NAME.", last(path))
			}
			name, text, has := strings.Cut(item.text, "=")
			set(item.line, name, text, has)
		}
	case scalar:
		w.wrongKind(path, v, "a list or a mapping")
	}
	var sorted []spec.Env
	for _, e := range found {
		sorted = append(sorted, e)
	}
	slices.SortFunc(sorted, func(a, b spec.Env) int { return strings.Compare(a.Name, b.Name) })
	return sorted
}
