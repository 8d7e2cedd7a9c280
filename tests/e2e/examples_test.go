package e2e

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pandu/tests/images"
)

// example packs examples/NAME; edit may change a file's content.
func example(t *testing.T, name string, edit func(path, content string) string) []byte {
	t.Helper()
	root := filepath.Join("..", "..", "examples", name)
	files := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path) //nolint:gosec // our own examples
		if err != nil {
			return err
		}
		short, err := filepath.Rel(root, path)
		files[short] = edit(short, string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return zipped(t, files)
}

func asItIs(_, content string) string { return content }

// ensure puts base images into the engine; the first time makes them, which takes minutes.
func ensure(t *testing.T, names ...string) {
	t.Helper()
	began := time.Now()
	if err := images.Ensure(t.Context(), suite.engine.Host, names...); err != nil {
		t.Fatal(err)
	}
	t.Logf("base images %v are there after %s", names, time.Since(began).Round(time.Millisecond))
}

func TestExampleHello(t *testing.T) {
	p := shared(t)
	j := p.project(t, "example-hello")
	j.deploy(t, example(t, "hello", asItIs))
	j.shows(t, "/", "<html")
	if status, body := answer(p.site("example-hello", "/missing")); status != 404 || !strings.Contains(body, "<html") {
		t.Errorf("a missing page gives %d %q", status, body)
	}
	j.removedWithoutTrace(t)
}

func TestExampleAPI(t *testing.T) {
	p := shared(t)
	ensure(t, "golang")
	j := p.project(t, "example-api")
	began := time.Now()
	j.deploy(t, example(t, "api", asItIs))
	t.Logf("zip to live in %s", time.Since(began).Round(time.Millisecond))
	eventually(t, 10*time.Second, "an answer", func() bool { status, _ := answer(p.site("example-api", "/")); return status == 200 })
	j.removedWithoutTrace(t)
}

// The shop is deployed ten times: every order stays, and its database is never touched.
func TestExampleShop(t *testing.T) {
	p := shared(t)
	ensure(t, "python", "postgres")
	j := p.project(t, "shop")
	titled := func(n int) []byte {
		return example(t, "shop", func(path, content string) string {
			if path == "web.py" {
				return strings.ReplaceAll(content, "<h1>Shop</h1>", fmt.Sprintf("<h1>Shop number %d</h1>", n))
			}
			return content
		})
	}
	var database []string
	var took []time.Duration
	var load *siege
	for n := range 10 {
		began := time.Now()
		j.deploy(t, titled(n))
		took = append(took, time.Since(began))
		j.shows(t, "/", fmt.Sprintf("Shop number %d", n))
		if n == 0 {
			database = j.containers(t)["db"]
			load = besiege(p.site("shop", "/"), 5)
		}
		if now := j.containers(t)["db"]; len(now) != 1 || !slices.Equal(now, database) {
			t.Fatalf("after deployment %d the database's containers are %v, before %v", n, now, database)
		}
		r, err := visitor.PostForm(p.site("shop", "/"), url.Values{"item": {fmt.Sprintf("order %d", n)}}) //nolint:noctx // bounded by the client
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		if r.StatusCode >= 400 {
			t.Fatalf("ordering gives %d", r.StatusCode)
		}
		j.shows(t, "/", fmt.Sprintf("%d orders", n+1))
	}
	count, failed := load.end()
	t.Logf("the first deployment took %s, the last %s; %d requests meanwhile, %d failed", took[0].Round(time.Millisecond), took[9].Round(time.Millisecond), count, len(failed))
	if len(failed) > 0 {
		t.Errorf("first failures: %v", failed[:min(5, len(failed))])
	}
	for n := range 10 {
		j.shows(t, "/", fmt.Sprintf("order %d", n))
	}
	j.remove(t, "delete")
	j.withoutTrace(t)
}
