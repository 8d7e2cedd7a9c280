package projects_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"pandu/jobs"
	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
	"pandu/modules/kit/pgtest"
	"pandu/modules/kit/secret"
	"pandu/modules/manager/audit"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/projects"
	"pandu/modules/manager/routing"
	"pandu/modules/manager/servers"
	"pandu/modules/spec"
)

var ctx = context.Background()

type room struct {
	*projects.Service
	t            *testing.T
	db           *pg.DB
	routing      *routing.Service
	mine, theirs identity.Actor
}

func newRoom(t *testing.T) *room {
	t.Helper()
	r := &room{t: t, db: pgtest.New(t)}
	id, err := identity.New(identity.Deps{
		DB: r.db, Audit: audit.New(r.db), MasterKey: secret.NewKey(), PublicURL: "http://panel.test", Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	must(t, err)
	must(t, id.Prepare(ctx))
	client, err := river.NewClient(riverpgxv5.New(r.db.Pool), &river.Config{Schema: "river"})
	must(t, err)
	r.routing = routing.New(routing.Deps{DB: r.db, AppsDomain: "localhost", Ports: routing.PortRange{First: 30000, Last: 30010}})
	r.Service = projects.New(projects.Deps{
		DB: r.db, Identity: id, Routing: r.routing, Servers: servers.New(servers.Deps{DB: r.db, Orders: jobs.NewOrders(client)}),
	})
	var mine uuid.UUID
	must(t, r.db.Pool.QueryRow(ctx, "select id from identity.organizations where slug = 'default'").Scan(&mine))
	other := uuid.New()
	_, err = r.db.Pool.Exec(ctx, "insert into identity.organizations (id, slug, name) values ($1, 'other', 'Other')", other)
	must(t, err)
	r.mine, r.theirs = identity.System(mine, "test"), identity.System(other, "test")
	return r
}

func (r *room) create(actor identity.Actor, slug string) (projects.Project, projects.Environment) {
	r.t.Helper()
	p, e, err := r.Create(ctx, actor, slug, slug)
	must(r.t, err)
	return p, e
}

func TestNames(t *testing.T) {
	r := newRoom(t)
	r.create(r.theirs, "hello")
	for slug, want := range map[string]struct{ reason, suggestion string }{
		"fresh":       {"", "fresh"},
		"hello":       {"taken", "hello-2"},
		"api":         {"reserved", ""},
		"Hello World": {"invalid", "hello-world"},
		"-":           {"invalid", ""},
	} {
		n, err := r.CheckName(ctx, r.mine, slug)
		must(t, err)
		if n.Reason != want.reason || n.Available != (want.reason == "") || want.suggestion != "" && n.Suggestion != want.suggestion {
			t.Errorf("%q: %+v, want %+v", slug, n, want)
		}
		if err := spec.Slug(n.Suggestion); err != nil || n.Hostname != n.Suggestion+".localhost" {
			t.Errorf("%q: suggests %q at %q: %v", slug, n.Suggestion, n.Hostname, err)
		}
		if again, err := r.CheckName(ctx, r.mine, n.Suggestion); err != nil || !again.Available {
			t.Errorf("%q: the suggestion %q cannot be had", slug, n.Suggestion)
		}
	}
}

func TestCreateMakesASlugOfTheName(t *testing.T) {
	r := newRoom(t)
	for _, want := range []string{"my-shop", "my-shop-2", "my-shop-3"} {
		p, e, err := r.Create(ctx, r.mine, "My Shop!", "")
		must(t, err)
		if p.Slug != want || e.Slug != projects.Production || e.Wanted != projects.Running {
			t.Fatalf("made %+v %+v, want %s", p, e, want)
		}
	}
	if _, _, err := r.Create(ctx, r.mine, "x", "admin"); fault.KindOf(err) != fault.Invalid {
		t.Fatalf("reserved: %v", err)
	}
}

func TestOneSlugAtOnce(t *testing.T) {
	r := newRoom(t)
	var all sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for n := range 12 {
		actor := []identity.Actor{r.mine, r.theirs}[n%2]
		all.Go(func() {
			_, _, err := r.Create(ctx, actor, "hello", "hello")
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made++
				return
			}
			if f := fault.From(err); f.Code != "slug_taken" || f.Parameters["suggestion"] == "" {
				t.Errorf("%v", err)
			}
		})
	}
	all.Wait()
	var used int64
	must(t, r.db.Pool.QueryRow(ctx, "select coalesce(sum(used), 0) from identity.limits where resource = 'projects'").Scan(&used))
	if made != 1 || used != 1 {
		t.Fatalf("%d projects, %d counted", made, used)
	}
}

func TestAnotherOrganizationSeesNothing(t *testing.T) {
	r := newRoom(t)
	p, e := r.create(r.mine, "hello")
	for _, ref := range []string{"hello", p.ID.String()} {
		if _, err := r.Find(ctx, r.db.Pool, r.theirs, ref); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s: %v", ref, err)
		}
		if _, _, err := r.FindEnvironment(ctx, r.db.Pool, r.theirs, ref, e.ID.String()); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s: %v", ref, err)
		}
		name := "theirs"
		if _, err := r.Update(ctx, r.theirs, ref, &name, nil); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s: %v", ref, err)
		}
		if found, env, err := r.FindEnvironment(ctx, r.db.Pool, r.mine, ref, "production"); err != nil || found.ID != p.ID || env.ID != e.ID {
			t.Errorf("%s: %v, %v", ref, found, err)
		}
	}
	page, err := r.List(ctx, r.theirs, identity.PageInput{})
	must(t, err)
	if len(page.Items) != 0 {
		t.Fatal("listed to another organization")
	}
	other, _ := r.create(r.mine, "second")
	if _, _, err := r.FindEnvironment(ctx, r.db.Pool, r.mine, other.Slug, e.ID.String()); fault.KindOf(err) != fault.NotFound {
		t.Fatalf("an environment of another project: %v", err)
	}
}

