package routing_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
	"pandu/modules/kit/pgtest"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/routing"
)

var ctx = context.Background()

type room struct {
	*routing.Service
	t            *testing.T
	db           *pg.DB
	mine, theirs identity.Actor
}

func newRoom(t *testing.T, ports routing.PortRange) *room {
	t.Helper()
	dsn := pgtest.DSN(t)
	many := "?"
	if strings.Contains(dsn, "?") {
		many = "&"
	}
	r := &room{t: t, db: pgtest.Open(t, dsn+many+"pool_max_conns=60")} // so that many really are at it at once
	r.Service = routing.New(routing.Deps{DB: r.db, AppsDomain: "apps.test", PanelHost: "panel.test", Ports: ports, Port: 8080})
	for i, slug := range []string{"mine", "theirs"} {
		id := uuid.New()
		_, err := r.db.Pool.Exec(ctx, "insert into identity.organizations (id, slug, name) values ($1, $2, $2)", id, slug)
		must(t, err)
		*[]*identity.Actor{&r.mine, &r.theirs}[i] = identity.System(id, "test")
	}
	return r
}

func (r *room) add(actor identity.Actor, environment uuid.UUID, host string) (d routing.Domain, err error) {
	return d, r.db.InTx(ctx, func(tx pgx.Tx) (err error) {
		d, err = r.Add(ctx, tx, actor, environment, host, "")
		return err
	})
}

func (r *room) claim(actor identity.Actor, environment uuid.UUID, label, service string) error {
	return r.db.InTx(ctx, func(tx pgx.Tx) error { return r.ClaimAuto(ctx, tx, actor, environment, label, service) })
}

func (r *room) allocate(actor identity.Actor, environment, group uuid.UUID) (port int, err error) {
	return port, r.db.InTx(ctx, func(tx pgx.Tx) (err error) {
		port, err = r.AllocatePort(ctx, tx, actor, environment, group)
		return err
	})
}

func TestManyPortsAtOnceNeverCollide(t *testing.T) {
	r := newRoom(t, routing.PortRange{First: 30000, Last: 30049})
	group := uuid.New()
	var all sync.WaitGroup
	var mu sync.Mutex
	seen := map[int]bool{}
	for range 50 {
		all.Go(func() {
			port, err := r.allocate(r.mine, uuid.New(), group)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || seen[port] || port < 30000 || port > 30049 {
				t.Errorf("port %d, %v", port, err)
			}
			seen[port] = true
		})
	}
	all.Wait()
	if len(seen) != 50 {
		t.Fatalf("%d ports", len(seen))
	}
	if _, err := r.allocate(r.mine, uuid.New(), group); fault.From(err).Code != "ports_used_up" {
		t.Fatalf("one more: %v", err)
	}
	if _, err := r.allocate(r.mine, uuid.New(), uuid.New()); err != nil {
		t.Fatalf("another group has its own: %v", err)
	}
}

func TestPortStaysAndIsGivenBack(t *testing.T) {
	r := newRoom(t, routing.PortRange{First: 30000, Last: 30001})
	group, e, other := uuid.New(), uuid.New(), uuid.New()
	first, err := r.allocate(r.mine, e, group)
	must(t, err)
	var all sync.WaitGroup
	for range 10 { // the same one asks many times at once
		all.Go(func() {
			if again, err := r.allocate(r.mine, e, group); err != nil || again != first {
				t.Errorf("port %d, then %d, %v", first, again, err)
			}
		})
	}
	all.Wait()
	second, err := r.allocate(r.mine, other, group)
	must(t, err)
	if second == first {
		t.Fatal("two environments have one port")
	}
	if own, err := r.OwnPort(ctx, r.db.Pool, r.theirs, e); err != nil || own != 0 {
		t.Fatalf("another tenant sees port %d, %v", own, err)
	}
	must(t, r.db.InTx(ctx, func(tx pgx.Tx) error { return r.FreePort(ctx, tx, r.mine, e) }))
	if third, err := r.allocate(r.mine, uuid.New(), group); err != nil || third != first {
		t.Fatalf("port %d is not given out again: %d, %v", first, third, err)
	}
}

