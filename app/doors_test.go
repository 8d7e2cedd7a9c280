package app

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"pandu/modules/kit/pgtest"
)

const doorsPassword = "correct horse battery"

// visitor is somebody who comes to the doors.
type visitor struct {
	t      *testing.T
	base   string
	cookie string
	header http.Header
}

type reply struct {
	status int
	body   []byte
}

func (r reply) code() string {
	var p struct {
		Code string `json:"code"`
	}
	_ = json.Unmarshal(r.body, &p) // not every answer is a problem
	return p.Code
}

func (v *visitor) do(method, path string, body []byte) reply {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, v.base+path, bytes.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	req.Header = v.header.Clone()
	if len(body) > 0 && body[0] == '{' {
		req.Header.Set("Content-Type", "application/json")
	}
	if v.cookie != "" {
		req.Header.Set("Cookie", v.cookie)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	for _, c := range res.Cookies() {
		if v.cookie == "" {
			v.cookie = c.Name + "=" + c.Value
		}
	}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		return reply{status: res.StatusCode} // goes on for ever
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		v.t.Fatal(err)
	}
	return reply{res.StatusCode, b}
}

// must sends JSON and wants an answer of success, decoded.
func (v *visitor) must(method, path string, body any) map[string]any {
	v.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		v.t.Fatal(err)
	}
	r := v.do(method, path, text)
	if r.status >= 300 {
		v.t.Fatalf("%s %s: %d %s", method, path, r.status, r.body)
	}
	var into map[string]any
	_ = json.Unmarshal(r.body, &into) // may be empty
	return into
}

// harbour is a whole manager with people of every kind and one project of the organization default.
type harbour struct {
	t       *testing.T
	p       *launched
	people  map[string]*visitor
	replace *strings.Replacer
	upload  string
	serial  int
}

func newHarbour(t *testing.T) *harbour {
	t.Helper()
	h := &harbour{t: t, people: map[string]*visitor{}}
	h.p = launch(t, settings(t, "WORKER_MODE=!", "DATABASE_URL="+pgtest.DSN(t), "PANDU_REGISTRATION=open",
		"PANDU_ADMIN_EMAIL=root@example.org", "PANDU_ADMIN_PASSWORD="+doorsPassword), nil)
	h.people["anonymous"] = h.visitor()
	root := h.visitor()
	root.must(http.MethodPost, "/auth/login", account("root@example.org"))
	h.people["operator"] = root
	for _, role := range []string{"owner", "admin", "member", "viewer", "billing"} {
		invited := root.must(http.MethodPost, "/invitations", map[string]any{"email": role + "@example.org", "role": role})
		_, key, _ := strings.Cut(invited["link"].(string), "#")
		v := h.visitor()
		body := account(role + "@example.org")
		body["invitation"] = key
		v.must(http.MethodPost, "/auth/register", body)
		h.people[role] = v
	}
	outsider := h.visitor()
	outsider.must(http.MethodPost, "/auth/register", account("outsider@example.org"))
	h.people["outsider"] = outsider
	h.furnish(root)
	return h
}

func (h *harbour) visitor() *visitor {
	return &visitor{t: h.t, base: "http://" + h.p.panelServer.Addr().String() + "/api/v1", header: http.Header{}}
}

func account(email string) map[string]any {
	return map[string]any{"email": email, "password": doorsPassword}
}

func (h *harbour) furnish(root *visitor) {
	root.must(http.MethodPost, "/projects", map[string]any{"name": "Hello", "slug": "hello"})
	if renamed := root.must(http.MethodPatch, "/projects/hello", map[string]any{"name": "Hello, world"}); renamed["url"] == "" {
		h.t.Errorf("a renamed project has no address: %v", renamed)
	}
	r := root.do(http.MethodPost, "/projects/hello/uploads?filename=site.zip", archiveOf(h.t))
	var up struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(r.body, &up); err != nil || up.ID == "" {
		h.t.Fatalf("upload: %d %s", r.status, r.body)
	}
	h.upload = up.ID
	d := root.must(http.MethodPost, "/projects/hello/environments/production/deployments", map[string]any{"upload_id": up.ID})
	h.replace = strings.NewReplacer("{project}", "hello", "{environment}", "production", "{deployment}", d["id"].(string),
		"{upload}", up.ID, "{domain}", uuid.NewString(), "{service}", "web")
}

