package compose

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	mostNodes  = 20_000
	mostDepth  = 24
	mostScalar = 64 << 10 // bytes
)

type kind int

const (
	null kind = iota
	scalar
	list
	mapping
)

// value is a YAML value with aliases and merges resolved, and the line it stands in.
type value struct {
	kind  kind
	line  int
	text  string // of a scalar
	tag   string // of a scalar: !!str, !!int, !!float, !!bool
	items []*value
	pairs []pair
}

type pair struct {
	key  string
	line int
	v    *value
}

func (v *value) get(key string) *value {
	for _, p := range v.pairs {
		if p.key == key {
			return p.v
		}
	}
	return nil
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

// read parses the file into one document's value; nil after a problem.
func (w *walker) read() *value {
	d := yaml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(w.input.Data, []byte("\xef\xbb\xbf"))))
	var doc yaml.Node
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		w.problem(0, "", "compose_empty", "The file is empty.")
		return nil
	} else if err != nil {
		w.syntax(err)
		return nil
	}
	var second yaml.Node
	if err := d.Decode(&second); err == nil {
		w.problem(second.Line, "", "compose_documents", "The file has several documents. Keep one.")
		return nil
	} else if !errors.Is(err, io.EOF) {
		w.syntax(err)
		return nil
	}
	r := &resolver{w: w}
	v := r.resolve(doc.Content[0], 0)
	if len(w.problems) > 0 {
		return nil
	}
	return v
}

func (w *walker) syntax(err error) {
	line := 0
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		line, _ = strconv.Atoi(m[1])
	}
	w.problem(line, "", "compose_syntax", "The file is not well-formed YAML: %s.", strings.TrimPrefix(err.Error(), "yaml: "))
}

// resolver turns nodes into values, counting them: an alias can stand for any number.
type resolver struct {
	w       *walker
	nodes   int
	stopped bool
}

func (r *resolver) resolve(n *yaml.Node, depth int) *value {
	if r.nodes++; r.nodes > mostNodes || depth > mostDepth {
		if !r.stopped {
			r.w.problem(n.Line, "", "compose_complex", "The file is nested too deeply, or its aliases stand for too much.")
		}
		r.stopped = true
	}
	v := &value{line: n.Line}
	if r.stopped || !r.tagged(n) {
		return v
	}
	switch n.Kind {
	case yaml.AliasNode:
		aliased := *r.resolve(n.Alias, depth+1)
		aliased.line = n.Line
		return &aliased
	case yaml.SequenceNode:
		v.kind = list
		for _, c := range n.Content {
			v.items = append(v.items, r.resolve(c, depth+1))
		}
	case yaml.MappingNode:
		v.kind = mapping
		r.pairs(v, n, depth)
	case yaml.ScalarNode:
		r.scalar(v, n)
	}
	return v
}

// tagged refuses tags that mean anything beyond plain data, such as !reset and !!python/object.
func (r *resolver) tagged(n *yaml.Node) bool {
	switch n.ShortTag() {
	case "", "!", "!!str", "!!int", "!!float", "!!bool", "!!null", "!!map", "!!seq", "!!merge":
		return true
	case "!!timestamp":
		return n.Style&yaml.TaggedStyle == 0
	}
	r.w.problem(n.Line, "", "custom_tag", "The tag %.40s is not allowed.", n.Tag)
	return false
}

func (r *resolver) scalar(v *value, n *yaml.Node) {
	switch {
	case len(n.Value) > mostScalar:
		r.w.problem(n.Line, "", "value_long", "The value has more than 64 KiB.")
	case strings.ContainsRune(n.Value, 0):
		r.w.problem(n.Line, "", "value_characters", "The value holds a NUL character.")
	case n.ShortTag() == "!!null":
		return
	}
	v.kind, v.text, v.tag = scalar, n.Value, n.ShortTag()
}

func (r *resolver) pairs(v *value, n *yaml.Node, depth int) {
	var merged []*value
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, c := n.Content[i], n.Content[i+1]
		for k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		switch {
		case k.Kind != yaml.ScalarNode:
			r.w.problem(n.Content[i].Line, "", "key_form", "A key must be plain text.")
		case k.ShortTag() == "!!merge":
			merged = append(merged, r.resolve(c, depth+1))
		case !r.tagged(k):
		case v.get(k.Value) != nil:
			r.w.problem(n.Content[i].Line, k.Value, "duplicate_key", "The key %.60s is there twice.", k.Value)
		default:
			v.pairs = append(v.pairs, pair{k.Value, n.Content[i].Line, r.resolve(c, depth+1)})
		}
		if r.stopped {
			return
		}
	}
	for _, m := range merged {
		r.merge(v, m)
	}
}

// merge adds what << brings: explicit keys win, earlier merges win over later ones.
func (r *resolver) merge(v, from *value) {
	sources := []*value{from}
	if from.kind == list {
		sources = from.items
	}
	for _, s := range sources {
		if s.kind != mapping {
			r.w.problem(s.line, "<<", "invalid_value", "Only a mapping can be merged with <<.")
			return
		}
		for _, p := range s.pairs {
			if v.get(p.key) == nil {
				v.pairs = append(v.pairs, p)
			}
		}
		if r.nodes += len(s.pairs); r.nodes > mostNodes {
			return
		}
	}
}

// keys lists the keys of a mapping, sorted.
func (v *value) keys() []string {
	var names []string
	for _, p := range v.pairs {
		names = append(names, p.key)
	}
	slices.Sort(names)
	return names
}