func TestRenameKeepsHostnames(t *testing.T) {
	r := newRoom(t)
	_, e := r.create(r.mine, "hello")
	r.create(r.mine, "second")
	name, slug, taken, reserved := "Better", "better", "second", "admin"
	p, err := r.Update(ctx, r.mine, "hello", &name, &slug)
	must(t, err)
	domains, err := r.routing.Domains(ctx, r.db.Pool, r.mine, e.ID)
	must(t, err)
	if p.Slug != "better" || p.Name != "Better" || len(domains[e.ID]) != 1 || domains[e.ID][0].Hostname != "hello.localhost" {
		t.Fatalf("%+v at %v", p, domains)
	}
	if _, err := r.Update(ctx, r.mine, "better", nil, &taken); fault.From(err).Code != "slug_taken" {
		t.Fatal(err)
	}
	if _, err := r.Update(ctx, r.mine, "better", nil, &reserved); fault.KindOf(err) != fault.Invalid {
		t.Fatal(err)
	}
	// The old name's hostname is still in use, so nobody else gets it.
	if n, err := r.CheckName(ctx, r.theirs, "hello"); err != nil || n.Available {
		t.Fatalf("%+v, %v", n, err)
	}
}

func (r *room) change(actor identity.Actor, e projects.Environment, set []projects.SetVariable, unset ...string) (version int64, err error) {
	return version, r.db.InTx(ctx, func(tx pgx.Tx) (err error) {
		version, err = r.ChangeVariables(ctx, tx, actor, e, set, unset)
		return err
	})
}

