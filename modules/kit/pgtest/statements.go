package pgtest

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pandu/modules/kit/pg"
)

var (
	looksLikeSQL = regexp.MustCompile(`(?i)^\s*(select|insert|update|delete|with)\s`)
	argument     = regexp.MustCompile(`@([a-z_]+)`)
)

// Statements prepares every string constant of the Go package in a directory that is SQL against a migrated database,
// and fails t for one that does not fit, or that names another schema than its own. It fails, too, when it finds fewer
// than atLeast, which says that it looked in the wrong place. It returns their names.
func Statements(t *testing.T, dir, schema string, atLeast int) []string {
	t.Helper()
	ctx := context.Background()
	db := New(t)
	others, err := pg.Values[string](ctx, db.Pool, `select nspname::text from pg_namespace where nspname !~ '^(pg_|information_schema)' and nspname <> @own`, pg.Args{"own": schema})
	if err != nil {
		t.Fatal(err)
	}
	foreign := regexp.MustCompile(`\b(` + strings.Join(others, "|") + `)\.[a-z_]+`)
	conn, err := db.Pool.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	statements := constants(t, dir)
	var names []string
	for name, sql := range statements {
		names = append(names, name)
		if found := foreign.FindString(sql); found != "" {
			t.Errorf("%s names %s, which is another room's", name, found)
		}
		if _, err := conn.Conn().Prepare(ctx, name, numbered(sql)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(names) < atLeast {
		t.Errorf("found only %d statements in %s", len(names), dir)
	}
	slices.Sort(names)
	return names
}

// constants are the string constants of a package that are SQL, by name.
func constants(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		text, err := os.ReadFile(path) //nolint:gosec // the sources under test
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool { collect(n, found); return true })
	}
	return found
}

func collect(n ast.Node, into map[string]string) {
	spec, ok := n.(*ast.ValueSpec)
	if !ok {
		return
	}
	for i, v := range spec.Values {
		literal, ok := v.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			continue
		}
		if sql, err := strconv.Unquote(literal.Value); err == nil && looksLikeSQL.MatchString(sql) {
			into[spec.Names[i].Name] = sql
		}
	}
}

// numbered turns @name into $n, as pgx does.
func numbered(sql string) string {
	var names []string
	return argument.ReplaceAllStringFunc(sql, func(m string) string {
		i := slices.Index(names, m)
		if i < 0 {
			names = append(names, m)
			i = len(names) - 1
		}
		return "$" + strconv.Itoa(i+1)
	})
}
