package gateway

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"pandu/modules/agent/agentv1"
	"pandu/modules/kit/fault"
)

func TestNormaliseHost(t *testing.T) {
	for host, want := range map[string]string{
		"a.example.org":                 "a.example.org",
		"A.Example.ORG":                 "a.example.org",
		"a.example.org.":                "a.example.org",
		"a.example.org:8080":            "a.example.org",
		"a.example.org:":                "a.example.org",
		"localhost":                     "localhost",
		"hello.localhost:80":            "hello.localhost",
		"under_score.test":              "under_score.test",
		"192.0.2.1:80":                  "192.0.2.1",
		"xn--bcher-kva.example":         "xn--bcher-kva.example",
		"":                              "",
		".":                             "",
		".a":                            "",
		"a..b":                          "",
		"a.b..":                         "",
		"-a.b":                          "",
		"a-.b":                          "",
		"a b":                           "",
		"a/b":                           "",
		"a@b":                           "",
		"a:b":                           "",
		"a:80:80":                       "",
		"a:123456":                      "",
		"[::1]":                         "",
		"[::1]:80":                      "",
		"bücher.example":                "",
		"*.example.org":                 "",
		"a\x00b":                        "",
		strings.Repeat("a", 63) + ".b":  strings.Repeat("a", 63) + ".b",
		strings.Repeat("a", 64) + ".b":  "",
		strings.Repeat("a.", 126) + "b": strings.Repeat("a.", 126) + "b",
		strings.Repeat("a.", 127) + "b": "",
	} {
		if got := normaliseHost(host); got != want {
			t.Errorf("%q: got %q, want %q", host, got, want)
		}
	}
}

func FuzzNormaliseHost(f *testing.F) {
	for _, s := range []string{"a.example.org", "A.B:80", "[::1]:80", "a..b", "-", "ſ.test", "K.test", "a:99999", "."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, host string) {
		got := normaliseHost(host)
		if got == "" {
			return
		}
		if !validHost(got) || strings.Trim(got, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" || len(got) > len(host) {
			t.Errorf("%q became %q", host, got)
		}
		if again := normaliseHost(got); again != got {
			t.Errorf("%q became %q, then %q", host, got, again)
		}
	})
}

func rawTable(t testing.TB, revision uint64, sets ...*agentv1.RouteSet) source {
	t.Helper()
	var raws [][]byte
	for _, s := range sets {
		b, err := proto.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		raws = append(raws, b)
	}
	return encoded(revision, raws...)
}

func encoded(revision uint64, raws ...[]byte) source {
	return func(each func([]byte) error) (*agentv1.RouteTable, error) {
		for _, b := range raws {
			if err := each(b); err != nil {
				return nil, err
			}
		}
		return &agentv1.RouteTable{Epoch: &agentv1.Epoch{Number: 1}, Revision: revision}, nil
	}
}

func (t *table) set(environment string) *set {
	s, _ := t.sets.get(environment)
	return s
}

func routeSet(environment string, hosts ...string) *agentv1.RouteSet {
	s := &agentv1.RouteSet{EnvironmentId: environment}
	for _, h := range hosts {
		s.Routes = append(s.Routes, &agentv1.Route{Host: h, State: agentv1.Route_STATE_SERVING, InstanceIds: []string{environment}})
	}
	return s
}

// A host may move from one environment to another in one revision, whatever the order of the sets.
func TestHostMovesBetweenEnvironments(t *testing.T) {
	c := newCompiler(newRegistry(0))
	first, _, err := c.next(emptyTable(), rawTable(t, 1, routeSet("a", "x.test", "y.test"), routeSet("b", "z.test")))
	if err != nil {
		t.Fatal(err)
	}
	second, gone, err := c.next(first, rawTable(t, 2, routeSet("b", "z.test", "x.test"), routeSet("a", "y.test")))
	if err != nil || len(gone) != 2 {
		t.Fatalf("got %v, %v", gone, err)
	}
	if id := second.site("x.test", 0).route("/").backends[0].id; id != "b" {
		t.Errorf("x.test belongs to %q", id)
	}
	if id := first.site("x.test", 0).route("/").backends[0].id; id != "a" {
		t.Errorf("the table that is served was changed: x.test belongs to %q", id)
	}
}

// Even a table that names no epoch is not followed by an older one.
func TestOlderTableIsRefused(t *testing.T) {
	bare := func(revision uint64) source {
		return func(func([]byte) error) (*agentv1.RouteTable, error) {
			return &agentv1.RouteTable{Revision: revision}, nil
		}
	}
	c := newCompiler(newRegistry(0))
	served, _, err := c.next(emptyTable(), bare(2))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.next(served, bare(1)); fault.KindOf(err) != fault.Conflict {
		t.Errorf("got %v", err)
	}
	if _, _, err := c.next(served, bare(2)); err != nil {
		t.Errorf("the same revision: %v", err)
	}
}

