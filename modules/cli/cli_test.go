package cli

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "write the golden files")

// noon is the moment at which all tests of output run.
var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// machine is one with a directory for settings and nothing else.
type machine struct {
	t      *testing.T
	env    map[string]string
	config string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	dir := t.TempDir()
	return &machine{t: t, env: map[string]string{"XDG_CONFIG_HOME": dir}, config: filepath.Join(dir, "pandu", "config.yaml")}
}

type result struct {
	out, err string
	failure  error
	status   int
}

// run runs a command line as main does.
func (m *machine) run(stdin string, args ...string) result {
	m.t.Helper()
	root := &cobra.Command{Use: "pandu", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(Commands(Environment{
		Get: func(name string) string { return m.env[name] }, Hostname: "laptop", Version: "test", Now: func() time.Time { return noon },
	})...)
	var out, errs bytes.Buffer
	root.SetArgs(args)
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(&errs)
	r := result{failure: root.ExecuteContext(m.t.Context())}
	r.out, r.err = out.String(), errs.String()
	var coded interface{ ExitCode() int }
	switch {
	case errors.As(r.failure, &coded):
		r.status = coded.ExitCode()
	case r.failure != nil:
		r.status = -1
	}
	return r
}

// text is everything a person would see.
func (r result) text() string {
	text := r.err
	if r.failure != nil {
		text += "pandu: " + r.failure.Error() + "\n"
	}
	return text + "--- stdout\n" + r.out
}

// replay answers like a panel did once: METHOD path → body. Only for how things look.
func (m *machine) replay(answers map[string]string) *[]string {
	m.t.Helper()
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		key := r.Method + " " + strings.TrimPrefix(r.URL.Path, "/api/v1")
		asked = append(asked, strings.TrimSpace(key+" "+string(body)))
		answer, ok := answers[key]
		if !ok {
			answer = `{"code":"not_found","detail":"There is nothing at this address.","status":404}`
		}
		switch {
		case strings.HasPrefix(answer, "event:") || strings.HasPrefix(answer, "id:"):
			w.Header().Set("Content-Type", "text/event-stream")
		case strings.Contains(answer, `"code":`) && strings.Contains(answer, `"detail":`):
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(map[bool]int{true: http.StatusNotFound, false: http.StatusConflict}[strings.Contains(answer, `"status":404`)])
		}
		_, _ = io.WriteString(w, answer)
	}))
	m.t.Cleanup(server.Close)
	m.env["PANDU_URL"], m.env["PANDU_TOKEN"], m.env["PANDU_PROJECT"] = server.URL, "secret", "hello"
	return &asked
}

// golden compares with testdata/NAME.golden.
func golden(t *testing.T, name, have string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(have), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if have != string(want) {
		t.Errorf("%s looks different (go test ./modules/cli -update writes it):\n%s", path, have)
	}
}

const at = "/projects/hello/environments/production"

