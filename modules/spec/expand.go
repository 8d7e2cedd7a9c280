package spec

import (
	"slices"
	"strings"

	"pandu/modules/kit/fault"
)

// maxNesting is how deep a default may hold references itself.
const maxNesting = 8

// piece is literal text, or a reference to a variable with what to do about it.
type piece struct {
	text      string
	name      string // of a reference
	operation string // "", "-", ":-", "?", ":?", "+", ":+"
	word      []piece
}

// Reference is a variable that a value refers to.
type Reference struct {
	Name     string
	Optional bool // has a default, or is only asked whether it is set
}

// Expand resolves the references of a value as compose does: $NAME and ${NAME} (empty when it is not set), a default in
// ${NAME:-default} (also when empty) and ${NAME-default}, a replacement in ${NAME:+text} and ${NAME+text}, a demand in
// ${NAME:?message} and ${NAME?message}, and $$ for a dollar. What a variable holds is not expanded again. It fails with
// variable_reference (not well formed), variable_missing (a demand that is not met) and variable_long.
func Expand(value string, lookup func(name string) (string, bool)) (string, error) {
	pieces, err := parseReferences(value)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if err := expand(&b, pieces, lookup); err != nil {
		return "", err
	}
	return b.String(), nil
}

// References lists the variables that value refers to, sorted, each once.
func References(value string) ([]Reference, error) {
	pieces, err := parseReferences(value)
	if err != nil {
		return nil, err
	}
	optional := map[string]bool{}
	collect(pieces, optional)
	list := make([]Reference, 0, len(optional))
	for name, o := range optional {
		list = append(list, Reference{name, o})
	}
	slices.SortFunc(list, func(a, b Reference) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

func collect(pieces []piece, optional map[string]bool) {
	for _, p := range pieces {
		if p.name == "" {
			continue
		}
		o := p.operation != "" && !strings.HasSuffix(p.operation, "?")
		if before, ok := optional[p.name]; ok {
			o = o && before
		}
		optional[p.name] = o
		collect(p.word, optional)
	}
}

func expand(b *strings.Builder, pieces []piece, lookup func(string) (string, bool)) error {
	for _, p := range pieces {
		if p.name == "" {
			b.WriteString(p.text)
		} else if err := p.resolve(b, lookup); err != nil {
			return err
		}
		if b.Len() >= maxArgument {
			return fault.Newf(fault.Invalid, "variable_long", "A variable is longer than %d bytes once its references are resolved.", maxArgument)
		}
	}
	return nil
}

func (p piece) resolve(b *strings.Builder, lookup func(string) (string, bool)) error {
	value, set := lookup(p.name)
	if strings.HasPrefix(p.operation, ":") {
		set = set && value != ""
	}
	switch strings.TrimPrefix(p.operation, ":") {
	case "-":
		if !set {
			return expand(b, p.word, lookup)
		}
	case "+":
		if set {
			return expand(b, p.word, lookup)
		}
		return nil
	case "?":
		if !set {
			return p.missing(lookup)
		}
	}
	b.WriteString(value)
	return nil
}

func (p piece) missing(lookup func(string) (string, bool)) error {
	var message strings.Builder
	if err := expand(&message, p.word, lookup); err != nil {
		return err
	}
	f := fault.Newf(fault.Invalid, "variable_missing", "The variable %s must be set. Set it in the environment's variables.", p.name)
	if message.Len() > 0 {
		f = fault.Newf(fault.Invalid, "variable_missing", "The variable %s must be set: %s", p.name, message.String())
	}
	return f.With("name", p.name)
}

func malformed(value string) error {
	return fault.Newf(fault.Invalid, "variable_reference", "%.60q is no reference to a variable. Write ${NAME} or ${NAME:-default}; a dollar sign itself is $$.", value).With("value", value)
}

func parseReferences(value string) ([]piece, error) {
	pieces, rest, err := parsePieces(value, 0)
	if err == nil && rest != "" {
		panic("spec: the outermost text ends only at its end")
	}
	return pieces, err
}

// parsePieces reads up to the end, or inside of braces up to the closing one, which it leaves in rest.
func parsePieces(s string, depth int) (pieces []piece, rest string, err error) {
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			pieces = append(pieces, piece{text: text.String()})
			text.Reset()
		}
	}
	for s != "" && (depth == 0 || s[0] != '}') {
		switch {
		case s[0] != '$':
			text.WriteByte(s[0])
			s = s[1:]
		case strings.HasPrefix(s, "$$"):
			text.WriteByte('$')
			s = s[2:]
		default:
			flush()
			var p piece
			if p, s, err = parseReference(s, depth); err != nil {
				return nil, "", err
			}
			pieces = append(pieces, p)
		}
	}
	flush()
	return pieces, s, nil
}

// parseReference reads $NAME or ${NAME…} at the beginning of s.
func parseReference(s string, depth int) (piece, string, error) {
	body, braced := strings.CutPrefix(s[1:], "{")
	n := nameLength(body)
	if n == 0 || depth > maxNesting {
		return piece{}, "", malformed(s)
	}
	p, rest := piece{name: body[:n]}, body[n:]
	if !braced {
		return p, rest, nil
	}
	for _, o := range []string{":-", ":?", ":+", "-", "?", "+"} {
		if after, ok := strings.CutPrefix(rest, o); ok {
			var err error
			p.operation = o
			if p.word, rest, err = parsePieces(after, depth+1); err != nil {
				return piece{}, "", err
			}
			break
		}
	}
	rest, closed := strings.CutPrefix(rest, "}")
	if !closed {
		return piece{}, "", malformed(s)
	}
	return p, rest, nil
}

func nameLength(s string) int {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || (c|0x20 >= 'a' && c|0x20 <= 'z')
		if !letter && (i == 0 || c < '0' || c > '9') {
			return i
		}
	}
	return len(s)
}
