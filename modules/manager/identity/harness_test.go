package identity_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"pandu/modules/kit/pg"
	"pandu/modules/kit/pgtest"
	"pandu/modules/kit/secret"
	"pandu/modules/manager/audit"
	"pandu/modules/manager/identity"
)

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// house is an installation with its doors, in process.
type house struct {
	t       testing.TB
	db      *pg.DB
	audit   *audit.Service
	service *identity.Service
	doors   *identity.Doors
	echo    *echo.Echo
	clock   *clock
	key     secret.Key
	log     *bytes.Buffer
}

const publicURL = "http://panel.test:8080"

// newHouse makes an installation in a fresh database; change alters the settings.
func newHouse(t testing.TB, change ...func(*identity.Deps)) *house {
	t.Helper()
	return houseOn(t, pgtest.New(t), change...)
}

func houseOn(t testing.TB, db *pg.DB, change ...func(*identity.Deps)) *house {
	t.Helper()
	h := &house{t: t, db: db, clock: &clock{now: time.Now()}, key: secret.NewKey(), log: &bytes.Buffer{}}
	h.audit = audit.New(h.db)
	h.service = h.another(change...)
	h.echo = echo.New()
	h.doors = identity.NewDoors(h.echo, h.service, slog.New(slog.NewTextHandler(&lockedWriter{w: h.log}, nil)), "test")
	return h
}

// another is a further process on the same database.
func (h *house) another(change ...func(*identity.Deps)) *identity.Service {
	h.t.Helper()
	deps := identity.Deps{
		DB: h.db, Audit: h.audit, Log: slog.New(slog.DiscardHandler), MasterKey: h.key, PublicURL: publicURL,
		Registration: identity.Open, Now: h.clock.Now,
	}
	for _, fn := range change {
		fn(&deps)
	}
	s, err := identity.New(deps)
	must(h.t, err)
	must(h.t, s.Prepare(context.Background()))
	return s
}

// settled is a house that has its first administrator.
func settled(t testing.TB, change ...func(*identity.Deps)) *house {
	t.Helper()
	h := newHouse(t, change...)
	must(t, h.service.EnsureAdministrator(context.Background(), adminEmail, adminPassword))
	return h
}

const (
	adminEmail    = "root@example.org"
	adminPassword = "correct horse battery"
)

// client is somebody with, or without, a credential.
type client struct {
	h            *house
	cookie       string
	bearer       string
	organization string
	address      string
	header       http.Header
}

func (h *house) anonymous() *client { return &client{h: h, header: http.Header{}} }

func (h *house) admin() *client { return h.login(adminEmail, adminPassword) }

func (h *house) login(email, password string) *client {
	h.t.Helper()
	c := h.anonymous()
	a := c.post("/auth/login", map[string]string{"email": email, "password": password})
	a.want(http.StatusOK)
	return c
}

// register makes an account with an organization of its own; registration has to be open.
func (h *house) register(email string) *client {
	h.t.Helper()
	c := h.anonymous()
	c.post("/auth/register", map[string]string{"email": email, "password": adminPassword}).want(http.StatusCreated)
	return c
}

type answer struct {
	t      testing.TB
	what   string
	status int
	header http.Header
	body   []byte
}

func (c *client) get(path string) answer            { return c.do(http.MethodGet, path, nil) }
func (c *client) post(path string, body any) answer { return c.do(http.MethodPost, path, body) }

func (c *client) do(method, path string, body any) answer {
	c.h.t.Helper()
	req := c.request(method, path, body)
	rec := httptest.NewRecorder()
	c.h.echo.ServeHTTP(rec, req)
	for _, cookie := range rec.Result().Cookies() {
		c.cookie = cookie.Value
	}
	return answer{c.h.t, method + " " + path, rec.Code, rec.Header(), rec.Body.Bytes()}
}

func (c *client) request(method, path string, body any) *http.Request {
	c.h.t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	default:
		text, err := json.Marshal(body)
		must(c.h.t, err)
		r = bytes.NewReader(text)
	}
	req := httptest.NewRequest(method, publicURL+identity.Prefix+path, r)
	req.Header = c.header.Clone()
	if r != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.address != "" {
		req.RemoteAddr = c.address + ":4711"
	}
	if c.cookie != "" {
		req.AddCookie(&http.Cookie{Name: "pandu", Value: c.cookie})
	}
	if c.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+c.bearer)
	}
	if c.organization != "" {
		req.Header.Set("Pandu-Organization", c.organization)
	}
	return req
}

func (a answer) want(status int) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s: status %d, want %d: %s", a.what, a.status, status, a.body)
	}
	return a
}

// refused wants a problem with this status and code.
func (a answer) refused(status int, code string) identity.Problem {
	a.t.Helper()
	a.want(status)
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		a.t.Fatalf("%s: refused as %q", a.what, got)
	}
	p := into[identity.Problem](a)
	if p.Code != code || p.Status != status || p.RequestID == "" || p.Detail == "" || p.Type != "urn:pandu:problem:"+code {
		a.t.Fatalf("%s: problem %+v, want code %s", a.what, p, code)
	}
	return p
}

func into[T any](a answer) T {
	a.t.Helper()
	var v T
	if err := json.Unmarshal(a.body, &v); err != nil {
		a.t.Fatalf("%s: %v: %s", a.what, err, a.body)
	}
	return v
}

// actor is who a client is, for calling the service directly.
func (c *client) actor() identity.Actor {
	c.h.t.Helper()
	var found identity.Actor
	probe := echo.New()
	doors := identity.NewDoors(probe, c.h.service, slog.New(slog.DiscardHandler), "test")
	doors.Raw(identity.Door{ID: "probe", Method: http.MethodGet, Path: "/probe", Summary: "Probe.", Tag: "test", AnyMember: true}, nil, nil,
		func(e echo.Context, a identity.Actor) error { found = a; return e.NoContent(http.StatusNoContent) })
	rec := httptest.NewRecorder()
	probe.ServeHTTP(rec, c.request(http.MethodGet, "/probe", nil))
	if rec.Code != http.StatusNoContent {
		c.h.t.Fatalf("probe: status %d: %s", rec.Code, rec.Body)
	}
	return found
}

// events lists the actions recorded in an organization, newest first.
func (h *house) actions(c *client) []string {
	h.t.Helper()
	page := into[identity.Page[audit.Entry]](c.get("/events").want(http.StatusOK))
	var all []string
	for _, e := range page.Items {
		all = append(all, e.Action)
	}
	return all
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