var recorded = map[string]string{
	"GET " + at + "/instances": `{"items":[
		{"id":"i1","service":"web","index":0,"release_number":3,"desired":"running","observed":{"state":"ready","restarts":2},"knowledge":"current","last_seen_at":null,"serving":true,"created_at":"2026-05-04T11:20:00Z"},
		{"id":"i2","service":"web","index":1,"release_number":3,"desired":"running","observed":{"state":"ready","restarts":0},"knowledge":"stale","last_seen_at":"2026-05-04T11:58:00Z","serving":false,"created_at":"2026-05-03T11:20:00Z"},
		{"id":"i3","service":"worker","index":0,"release_number":4,"desired":"running","observed":null,"knowledge":"never","last_seen_at":null,"serving":false,"created_at":"2026-05-04T11:59:59Z"},
		{"id":"i4","service":"worker","index":0,"release_number":2,"desired":"gone","observed":{"state":"failed","message":"The program\nended \u001b[2Jwith 3.","restarts":9},"knowledge":"current","serving":false,"created_at":"2026-04-01T00:00:00Z"}]}`,
	"GET " + at: `{"slug":"production","wanted":"running","status":"progress","urls":["http://hello.localhost"],"release":{"number":3,"created_at":"2026-05-04T11:00:00Z"},
		"deployment":{"number":7,"kind":"scale","state":"failed","created_at":"2026-05-04T11:59:00Z","error":{"code":"x","message":"Out of memory."}},
		"services":[{"name":"web","public":true,"replicas":2,"ready":1,"memory":268435456,"milli_cpu":250,"port":0,"detected_port":8080},{"name":"db","single_writer":true,"replicas":1,"ready":1,"port":5432}],
		"warnings":[{"code":"w","message":"The server is full."}]}`,
	"GET " + at + "/deployments": `{"items":[{"id":"d7","number":7,"kind":"deploy","state":"failed","source":{"kind":"upload","label":"a.zip"},"created_by":"jo","created_at":"2026-05-04T11:59:00Z","error":{"message":"Out of memory."}},
		{"id":"d6","number":6,"kind":"stop","state":"live","source":null,"created_by":"jo","created_at":"2026-05-02T11:59:00Z"}]}`,
	"GET " + at + "/releases":  `{"items":[{"id":"r3","number":3,"current":true,"source":{"kind":"image","label":"nginx:1"},"services":["web","worker"],"created_at":"2026-05-04T11:00:00Z"}]}`,
	"GET " + at + "/variables": `{"version":2,"items":[{"name":"A","build":true,"updated_at":"2026-05-04T11:00:00Z"}]}`,
	"GET " + at + "/domains":   `{"items":[{"id":"n1","hostname":"hello.localhost","kind":"auto","service":"","url":"http://hello.localhost","created_at":"2026-05-04T11:00:00Z"}]}`,
	"GET " + at + "/logs": "id: 1\nevent: line\ndata: {\"at\":\"2026-05-04T11:00:00.5Z\",\"service\":\"web\",\"stream\":\"stdout\",\"text\":\"one\"}\n\n" +
		"id: 2\nevent: line\ndata: {\"at\":\"2026-05-04T11:00:01Z\",\"service\":\"worker\",\"stream\":\"stderr\",\"text\":\"two\"}\n\nevent: end\ndata: {}\n\n",
	"GET /projects": `{"items":[{"slug":"hello","name":"Hello, 世界","status":"ready","url":"http://hello.localhost","created_at":"2026-05-01T11:00:00Z"}]}`,
	"GET /servers": `{"items":[{"name":"one","status":"ready","knowledge":"current","mode":"normal","instances":4,"cpus":2,"memory_bytes":2147483648,"disk_bytes":10737418240,"disk_free_bytes":1073741824,"engine_version":"20.10"},
		{"name":"two","status":"unknown","knowledge":"stale","last_seen_at":"2026-05-04T09:00:00Z","mode":"observe","mode_reason":"another history","engine_error":"no Docker"}]}`,
	"GET /tokens": `{"items":[{"id":"t1","prefix":"abcd","name":"ci","scopes":["*"],"created_at":"2026-05-01T11:00:00Z","expires_at":"2026-08-01T11:00:00Z"}]}`,
	"GET /me":     `{"kind":"user","operator":false,"organization":"acme","role":"owner","permissions":["a","b"],"organizations":[],"user":{"email":"jo@example.com"}}`,
}

func TestHowThingsLook(t *testing.T) {
	for _, args := range []string{"ps", "status", "deployments", "releases", "variables", "domains", "logs", "logs -t web", "logs --json", "projects", "servers", "tokens", "ps --json", "logs nobody", "status -p gone"} {
		t.Run(args, func(t *testing.T) {
			m := newMachine(t)
			m.replay(recorded)
			r := m.run("", strings.Fields(args)...)
			golden(t, strings.NewReplacer(" ", "_", "-", "").Replace(args), r.text())
		})
	}
}