func archiveOf(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("index.html")
	if err == nil {
		_, err = w.Write([]byte("hello"))
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// ours are the doors of the rooms that are not identity's, with who may pass; what removes things comes last.
func ours(t *testing.T) [][3]string {
	t.Helper()
	text, err := os.ReadFile("../docs/routes.golden")
	if err != nil {
		t.Fatal(err)
	}
	var doors, last [][3]string
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		path := strings.TrimPrefix(f[1], "/api/v1")
		if !slices.ContainsFunc([]string{"/projects", "/deployments", "/uploads", "/names", "/servers", "/changes", "/system"},
			func(prefix string) bool { return strings.HasPrefix(path, prefix) }) {
			continue
		}
		if f[0] == http.MethodDelete {
			last = append(last, [3]string{f[0], path, f[2]})
			continue
		}
		doors = append(doors, [3]string{f[0], path, f[2]})
	}
	slices.Reverse(last) // uploads before projects
	return append(doors, last...)
}

// mayOf says who may what, written down a second time so that a change of the one table is noticed.
func mayOf(who, pass string) bool {
	if pass == "signed-in" || who == "operator" {
		return true
	}
	permission, isOperators := strings.CutPrefix(pass, "operator:")
	switch {
	case isOperators:
		return false
	case who == "owner" || who == "admin":
		return true
	case who == "member":
		return permission != "projects.delete"
	case who == "viewer":
		return strings.HasSuffix(permission, ".read")
	default:
		return permission == "projects.read"
	}
}

func (h *harbour) path(path string) string {
	if path == "/names" {
		return "/names?slug=fresh"
	}
	return h.replace.Replace(path)
}

// body is one that the door takes.
func (h *harbour) body(method, path string) []byte {
	h.serial++
	var v any = map[string]any{}
	switch {
	case method == http.MethodGet || method == http.MethodDelete:
		return nil
	case strings.HasSuffix(path, "/uploads"):
		return archiveOf(h.t)
	case path == "/projects":
		v = map[string]any{"name": fmt.Sprintf("Project %d", h.serial)}
	case path == "/servers":
		v = map[string]any{"name": fmt.Sprintf("server-%d", h.serial)}
	case strings.HasSuffix(path, "{project}"):
		v = map[string]any{"name": "Hello"}
	case strings.HasSuffix(path, "/deployments"):
		v = map[string]any{"upload_id": h.upload}
	case strings.HasSuffix(path, "/domains"):
		v = map[string]any{"hostname": fmt.Sprintf("h%d.example.org", h.serial)}
	case strings.HasSuffix(path, "{environment}"):
		v = map[string]any{"own_port": true}
	case strings.HasSuffix(path, "{service}"):
		v = map[string]any{"replicas": 1}
	case strings.HasSuffix(path, "/variables"):
		v = map[string]any{"set": []any{map[string]any{"name": "A", "value": "1"}}}
	}
	text, err := json.Marshal(v)
	if err != nil {
		h.t.Fatal(err)
	}
	return text
}

// state is a fingerprint of what these doors change.
func (h *harbour) state() (digest string) {
	h.t.Helper()
	err := h.p.db.Pool.QueryRow(context.Background(), `
		select md5(concat(
			(select count(*) from audit.events), (select string_agg(p::text, '|' order by id) from projects.projects p),
			(select string_agg(e::text, '|' order by id) from projects.environments e), (select count(*) from projects.variables),
			(select string_agg(concat(id, state), '|' order by id) from deployments.deployments), (select count(*) from storage.uploads),
			(select count(*) from routing.hostnames), (select count(*) from routing.ports), (select count(*) from servers.servers)))`).Scan(&digest)
	if err != nil {
		h.t.Fatal(err)
	}
	return digest
}

func TestEveryDoorOfTheRoomsForEverybody(t *testing.T) {
	h := newHarbour(t)
	doors := ours(t)
	if len(doors) < 30 {
		t.Fatalf("only %d doors", len(doors))
	}
	order := []string{"anonymous", "outsider", "billing", "viewer", "member", "admin", "owner", "operator"}
	for _, door := range doors {
		for _, who := range order {
			h.try(door, who)
		}
	}
}

func (h *harbour) try(door [3]string, who string) {
	method, path, pass := door[0], door[1], door[2]
	before := h.state()
	r := h.people[who].do(method, h.path(path), h.body(method, path))
	at := fmt.Sprintf("%s %s as %s: %d %s", method, path, who, r.status, r.body)
	kept := false
	switch {
	case who == "anonymous":
		kept = true
		if r.status != http.StatusUnauthorized || r.code() != "sign_in_required" {
			h.t.Error(at)
		}
	case who == "outsider":
		kept = h.outside(path, pass, r, at)
	case !mayOf(who, pass):
		kept = true
		if r.status != http.StatusForbidden {
			h.t.Error(at)
		}
	case r.status == http.StatusUnauthorized || r.status == http.StatusForbidden || r.status >= 500 || (method == http.MethodGet && r.status != http.StatusOK):
		h.t.Error(at)
	case r.status == http.StatusUnprocessableEntity || r.status == http.StatusBadRequest:
		h.t.Errorf("the test sends what the door does not take: %s", at)
	}
	if kept && h.state() != before {
		h.t.Errorf("refused, but something changed: %s", at)
	}
}

// outside judges what the owner of another organization gets: nothing of ours exists for them, in their organization
// or by naming ours.
func (h *harbour) outside(path, pass string, r reply, at string) (kept bool) {
	v := *h.people["outsider"]
	v.header = http.Header{"Pandu-Organization": {"default"}}
	if named := v.do(http.MethodGet, "/projects", nil); named.status != http.StatusNotFound {
		h.t.Errorf("by naming our organization: %d", named.status)
	}
	switch {
	case strings.HasPrefix(pass, "operator:"):
		if r.status != http.StatusForbidden {
			h.t.Error(at)
		}
		return true
	case strings.Contains(path, "{"):
		if r.status != http.StatusNotFound {
			h.t.Error(at)
		}
		return true
	case r.status >= 300:
		h.t.Error(at)
	}
	return false
}
