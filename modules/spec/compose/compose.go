// Package compose reads a compose file up into a service specification.
//
// It reads in two passes. The first walks the YAML with line numbers against a list of what is known: what is dangerous,
// not supported or unknown is refused by name and line, and only what is allowed goes on. The second lets compose-go
// normalise the rest, from memory, and converts it. The package opens no file and reads no environment; references to
// variables are resolved only in values of environment, and there by the agent.
package compose

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"unicode/utf8"

	"pandu/modules/kit/fault"
	"pandu/modules/spec"
)

// MaxSize bounds a compose file, in bytes.
const MaxSize = 1 << 20

// What bounds the lists that a person gets.
const (
	mostProblems = 100
	mostNotes    = 200
)

// Input is a compose file and what is beside it.
type Input struct {
	Name   string // inside the upload, for messages and relative paths: "compose.yaml"
	Data   []byte
	Exists func(path string) bool // whether the upload has a file or folder; nil: not asked
}

// Problem is one reason for refusing the file.
type Problem struct {
	File    string
	Line    int    // 0: the file as a whole
	Key     string // dotted path: services.web.privileged
	Code    string // stable, snake_case
	Message string // one sentence for the person, with a remedy where there is one
}

func (p Problem) String() string { return p.place() + ": " + p.Message }

// place is "file:line", or the file alone.
func (p Problem) place() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Parse reads a compose file. With problems, sorted by line, the application is empty.
func Parse(in Input) (spec.Application, []Problem) {
	w := &walker{input: in, lines: map[string]int{}}
	app := w.parse()
	if len(w.problems) == 0 {
		return app, nil
	}
	slices.SortStableFunc(w.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return spec.Application{}, w.problems[:min(len(w.problems), mostProblems)]
}

// Fault makes one fault (Invalid, compose_refused) of the problems, with a detail for each; nil for none.
func Fault(problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	f := fault.Newf(fault.Invalid, "compose_refused", "%s: %s", problems[0].place(), problems[0].Message)
	if n := len(problems) - 1; n > 0 {
		f.Message += fmt.Sprintf(" There are %d more problems.", n)
	}
	for _, p := range problems {
		f = f.At(p.place(), p.Message)
	}
	return f.With("file", problems[0].File)
}

// walker is one reading of a file.
type walker struct {
	input    Input
	problems []Problem
	notes    []spec.Note
	lines    map[string]int // dotted path -> line
	services map[string]*service
	networks int
}

// service is what the first pass keeps for the conversion, because compose-go would lose or change it.
type service struct {
	line         int
	skipped      bool // has a profile
	env          []spec.Env
	public       bool
	internal     bool
	port         int
	dependencies []dependency
}

func (w *walker) parse() spec.Application {
	switch {
	case len(w.input.Data) > MaxSize:
		w.problem(0, "", "compose_size", "The file is bigger than 1 MiB.")
	case !utf8.Valid(w.input.Data):
		w.problem(0, "", "compose_encoding", "The file is not in UTF-8. Save it in UTF-8.")
	}
	if len(w.problems) > 0 {
		return spec.Application{}
	}
	root := w.read()
	if root == nil {
		return spec.Application{}
	}
	clean := w.root(root)
	w.judgeDependencies()
	if len(w.problems) > 0 {
		return spec.Application{}
	}
	return w.convert(clean)
}

func (w *walker) problem(line int, key, code, format string, args ...any) {
	p := Problem{w.input.Name, line, key, code, fmt.Sprintf(format, args...)}
	same := func(q Problem) bool { return p.Line == q.Line && p.Code == q.Code && p.Message == q.Message }
	if !slices.ContainsFunc(w.problems, same) && len(w.problems) < 10*mostProblems { // an alias repeats what it stands for
		w.problems = append(w.problems, p)
	}
}

// refuse carries a fault over into a problem.
func (w *walker) refuse(line int, key string, err error) {
	f := fault.From(err)
	w.problem(line, key, f.Code, "%s", f.Message)
}

func (w *walker) note(line int, code, format string, args ...any) {
	n := spec.Note{Location: fmt.Sprintf("%s:%d", w.input.Name, line), Code: code, Message: fmt.Sprintf(format, args...)}
	if !slices.Contains(w.notes, n) && len(w.notes) < mostNotes {
		w.notes = append(w.notes, n)
	}
}

// inside joins a path of the file with the folder that the file is in; ok tells that it stays inside the upload.
func (w *walker) inside(name string) (joined string, ok bool) {
	if path.IsAbs(name) {
		return "", false
	}
	joined = path.Join(path.Dir(w.input.Name), name)
	return joined, joined != ".." && !(len(joined) > 2 && joined[:3] == "../")
}
