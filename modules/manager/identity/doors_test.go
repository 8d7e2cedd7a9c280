package identity_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"pandu/migrations"
	"pandu/modules/kit/fault"
	"pandu/modules/kit/pgtest"
	"pandu/modules/manager/identity"
)

// Every door of this room, for everybody who could come: what the registry says must be what happens, and whoever is
// kept out must not have changed anything.
func TestEveryDoorForEverybody(t *testing.T) {
	h := settled(t)
	owner := h.admin()
	people := map[string]*client{
		"anonymous": h.anonymous(),
		"owner":     owner,
		"admin":     owner.join("admin@example.org", identity.Admin),
		"member":    owner.join("member@example.org", identity.Member),
		"viewer":    owner.join("viewer@example.org", identity.Viewer),
		"billing":   owner.join("billing@example.org", identity.Billing),
		"outsider":  h.register("outsider@example.org"),
		"expired":   {h: h, bearer: "pandu_aaaaaaaa_" + strings.Repeat("a", 59), header: http.Header{}},
	}
	people["outsider"].organization = "default"
	checks := 0
	for _, door := range h.doors.List() {
		if door.ID == "logout" {
			continue // ends the very session that the other doors are tried with; has its own test
		}
		for who, c := range people {
			var actor identity.Actor
			if who != "anonymous" && who != "expired" && who != "outsider" {
				actor = c.actor()
			}
			before := h.state()
			path := strings.NewReplacer("{user}", uuid.NewString(), "{token}", uuid.NewString(), "{invitation}", uuid.NewString()).Replace(door.Path)
			a := c.do(door.Method, path, nil)
			checks++
			switch {
			case door.Public:
				if a.status == http.StatusUnauthorized || a.status == http.StatusForbidden {
					t.Errorf("%s as %s: public door answers %d: %s", door.ID, who, a.status, a.body)
				}
			case who == "anonymous" || who == "expired":
				a.refused(http.StatusUnauthorized, "sign_in_required")
			case who == "outsider":
				a.refused(http.StatusNotFound, "organization_not_found")
			case door.AnyMember || actor.Can(door.Permission):
				if p := into[identity.Problem](answer{t: t, body: orObject(a.body)}); p.Parameters["permission"] == string(door.Permission) && p.Code == "permission_missing" || p.Code == "operator_only" || a.status == http.StatusUnauthorized {
					t.Errorf("%s as %s: %d %s", door.ID, who, a.status, a.body)
				}
			case door.Operator:
				a.refused(http.StatusForbidden, "operator_only")
			default:
				a.refused(http.StatusForbidden, "permission_missing")
			}
			if kept := a.status == http.StatusUnauthorized || a.status == http.StatusForbidden || a.status == http.StatusNotFound; kept && h.state() != before {
				t.Errorf("%s as %s: refused with %d, but something changed", door.ID, who, a.status)
			}
		}
	}
	if checks < 150 {
		t.Fatalf("only %d checks", checks)
	}
}

// orObject makes an empty or text answer decodable.
func orObject(b []byte) []byte {
	if !json.Valid(b) || len(b) == 0 || b[0] != '{' {
		return []byte("{}")
	}
	return b
}

// state is a fingerprint of everything that doors change, without what moves by itself.
func (h *house) state() (digest string) {
	h.t.Helper()
	must(h.t, h.db.Pool.QueryRow(context.Background(), `
		select md5(concat(
			(select string_agg(u::text, '|' order by id) from identity.users u),
			(select string_agg(o::text, '|' order by id) from identity.organizations o),
			(select string_agg(m::text, '|' order by organization_id, user_id) from identity.members m),
			(select string_agg(i::text, '|' order by id) from identity.invitations i),
			(select string_agg(concat(id, revoked_at), '|' order by id) from identity.tokens),
			(select count(*) from identity.sessions), (select count(*) from audit.events)))`).Scan(&digest))
	return digest
}

