package identity

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"pandu/modules/kit/fault"
)

func TestPermissionTable(t *testing.T) {
	all := rolePermissions[Owner]
	for role, permissions := range rolePermissions {
		if !role.Known() {
			t.Errorf("role %s has no rank", role)
		}
		for _, p := range permissions {
			if !slices.Contains(all, p) {
				t.Errorf("%s may %s, an owner may not", role, p)
			}
			if p.operator() {
				t.Errorf("%s holds the operator's %s", role, p)
			}
			if role == Viewer && !strings.HasSuffix(string(p), ".read") {
				t.Errorf("a viewer may %s", p)
			}
		}
		if len(slices.Compact(slices.Sorted(slices.Values(permissions)))) != len(permissions) {
			t.Errorf("%s has a permission twice", role)
		}
	}
	if len(rolePermissions) != len(ranks) {
		t.Error("roles and ranks differ")
	}
}

func TestNobodyMayDoAnything(t *testing.T) {
	for _, p := range append(slices.Clone(rolePermissions[Owner]), operatorPermissions...) {
		if (Actor{}).Can(p) || fault.KindOf((Actor{Kind: KindUser, Role: Owner}).Require(p)) != fault.Denied {
			t.Fatalf("an actor without permissions may %s", p)
		}
		if !System(uuid.Nil, "test").Can(p) {
			t.Fatalf("the system may not %s", p)
		}
	}
	if ActorFrom(context.Background()).Can(ProjectsRead) {
		t.Fatal("a context without an actor may read")
	}
}

func TestScopesNarrow(t *testing.T) {
	for _, test := range []struct {
		role     Role
		operator bool
		scopes   []string
		can      []Permission
		cannot   []Permission
	}{
		{Owner, false, nil, []Permission{MembersManage}, []Permission{ServersRead}},
		{Owner, true, nil, []Permission{ServersRead}, nil},
		{Owner, true, []string{"*"}, []Permission{MembersManage}, []Permission{ServersRead}},
		{Owner, true, []string{"servers.read"}, []Permission{ServersRead}, []Permission{ProjectsRead, ServersManage}},
		{Owner, false, []string{"servers.read"}, nil, []Permission{ServersRead}},
		{Viewer, false, []string{"*", "projects.delete"}, []Permission{ProjectsRead}, []Permission{ProjectsDelete}},
		{Owner, true, []string{}, nil, []Permission{ProjectsRead, ServersRead}},
		{"", false, nil, nil, []Permission{ProjectsRead}},
		{"emperor", false, nil, nil, []Permission{ProjectsRead}},
	} {
		a := Actor{Kind: KindUser, permissions: permissionsOf(test.role, test.operator, test.scopes)}
		for _, p := range test.can {
			if !a.Can(p) {
				t.Errorf("%+v may not %s", test, p)
			}
		}
		for _, p := range test.cannot {
			if a.Can(p) {
				t.Errorf("%+v may %s", test, p)
			}
		}
	}
}

func TestMayGrant(t *testing.T) {
	for _, test := range []struct {
		a, b Role
		want bool
	}{{Owner, Owner, true}, {Admin, Owner, false}, {Admin, Admin, true}, {Member, Viewer, true}, {Viewer, Member, false}, {Owner, "emperor", false}, {"emperor", Viewer, false}} {
		if got := test.a.MayGrant(test.b); got != test.want {
			t.Errorf("%s grants %s: %v", test.a, test.b, got)
		}
	}
}

func TestPasswordHash(t *testing.T) {
	encoded := hashPassword("correct horse battery")
	if !strings.HasPrefix(encoded, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("hash %q", encoded)
	}
	if match, outdated, err := checkPassword(encoded, "correct horse battery"); !match || outdated || err != nil {
		t.Fatalf("right password: %v %v %v", match, outdated, err)
	}
	if match, _, _ := checkPassword(encoded, "correct horse batterz"); match {
		t.Fatal("a wrong password fits")
	}
	older := "$argon2id$v=19$m=64,t=1,p=1$" + strings.Join(strings.Split(encoded, "$")[4:], "$")
	if _, outdated, err := checkPassword(older, "x"); !outdated || err != nil {
		t.Fatalf("older parameters: %v %v", outdated, err)
	}
	for _, bad := range []string{
		"", "x", "$argon2i$v=19$m=64,t=1,p=1$AAAA$AAAA", strings.Replace(encoded, "v=19", "v=16", 1),
		strings.Replace(encoded, "m=19456", "m=99999999", 1), strings.Replace(encoded, "t=2", "t=0", 1), encoded + "$", encoded[:60],
	} {
		if match, _, err := checkPassword(bad, ""); err == nil || match {
			t.Errorf("hash %q: match %v, error %v", bad, match, err)
		}
	}
}