func TestUnchangedSetsAreKept(t *testing.T) {
	c := newCompiler(newRegistry(0))
	first, _, err := c.next(emptyTable(), rawTable(t, 1, routeSet("a", "x.test"), routeSet("b", "y.test"), routeSet("c", "z.test")))
	if err != nil {
		t.Fatal(err)
	}
	second, gone, err := c.next(first, rawTable(t, 2, routeSet("b", "new.test"), routeSet("a", "x.test")))
	if err != nil {
		t.Fatal(err)
	}
	if second.set("a") != first.set("a") || second.set("b") == first.set("b") || second.set("c") != nil || len(gone) != 2 {
		t.Errorf("got %v, gone %v", second.sets, gone)
	}
	if second.routes != 2 || second.site("y.test", 0) != nil || second.site("z.test", 0) != nil || second.site("new.test", 0) == nil {
		t.Errorf("got %d routes, hosts %v", second.routes, second.hosts)
	}
}

// A refused table leaves no reference behind: its instances would never be forgotten.
func TestRefusedTableGivesItsReferencesBack(t *testing.T) {
	bad := routeSet("b", "x.test")
	doubled := routeSet("b", "d.test", "d.test")
	invalid := routeSet("b", "-")
	for name, sets := range map[string][]*agentv1.RouteSet{
		"host twice": {routeSet("a", "x.test"), bad}, "path twice": {routeSet("a", "y.test"), doubled},
		"invalid": {routeSet("a", "y.test"), invalid}, "environment twice": {routeSet("a", "y.test"), routeSet("a", "z.test")},
	} {
		c := newCompiler(newRegistry(0))
		if _, _, err := c.next(emptyTable(), rawTable(t, 1, sets...)); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: got %v", name, err)
		}
		for id, b := range c.registry.backends {
			if b.references != 0 {
				t.Errorf("%s: %s has %d references", name, id, b.references)
			}
		}
		if c.registry.sweep(); len(c.registry.backends) != 0 {
			t.Errorf("%s: %v are left", name, c.registry.backends)
		}
	}
}

func TestValidPath(t *testing.T) {
	for path, want := range map[string]bool{
		"": true, "/": true, "/a/b": true, "/ü": true, "a": false, "/a?b": false, "/a#b": false, "/a b": false,
		"/a\x00": false, `/a\b`: false, "/" + strings.Repeat("a", maxPath): false,
	} {
		if got := validPath(path); got != want {
			t.Errorf("%q: got %v", path, got)
		}
	}
}

// Whatever a table says: it is refused, or every route in it is found, and giving it up leaves nothing behind.
func FuzzTable(f *testing.F) {
	for _, s := range []*agentv1.RouteSet{
		routeSet("a", "x.test"), routeSet("a", "*.test", "x.test"), routeSet("", "x.test"),
		{EnvironmentId: "p", Routes: []*agentv1.Route{{ListenPort: 8080, Path: "/x", State: agentv1.Route_STATE_STOPPED}}},
		{EnvironmentId: "n", Names: []*agentv1.ServiceName{{Name: "DB", InstanceIds: []string{"i", "i"}}}},
	} {
		b, err := proto.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, b)
	}
	f.Fuzz(func(t *testing.T, one, two []byte) {
		c := newCompiler(newRegistry(0))
		table, _, err := c.next(emptyTable(), encoded(1, one, two))
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("got %v", err)
			}
		} else {
			checkFound(t, table, [][]byte{one, two})
			_, gone, err := c.next(table, encoded(2))
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range gone {
				c.registry.release(s.backends)
			}
		}
		if c.registry.sweep(); len(c.registry.backends) != 0 {
			t.Fatalf("%d instances are left", len(c.registry.backends))
		}
	})
}

func checkFound(t *testing.T, table *table, sets [][]byte) {
	t.Helper()
	for _, b := range sets {
		var set agentv1.RouteSet
		if err := proto.Unmarshal(b, &set); err != nil {
			t.Fatal(err)
		}
		for _, r := range set.GetRoutes() {
			host := strings.Replace(r.GetHost(), "*", "any", 1)
			site := table.site(normaliseHost(host), uint16(r.GetListenPort())) //nolint:gosec // accepted
			if site == nil {
				t.Fatalf("%v is not found", r)
			}
			if path := max("/", r.GetPath()); site.route(path) == nil {
				t.Fatalf("%v is not found at %q", r, path)
			}
		}
	}
}
