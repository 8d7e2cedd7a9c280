package servers_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pandu/modules/kit/pgtest"
)

var (
	looksLikeSQL = regexp.MustCompile(`(?i)^\s*(select|insert|update|delete|with)\s`)
	named        = regexp.MustCompile(`@([a-z_]+)`)
	otherSchema  = regexp.MustCompile(`\b(app|audit|identity|billing|deployments|links|monitoring|projects|river|routing|storage)\.[a-z_]+`)
)

// Every statement of the room fits the migrated schema, and names no other room's.
func TestStatements(t *testing.T) {
	conn, err := pgtest.New(t).Pool.Acquire(context.Background())
	must(t, err)
	defer conn.Release()
	statements := constants(t)
	if len(statements) < 9 {
		t.Fatalf("found only %d statements", len(statements))
	}
	for name, sql := range statements {
		if found := otherSchema.FindString(sql); found != "" {
			t.Errorf("%s names %s, which is another room's", name, found)
		}
		if _, err := conn.Conn().Prepare(context.Background(), name, numbered(sql)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// constants are the string constants of the package that are SQL.
func constants(t *testing.T) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(".")
	must(t, err)
	found := map[string]string{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, parser.SkipObjectResolution)
		must(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			for i, v := range spec.Values {
				if lit, ok := v.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if sql, err := strconv.Unquote(lit.Value); err == nil && looksLikeSQL.MatchString(sql) {
						found[spec.Names[i].Name] = sql
					}
				}
			}
			return true
		})
	}
	return found
}

// numbered turns @name into $n, as pgx does.
func numbered(sql string) string {
	var names []string
	return named.ReplaceAllStringFunc(sql, func(m string) string {
		i := slices.Index(names, m)
		if i < 0 {
			names = append(names, m)
			i = len(names) - 1
		}
		return "$" + strconv.Itoa(i+1)
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