func TestVariablesAreSealedAndVersioned(t *testing.T) {
	r := newRoom(t)
	_, e := r.create(r.mine, "hello")
	_, theirs := r.create(r.theirs, "theirs")
	const plain = "correct-horse-battery-staple"
	one, err := r.change(r.mine, e, []projects.SetVariable{{Name: "SECRET", Value: plain, Build: true}, {Name: "PLAIN", Value: "x"}})
	must(t, err)
	two, err := r.change(r.mine, e, []projects.SetVariable{{Name: "SECRET", Value: "second"}}, "PLAIN")
	must(t, err)
	open := func(actor identity.Actor, environment uuid.UUID, version int64, build bool) projects.Values {
		v, err := r.Open(ctx, r.db.Pool, actor, environment, version, build)
		must(t, err)
		return v
	}
	if v := open(r.mine, e.ID, one, false); len(v) != 2 || v["SECRET"] != plain {
		t.Fatalf("the first version has %d values", len(v))
	}
	if v := open(r.mine, e.ID, one, true); len(v) != 1 {
		t.Fatalf("builds get %d values", len(v))
	}
	if v := open(r.mine, e.ID, two, false); len(v) != 1 || v["SECRET"] != "second" {
		t.Fatalf("the second version has %d values", len(v))
	}
	if v := open(r.mine, e.ID, 0, false); len(v) != 0 {
		t.Fatalf("before the first there are %d values", len(v))
	}
	if v := open(r.theirs, e.ID, one, false); len(v) != 0 {
		t.Fatal("another tenant reads them")
	}
	dump := r.dump()
	if strings.Contains(dump, plain) || strings.Contains(dump, fmt.Sprintf("%x", plain)) {
		t.Fatal("the value is in the database in the clear")
	}
	// Moved to another tenant's environment it does not open.
	_, err = r.db.Pool.Exec(ctx, "update projects.variables set organization_id = $1, environment_id = $2", r.theirs.OrganizationID, theirs.ID)
	must(t, err)
	if _, err := r.Open(ctx, r.db.Pool, r.theirs, theirs.ID, one, false); err == nil {
		t.Fatal("a sealed value opened for another tenant")
	}
}