func TestGolden(t *testing.T) {
	h := newHouse(t)
	got := strings.Join(h.doors.Golden(), "\n") + "\n"
	path := filepath.Join("testdata", "routes.golden")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		must(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if got != string(want) {
		t.Fatalf("the doors differ from %s (UPDATE_GOLDEN=1 rewrites it):\n%s", path, got)
	}
}

func TestCheckRefuses(t *testing.T) {
	good := identity.Door{ID: "x", Method: http.MethodGet, Path: "/x", Summary: "X.", Tag: "x", Permission: identity.ProjectsRead}
	handler := func(echo.Context, identity.Actor) error { return nil }
	for name, change := range map[string]func(*identity.Door){
		"no permission":       func(d *identity.Door) { d.Permission = "" },
		"unknown permission":  func(d *identity.Door) { d.Permission = "projects.destroy" },
		"two answers":         func(d *identity.Door) { d.Public = true },
		"operator's, unasked": func(d *identity.Door) { d.Permission = identity.ServersRead },
		"member's, operator":  func(d *identity.Door) { d.Operator = true },
		"no summary":          func(d *identity.Door) { d.Summary = "" },
		"no tag":              func(d *identity.Door) { d.Tag = "" },
	} {
		h := newHouse(t)
		door := good
		change(&door)
		h.doors.Raw(door, nil, nil, handler)
		if h.doors.Check() == nil {
			t.Errorf("%s: not refused", name)
		}
	}
	h := newHouse(t)
	must(t, h.doors.Check())
	h.doors.Raw(good, nil, nil, handler)
	must(t, h.doors.Check())
	h.echo.GET(identity.Prefix+"/side", func(echo.Context) error { return nil })
	if err := h.doors.Check(); err == nil || !strings.Contains(err.Error(), "/side") {
		t.Fatalf("a route beside the registry: %v", err)
	}
}

func TestProblems(t *testing.T) {
	h := settled(t)
	door := func(path string) identity.Door {
		return identity.Door{ID: "t" + strings.ReplaceAll(path, "/", "-"), Method: http.MethodPost, Path: path, Summary: "T.", Tag: "t", Public: true}
	}
	identity.Handle(h.doors, door("/fault"), func(context.Context, identity.Actor, *struct{}) (*identity.NoContent, error) {
		return nil, fault.New(fault.Limit, "quota", "Too much.").With("resource", "x").At("body.a", "b").After(1500 * time.Millisecond).Because(errors.New("inner"))
	})
	identity.Handle(h.doors, door("/internal"), func(context.Context, identity.Actor, *struct{}) (*identity.NoContent, error) {
		return nil, errors.New("password=hunter2 in a connection string")
	})
	h.doors.Raw(door("/panic"), nil, nil, func(echo.Context, identity.Actor) error { panic("hunter2") })
	c := h.anonymous()

	a := c.post("/fault", nil)
	p := a.refused(http.StatusTooManyRequests, "quota")
	if p.Parameters["resource"] != "x" || len(p.Errors) != 1 || a.header.Get("Retry-After") != "2" || strings.Contains(string(a.body), "inner") {
		t.Fatalf("problem %s, %v", a.body, a.header)
	}
	for _, path := range []string{"/internal", "/panic"} {
		a := c.post(path, nil)
		p := a.refused(http.StatusInternalServerError, "internal")
		if strings.Contains(string(a.body), "hunter2") {
			t.Errorf("%s: the cause is shown: %s", path, a.body)
		}
		if got := strings.Count(h.log.String(), p.RequestID); got != 1 || !strings.Contains(h.log.String(), "hunter2") {
			t.Errorf("%s: logged %d times", path, got)
		}
	}
	c.get("/nowhere").refusedPlain(http.StatusNotFound, "not_found")
	c.do(http.MethodDelete, "/me/password", nil).refusedPlain(http.StatusMethodNotAllowed, "method_not_allowed")
	c.post("/auth/login", "{").refused(http.StatusBadRequest, "body_malformed")
	c.post("/auth/login", `{"email":"`+strings.Repeat("a", 2<<20)+`"}`).refused(http.StatusRequestEntityTooLarge, "body_too_large")
}

// refusedPlain is refused for what echo's router itself refuses, before there is a request id.
func (a answer) refusedPlain(status int, code string) {
	a.t.Helper()
	if p := into[identity.Problem](a.want(status)); p.Code != code || a.header.Get("Content-Type") != "application/problem+json" {
		a.t.Fatalf("%s: %s", a.what, a.body)
	}
}

func TestDatabaseAway(t *testing.T) {
	server := pgtest.NewServer(t)
	dsn := server.Database(t)
	must(t, migrations.Up(context.Background(), dsn, slog.New(slog.DiscardHandler)))
	h := houseOn(t, pgtest.Open(t, dsn))
	must(t, h.service.EnsureAdministrator(context.Background(), adminEmail, adminPassword))
	c := h.admin()
	server.Stop()
	h.clock.Advance(time.Minute)
	for range 3 { // connections that break, then connections that are refused
		if a := c.get("/me"); a.refused(http.StatusServiceUnavailable, "database_away").RequestID == "" || a.header.Get("Retry-After") == "" {
			t.Fatalf("answer %s", a.body)
		}
	}
	server.Start(t)
	h.anonymous().get("/auth/setup").want(http.StatusOK)
}

func TestOpenAPI(t *testing.T) {
	h := newHouse(t)
	a := h.anonymous().get("/openapi.json").want(http.StatusOK)
	var text struct {
		OpenAPI string                               `json:"openapi"`
		Paths   map[string]map[string]map[string]any `json:"paths"`
		Parts   struct {
			Schemas map[string]any `json:"schemas"`
		} `json:"components"`
	}
	must(t, json.Unmarshal(a.body, &text))
	if text.OpenAPI != "3.1.0" {
		t.Fatalf("version %q", text.OpenAPI)
	}
	for _, door := range h.doors.List() {
		op := text.Paths[door.Path][strings.ToLower(door.Method)]
		if op == nil || op["operationId"] != door.ID {
			t.Errorf("door %s is not in the text", door.ID)
			continue
		}
		if !strings.Contains(string(mustJSON(t, op["responses"])), "#/components/schemas/Problem") {
			t.Errorf("door %s does not show its problems", door.ID)
		}
	}
	if text.Parts.Schemas["ErrorModel"] != nil || bytes.Contains(a.body, []byte("$schema")) {
		t.Error("the library's own schemas are in the text")
	}
	if y := h.anonymous().get("/openapi.yaml").want(http.StatusOK); !bytes.Contains(y.body, []byte("openapi: 3.1.0")) {
		t.Fatalf("yaml begins %.60s", y.body)
	}
	h.anonymous().get("/docs").want(http.StatusNotFound)
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	must(t, err)
	return b
}

func TestRawDoor(t *testing.T) {
	h := settled(t)
	type query struct {
		Name string `query:"name" doc:"Of the file."`
	}
	var asked identity.Actor
	h.doors.Raw(identity.Door{
		ID: "put-thing", Method: http.MethodPut, Path: "/things/{thing}", Summary: "Put.", Tag: "t", Permission: identity.UploadsCreate, Status: http.StatusCreated,
	}, struct {
		query
		Body []byte `contentType:"application/zip"`
	}{}, nil, func(c echo.Context, a identity.Actor) error {
		asked = a
		return c.String(http.StatusCreated, c.Param("thing"))
	})
	c := h.admin()
	if a := c.do(http.MethodPut, "/things/7", nil).want(http.StatusCreated); string(a.body) != "7" || asked.Label != adminEmail || asked.RequestID == "" || asked.Address == "" {
		t.Fatalf("answered %s to %+v", a.body, asked)
	}
	h.anonymous().do(http.MethodPut, "/things/7", nil).refused(http.StatusUnauthorized, "sign_in_required")
	must(t, h.doors.Check())
	if !slices.Contains(h.doors.Golden(), "PUT /api/v1/things/{thing} uploads.create") {
		t.Fatal("not in the golden list")
	}
	text, _, err := h.doors.OpenAPI()
	must(t, err)
	for _, part := range []string{`"Of the file."`, `"application/zip"`, `"name": "thing"`} {
		if !bytes.Contains(text, []byte(part)) {
			t.Errorf("the OpenAPI text lacks %s", part)
		}
	}
}

func TestForwardedAddressIsNotTrusted(t *testing.T) {
	h := settled(t)
	var asked identity.Actor
	h.doors.Raw(identity.Door{ID: "p", Method: http.MethodGet, Path: "/p", Summary: "P.", Tag: "t", Public: true}, nil, nil,
		func(c echo.Context, a identity.Actor) error { asked = a; return c.NoContent(http.StatusNoContent) })
	c := h.anonymous()
	c.address = "192.0.2.9"
	c.header.Set("X-Forwarded-For", "203.0.113.1")
	c.header.Set("X-Real-Ip", "203.0.113.1")
	c.get("/p").want(http.StatusNoContent)
	if asked.Address != "192.0.2.9" {
		t.Fatalf("address %q", asked.Address)
	}
}
