package browser

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rooms are the folders whose codes can reach a browser.
var rooms = []string{"app", "modules/spec", "modules/kit/archive", "modules/manager", "modules/creator", "modules/agent/converge", "modules/agent/internal/builds"}

// apart are codes that no page shows: what agents, builders and their servers tell each other, and remarks about a
// source, whose own sentences name places of the file.
var apart = []string{
	"agent_silent", "agent_slow", "attempt_over", "certificate_required", "certificate_revoked", "csr_refused", "digest_invalid",
	"hello_expected", "history_accepted", "image_config_invalid", "join_token_refused", "log_empty",
	"log_unreadable", "manager_required", "no_archive", "nobody_reads", "not_held", "server_id_invalid", "server_removed",
	"site_folder", "unused",
}

// composed are codes that are put together at run time, so that no literal says them whole.
var composed = []string{"registration_closed", "registration_invite", "instance_unhealthy", "instance_engine", "instance_many_ports", "internal"}

var (
	codeForm = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	english  = filepath.Join("..", "..", "ui", "src", "kit", "i18n", "locales", "en", "problems.json")
)

// TestEveryCodeHasWords wants a sentence for every code that can reach a person; the dashboard's own tests hold the
// other languages to English.
func TestEveryCodeHasWords(t *testing.T) {
	b, err := os.ReadFile(english)
	if err != nil {
		t.Fatal(err)
	}
	var words map[string]any
	if err := json.Unmarshal(b, &words); err != nil {
		t.Fatal(err)
	}
	found := codes(t)
	for _, code := range slices.Sorted(maps.Keys(found)) {
		if _, said := words[code]; !said && !slices.Contains(apart, code) {
			t.Errorf("%s has no sentence in problems.json (%s)", code, found[code])
		}
	}
	for _, code := range apart {
		if found[code] == "" {
			t.Errorf("%s is listed as apart, and nothing says it", code)
		}
	}
	if len(found) < 150 {
		t.Errorf("only %d codes were found: the search is broken", len(found))
	}
}

// codes finds every code of the rooms and one place that says it.
func codes(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, code := range composed {
		found[code] = "composed"
	}
	for _, room := range rooms {
		root := filepath.Join("..", "..", filepath.FromSlash(room))
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			return codesOf(path, prefixOf(room), found)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// prefixOf is what the manager puts before the codes of agents.
func prefixOf(room string) string {
	return map[string]string{"modules/agent/converge": "instance_", "modules/agent/internal/builds": "build_"}[room]
}

func codesOf(path, prefix string, found map[string]string) error {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	add := func(prefix string, e ast.Expr) {
		if code := literal(e); codeForm.MatchString(code) {
			found[prefix+code] = files.Position(e.Pos()).String()
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			switch name := called(n); {
			case (name == "fault.New" || name == "fault.Newf") && prefix == "":
				add("", n.Args[1])
			case name == "refuse" || name == "say" && prefix != "":
				add(prefix, n.Args[0])
			}
		case *ast.KeyValueExpr:
			if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Code" {
				add(prefix, n.Value)
			}
		case *ast.CompositeLit:
			if name, ok := n.Type.(*ast.Ident); ok && name.Name == "withReason" {
				add(prefix, n.Elts[0])
			}
		case *ast.ValueSpec: // the builder's codes are constants
			if prefix == "build_" && len(n.Values) == 1 && strings.HasPrefix(n.Names[0].Name, "code") {
				add(prefix, n.Values[0])
			}
		case *ast.ReturnStmt: // a verdict is a code, a sentence and its parameters
			if prefix == "instance_" && len(n.Results) == 3 {
				add(prefix, n.Results[0])
			}
		}
		return true
	})
	return nil
}

// called is the name of a called function, with its package or without its receiver.
func called(c *ast.CallExpr) string {
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok && x.Name == "fault" {
			return "fault." + f.Sel.Name
		}
		return f.Sel.Name
	}
	return ""
}

func literal(e ast.Expr) string {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return ""
	}
	s, _ := strconv.Unquote(l.Value)
	return s
}