func TestHostnameIsClaimedOnce(t *testing.T) {
	r := newRoom(t, routing.PortRange{})
	var all sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for n := range 20 {
		actor := []identity.Actor{r.mine, r.theirs}[n%2]
		all.Go(func() {
			err := r.claim(actor, uuid.New(), "hello", "")
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case fault.From(err).Code != "hostname_taken":
				t.Error(err)
			}
		})
	}
	all.Wait()
	if won != 1 {
		t.Fatalf("%d have it", won)
	}
	if free, err := r.Free(ctx, "hello.apps.test"); err != nil || free {
		t.Fatalf("free %t, %v", free, err)
	}
}

func TestHostnamesOfOnesOwn(t *testing.T) {
	r := newRoom(t, routing.PortRange{})
	e := uuid.New()
	for host, code := range map[string]string{
		"apps.test": "hostname_ours", "x.apps.test": "hostname_ours", "a.b.APPS.test": "hostname_ours", "panel.test": "hostname_ours",
		"PANEL.test": "hostname_ours",
	} {
		if _, err := r.add(r.mine, e, host); fault.From(err).Code != code {
			t.Errorf("%s: %v", host, err)
		}
	}
	for _, host := range []string{"", "http://x.test", "a b", "1.2.3.4", "-x.test"} {
		if _, err := r.add(r.mine, e, host); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %v", host, err)
		}
	}
	d, err := r.add(r.mine, e, "Shop.Example.ORG")
	must(t, err)
	if d.Hostname != "shop.example.org" || d.URL != "http://shop.example.org:8080" {
		t.Fatalf("claimed %+v", d)
	}
	if _, err := r.add(r.theirs, uuid.New(), "shop.example.org"); fault.From(err).Code != "hostname_taken" {
		t.Fatal(err)
	}
	if again, err := r.add(r.mine, e, "shop.example.org"); err != nil || again.ID != d.ID {
		t.Fatalf("the same once more: %v, %v", again, err)
	}
	remove := func(actor identity.Actor) error {
		return r.db.InTx(ctx, func(tx pgx.Tx) error { return r.Remove(ctx, tx, actor, e, d.ID) })
	}
	if err := remove(r.theirs); fault.KindOf(err) != fault.NotFound {
		t.Fatalf("another tenant removed it: %v", err)
	}
	must(t, remove(r.mine))
	if _, err := r.add(r.theirs, uuid.New(), "shop.example.org"); err != nil {
		t.Fatal(err)
	}
}

func TestReleaseGivesAllBack(t *testing.T) {
	r := newRoom(t, routing.PortRange{First: 30000, Last: 30000})
	e, group := uuid.New(), uuid.New()
	must(t, r.claim(r.mine, e, "hello", ""))
	must(t, r.claim(r.mine, e, "api-hello", "api"))
	_, err := r.add(r.mine, e, "hello.example.org")
	must(t, err)
	_, err = r.allocate(r.mine, e, group)
	must(t, err)
	must(t, r.db.InTx(ctx, func(tx pgx.Tx) error { return r.ReleaseAuto(ctx, tx, r.mine, e, nil) }))
	domains, err := r.Domains(ctx, r.db.Pool, r.mine, e)
	must(t, err)
	if len(domains[e]) != 2 {
		t.Fatalf("left %v: only the service's name goes", domains[e])
	}
	must(t, r.db.InTx(ctx, func(tx pgx.Tx) error { return r.Release(ctx, tx, r.theirs, e) }))
	if domains, _ = r.Domains(ctx, r.db.Pool, r.mine, e); len(domains[e]) != 2 {
		t.Fatal("another tenant released them")
	}
	must(t, r.db.InTx(ctx, func(tx pgx.Tx) error { return r.Release(ctx, tx, r.mine, e) }))
	if domains, _ = r.Domains(ctx, r.db.Pool, r.mine, e); len(domains[e]) != 0 {
		t.Fatalf("left %v", domains[e])
	}
	_, err = r.allocate(r.theirs, uuid.New(), group)
	must(t, err)
}