// dump is every row of this room's and its neighbours' tables as text.
func (r *room) dump() string {
	r.t.Helper()
	rows, err := r.db.Pool.Query(ctx, "select schemaname || '.' || tablename from pg_tables where schemaname in ('projects', 'audit', 'identity', 'river', 'servers', 'routing')")
	must(r.t, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(r.t, err)
	var all strings.Builder
	for _, table := range tables {
		var text *string
		must(r.t, r.db.Pool.QueryRow(ctx, "select string_agg(t::text, ' ') from "+table+" t").Scan(&text))
		if text != nil {
			all.WriteString(*text)
		}
	}
	if all.Len() < 500 {
		r.t.Fatal("the dump is empty")
	}
	return all.String()
}

func TestVariablesAreRefused(t *testing.T) {
	r := newRoom(t)
	_, e := r.create(r.mine, "hello")
	for name, set := range map[string][]projects.SetVariable{
		"name":  {{Name: "A=B", Value: "x"}},
		"empty": {{Name: "", Value: "x"}},
		"large": {{Name: "A", Value: strings.Repeat("x", 64<<10+1)}},
		"twice": {{Name: "A", Value: "x"}, {Name: "A", Value: "y"}},
	} {
		if _, err := r.change(r.mine, e, set); fault.KindOf(err) != fault.Invalid && fault.KindOf(err) != fault.TooLarge {
			t.Errorf("%s: %v", name, err)
		}
	}
	var many []projects.SetVariable
	for i := range 501 {
		many = append(many, projects.SetVariable{Name: fmt.Sprintf("V%d", i)})
	}
	if _, err := r.change(r.mine, e, many); fault.KindOf(err) != fault.Limit {
		t.Errorf("too many: %v", err)
	}
	if _, err := r.change(r.theirs, e, many[:1]); err == nil {
		t.Error("another tenant wrote variables")
	}
	if list, err := r.Variables(ctx, r.db.Pool, r.mine, e.ID); err != nil || len(list) != 0 {
		t.Errorf("%v, %v: something was stored", list, err)
	}
}

func TestDigestChangesOnlyWithValues(t *testing.T) {
	r := newRoom(t)
	digest := func(actor identity.Actor, v projects.Values) string {
		d, err := r.Digest(ctx, r.db.Pool, actor, v)
		must(t, err)
		return d
	}
	a := digest(r.mine, projects.Values{"A": "1", "B": "2"})
	if a != digest(r.mine, projects.Values{"B": "2", "A": "1"}) {
		t.Error("equal values, another digest")
	}
	for _, v := range []projects.Values{{"A": "1"}, {"A": "12", "B": ""}, {"A": "2", "B": "1"}} {
		if a == digest(r.mine, v) {
			t.Errorf("other values, the same digest")
		}
	}
	if digest(r.mine, nil) != "" {
		t.Error("no values have a digest")
	}
}

func TestReceivedIsWhatTheContainerNames(t *testing.T) {
	v := projects.Values{"A": "1", "B": "2", "C": "3"}
	if got := v.Received(spec.Container{}); len(got) != 0 {
		t.Errorf("a container that names none gets %d", len(got))
	}
	if got := v.Received(spec.Container{AllVariables: true}); len(got) != 3 {
		t.Errorf("got %d of all", len(got))
	}
	got := v.Received(spec.Container{Env: []spec.Env{{Name: "A", FromVariable: true}, {Name: "X", Value: "see ${B}"}, {Name: "N", FromVariable: true}}})
	if len(got) != 2 || got["A"] != "1" || got["B"] != "2" {
		t.Errorf("got %d", len(got))
	}
	for _, text := range []string{fmt.Sprint(v), fmt.Sprintf("%+v %#v %s", v, v, v)} {
		if strings.Contains(text, "1") && !strings.Contains(text, "3 variables") || strings.Contains(text, "A:") {
			t.Errorf("printed as %s", text)
		}
	}
	if _, err := json.Marshal(v); err == nil {
		t.Error("written as JSON")
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "values", v)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "values", v)
	if strings.Contains(log.String(), "A:") || strings.Contains(log.String(), `"A"`) {
		t.Errorf("logged as %s", log.String())
	}
}

func TestOverridesAreChecked(t *testing.T) {
	number := func(n int) *int { return &n }
	large := func(n int64) *int64 { return &n }
	for name, o := range map[string]projects.Override{
		"replicas": {Replicas: number(101)}, "negative": {Replicas: number(-1)}, "port": {Port: number(70000)},
		"memory": {Memory: large(1)}, "cpu": {MilliCPU: large(1)},
	} {
		if err := o.Check(); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := newRoom(t)
	_, e := r.create(r.mine, "hello")
	public := true
	o := projects.Override{Replicas: number(2), Port: number(80), Memory: large(64 << 20), MilliCPU: large(100), Public: &public, Health: &spec.Health{Kind: spec.HealthHTTP, Path: "/"}, Nonce: "n"}
	must(t, o.Check())
	for range 2 {
		must(t, r.db.InTx(ctx, func(tx pgx.Tx) error { return r.SetOverride(ctx, tx, r.mine, e.ID, "web", o) }))
	}
	all, err := r.Overrides(ctx, r.db.Pool, r.mine, e.ID)
	must(t, err)
	got := all["web"]
	if *got.Replicas != 2 || *got.Port != 80 || *got.Memory != 64<<20 || *got.MilliCPU != 100 || !*got.Public || got.Health.Path != "/" || got.Nonce != "n" {
		t.Fatalf("stored %+v", got)
	}
	if all, err := r.Overrides(ctx, r.db.Pool, r.theirs, e.ID); err != nil || len(all) != 0 {
		t.Fatal("another tenant reads settings")
	}
}
