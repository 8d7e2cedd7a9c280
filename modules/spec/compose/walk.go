package compose

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"pandu/modules/spec"
)

// rule says what becomes of one key. Without judge, why and note the value goes on as it is.
type rule struct {
	judge   func(w *walker, path string, v *value) any // returns what goes on; nil: nothing
	forbids string                                     // why it is refused as dangerous
	lacks   string                                     // why it is refused as not supported, with the remedy
	notes   string                                     // why it changes nothing
	allowed []string                                   // of forbids and lacks: harmless values, left out silently
}

type rules map[string]rule

// mapping walks a mapping by the rules and returns what goes on.
func (w *walker) mapping(path string, v *value, known rules) map[string]any {
	kept := map[string]any{}
	if v.kind == null {
		return kept
	}
	if v.kind != mapping {
		w.wrongKind(path, v, "a mapping")
		return kept
	}
	for _, p := range v.pairs {
		at := join(path, p.key)
		w.lines[at] = p.line
		r, ok := known[p.key]
		switch {
		case !ok && strings.HasPrefix(p.key, "x-"):
		case !ok:
			w.unknown(p.line, at, p.key, known)
		default:
			if result := w.apply(r, at, p); result != nil {
				kept[p.key] = result
			}
		}
	}
	return kept
}

func (w *walker) apply(r rule, at string, p pair) any {
	harmless := p.v.kind == null || (p.v.kind == scalar && slices.Contains(r.allowed, p.v.text)) ||
		(r.allowed != nil && p.v.kind == list && !slices.ContainsFunc(p.v.items, func(i *value) bool { return !slices.Contains(r.allowed, i.text) }))
	switch {
	case r.forbids != "" && !harmless:
		w.problem(p.line, at, "forbidden", "%s is not allowed: %s.", p.key, r.forbids)
	case r.lacks != "" && !harmless:
		w.problem(p.line, at, "unsupported", "%s is not supported: %s.", p.key, r.lacks)
	case r.notes != "":
		w.note(p.line, "ignored", "%s changes nothing here: %s.", p.key, r.notes)
	case r.judge != nil:
		return r.judge(w, at, p.v)
	case r.forbids == "" && r.lacks == "":
		return w.plain(at, p.v)
	}
	return nil
}

func (w *walker) unknown(line int, at, key string, known rules) {
	if len(w.problems) > mostProblems {
		return // nobody reads further
	}
	if near := nearest(key, known); near != "" {
		w.problem(line, at, "unknown_key", "The key %.60s is not known. Did you mean %s?", key, near)
		return
	}
	w.problem(line, at, "unknown_key", "The key %.60s is not known.", key)
}

func (w *walker) wrongKind(path string, v *value, want string) {
	w.problem(v.line, path, "invalid_value", "%s must be %s.", last(path), want)
}

// plain hands a value on as it is, with references to variables settled.
func (w *walker) plain(path string, v *value) any {
	w.lines[path] = v.line
	switch v.kind {
	case list:
		items := make([]any, 0, len(v.items))
		for i, item := range v.items {
			items = append(items, w.plain(fmt.Sprintf("%s[%d]", path, i), item))
		}
		return items
	case mapping:
		pairs := map[string]any{}
		for _, p := range v.pairs {
			pairs[p.key] = w.plain(join(path, p.key), p.v)
		}
		return pairs
	case scalar:
		return w.scalar(path, v)
	}
	return nil
}

func (w *walker) scalar(path string, v *value) any {
	text := w.settle(path, v)
	switch {
	case text != v.text: // a default: it has the type it looks like
		return typed(text)
	case v.tag == "!!int":
		if n, err := strconv.ParseInt(text, 0, 64); err == nil {
			return int(n)
		}
	case v.tag == "!!float":
		if n, err := strconv.ParseFloat(text, 64); err == nil {
			return n
		}
	case v.tag == "!!bool":
		return strings.EqualFold(text, "true")
	}
	return text
}

func typed(text string) any {
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	if text == "true" || text == "false" {
		return text == "true"
	}
	return text
}

// settle resolves the references in a text outside environment, where no variable reaches: only defaults count.
func (w *walker) settle(path string, v *value) string {
	if !strings.Contains(v.text, "$") {
		return v.text
	}
	references, err := spec.References(v.text)
	if err != nil {
		w.refuse(v.line, path, err)
		return v.text
	}
	for _, r := range references {
		if !r.Optional {
			w.problem(v.line, path, "variable_outside_environment",
				"%s refers to the variable %s, but variables reach values of environment only. Give a default (${%s:-value}), or write $${%s} where a shell in the container shall read it.", last(path), r.Name, r.Name, r.Name)
			return v.text
		}
	}
	text, err := spec.Expand(v.text, func(string) (string, bool) { return "", false })
	if err != nil {
		w.refuse(v.line, path, err)
	}
	return text
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func last(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// nearest is the known key at most two typing errors away, or "".
func nearest(key string, known rules) string {
	best, distance := "", 3
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if d := typos(strings.ToLower(strings.ReplaceAll(key, "-", "_")), name); d < distance && d < len(name) {
			best, distance = name, d
		}
	}
	return best
}

// typos is the Levenshtein distance, cut off for lengths that differ too much.
func typos(a, b string) int {
	if len(a)-len(b) > 2 || len(b)-len(a) > 2 {
		return 3
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := diagonal
			if a[i-1] != b[j-1] {
				change++
			}
			diagonal = row[j]
			row[j] = min(change, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}

// lineOf is the line of a path, or of the nearest thing around it.
func (w *walker) lineOf(path string) int {
	for path != "" {
		if line, ok := w.lines[path]; ok {
			return line
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return 0
}