func TestHashingIsBounded(t *testing.T) {
	s, err := New(Deps{PublicURL: "http://x", MasterKey: newTestKey(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	for s.hashing.TryAcquire(1) { // fill every place
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.hash(ctx, "some password"); fault.KindOf(err) != fault.Unavailable {
		t.Fatalf("hashing without a place: %v", err)
	}
}

func TestTokenForm(t *testing.T) {
	token, name := newToken()
	if got, ok := tokenNameOf(token); !ok || got != name || len(token) != 74 {
		t.Fatalf("token %q of length %d, name %q", token, len(token), got)
	}
	for i := range token {
		changed := []byte(token)
		changed[i] ^= 1
		if _, ok := tokenNameOf(string(changed)); ok && i > len(tokenPrefix) {
			t.Errorf("mistyped at %d and not noticed", i)
		}
	}
	for _, bad := range []string{"", "pandu_", token[:73], token + "a", strings.Repeat("_", 74)} {
		if _, ok := tokenNameOf(bad); ok {
			t.Errorf("%q passes", bad)
		}
	}
}

func TestEmail(t *testing.T) {
	for in, want := range map[string]string{"A@Example.org ": "a@example.org", "a+b@x.co": "a+b@x.co"} {
		if got, err := cleanEmail(in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, bad := range []string{"", "a", "@b", "a@", "A <a@b.c>", "a@b.c,d@e.f", "a@b.c\r\nBcc: x", "\"a b\"@c.d", strings.Repeat("a", 250) + "@b.cd", "a\x00@b.c", "a@b.c\xff"} {
		if got, err := cleanEmail(bad); err == nil {
			t.Errorf("%q passes as %q", bad, got)
		}
	}
}

func TestSlugs(t *testing.T) {
	for _, name := range []string{"", "Ann", "--", "a.b_c", strings.Repeat("long", 30), "Ünïcode", "日本"} {
		if slug := ownSlug(name); !slugRule.MatchString(slug) {
			t.Errorf("%q gives %q", name, slug)
		}
	}
}

func TestNetworkOf(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
		"fe80::1%eth0": "fe80::/64", "": "unknown", "nonsense": "unknown",
	} {
		if got := networkOf(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestCursor(t *testing.T) {
	at := Cursor{time.Date(2026, 11, 20, 1, 2, 3, 456000, time.UTC), uuid.New()}
	if got, err := ParseCursor(at.String()); err != nil || got != at {
		t.Fatalf("%v came back as %v, %v", at, got, err)
	}
	page := Cut(PageInput{Limit: 2}, []int{1, 2, 3}, func(int) Cursor { return at })
	if len(page.Items) != 2 || page.NextCursor != at.String() {
		t.Fatalf("page %+v", page)
	}
	if page := Cut(PageInput{Limit: 2}, []int(nil), func(int) Cursor { return at }); page.Items == nil || page.NextCursor != "" {
		t.Fatalf("empty page %+v", page)
	}
}

func FuzzCursor(f *testing.F) {
	f.Add("")
	f.Add(Cursor{time.UnixMicro(1), uuid.New()}.String())
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCursor(s)
		if err == nil && s != "" && c.String() != s {
			t.Fatalf("%q is read as %v, which is written %q", s, c, c.String())
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	m := newMemory(time.Now)
	for range knownMost + 10 {
		m.put(uuid.NewString(), &principal{}, time.Time{})
	}
	if len(m.entries) > knownMost {
		t.Fatalf("%d entries", len(m.entries))
	}
}

func TestNobodyTakesAllStreams(t *testing.T) {
	var p places
	greedy, other := uuid.New(), uuid.New()
	for range streamsEach {
		if !p.take(greedy) {
			t.Fatal("refused below the limit")
		}
	}
	if p.take(greedy) || !p.take(other) {
		t.Fatal("one takes the places of others")
	}
	p.give(greedy)
	if !p.take(greedy) {
		t.Fatal("a place given back cannot be taken")
	}
	for range streamsEach {
		p.give(greedy)
	}
	p.give(other)
	if p.all != 0 || len(p.each) != 0 {
		t.Fatalf("still counted: %d, %v", p.all, p.each)
	}
}

func TestOneLine(t *testing.T) {
	if got := oneLine("a\r\nevent: x\x00"); strings.ContainsAny(got, "\r\n\x00") {
		t.Fatalf("%q", got)
	}
}
