package spec_test

import (
	"strings"
	"testing"

	"pandu/modules/kit/fault"
	"pandu/modules/spec"
)

func code(err error) string {
	if err == nil {
		return ""
	}
	return fault.From(err).Code
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		judge func(string) error
		name  string
		code  string
	}{
		{spec.Slug, "hello", ""}, {spec.Slug, "a", ""}, {spec.Slug, "4u", ""}, {spec.Slug, "a-b", ""}, {spec.Slug, "ab-c--d", ""},
		{spec.Slug, strings.Repeat("a", 40), ""}, {spec.Slug, strings.Repeat("a", 41), "slug_invalid"},
		{spec.Slug, "", "slug_invalid"}, {spec.Slug, "-a", "slug_invalid"}, {spec.Slug, "a-", "slug_invalid"}, {spec.Slug, "A", "slug_invalid"},
		{spec.Slug, "a_b", "slug_invalid"}, {spec.Slug, "a.b", "slug_invalid"}, {spec.Slug, "xn--a", "slug_invalid"}, {spec.Slug, "ab--c", "slug_invalid"},
		{spec.Slug, "a\n", "slug_invalid"}, {spec.Slug, "é", "slug_invalid"},
		{spec.Slug, "www", "slug_reserved"}, {spec.Slug, "pandu", "slug_reserved"}, {spec.Slug, "localhost", "slug_reserved"},
		{spec.ServiceName, "my_db", ""}, {spec.ServiceName, "web", ""}, {spec.ServiceName, "_db", "service_name"}, {spec.ServiceName, "a.b", "service_name"}, {spec.ServiceName, "Web", "service_name"},
		{spec.VolumeName, "pg_data.1", ""}, {spec.VolumeName, "/etc", "volume_name"}, {spec.VolumeName, "", "volume_name"}, {spec.VolumeName, "..", "volume_name"},
		{spec.VariableName, "PATH_2", ""}, {spec.VariableName, "_a", ""}, {spec.VariableName, "2a", "variable_name"}, {spec.VariableName, "a-b", "variable_name"},
		{spec.VariableName, "a=b", "variable_name"}, {spec.VariableName, "", "variable_name"}, {spec.VariableName, "PANDU_X", "variable_reserved"},
		{spec.VariableName, strings.Repeat("a", 128), ""}, {spec.VariableName, strings.Repeat("a", 129), "variable_name"},
	} {
		if got := code(c.judge(c.name)); got != c.code {
			t.Errorf("%q: %q, want %q", c.name, got, c.code)
		}
	}
}

func TestSuggestSlug(t *testing.T) {
	for name, want := range map[string]string{
		"Hello": "hello", "My Shop!": "my-shop", "  Café Müller  ": "cafe-muller", "Магазин": "magazin", "商店": "project",
		"www": "project-www", "": "project", "a__b..c": "a-b-c", strings.Repeat("x", 100): strings.Repeat("x", 40), "Straße": "strasse",
		strings.Repeat("a", 39) + " b": strings.Repeat("a", 39), "xn--a": "xn-a",
	} {
		if got := spec.SuggestSlug(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func FuzzSuggestSlug(f *testing.F) {
	f.Add("Café -- Müller")
	f.Add("a" + strings.Repeat("-", 50))
	f.Fuzz(func(t *testing.T, name string) {
		if err := spec.Slug(spec.SuggestSlug(name)); err != nil {
			t.Error(err)
		}
	})
}

func TestHostname(t *testing.T) {
	for name, want := range map[string]string{
		"Shop.Example.COM": "shop.example.com", "пример.рф": "xn--e1afmkfd.xn--p1ai", "a-b.c1.d": "a-b.c1.d", "münchen.de": "xn--mnchen-3ya.de",
		"shop。example.com": "shop.example.com", "hello.localhost": "hello.localhost",
		"": "", "localhost": "", "example.com.": "", ".example.com": "", "a..b": "", "1.2.3.4": "", "1.2.3": "", "::1": "", "[::1]": "", "example.com:80": "",
		"http://example.com": "", "a_b.com": "", "*.example.com": "", "-a.com": "", "a-.com": "", "a b.com": "", "a.com/x": "", "a.com\n": "", "0x7f.0x1": "",
		strings.Repeat("a", 64) + ".com": "", strings.Repeat("a.", 130) + "com": "", "a.c\x00m": "", "user@a.com": "", "127.1": "",
	} {
		got, err := spec.Hostname(name)
		if got != want || (want == "") != (code(err) == "hostname_invalid") {
			t.Errorf("%q: %q, %v, want %q", name, got, err, want)
		}
	}
}

func FuzzHostname(f *testing.F) {
	f.Add("пример.рф")
	f.Fuzz(func(t *testing.T, name string) {
		once, err := spec.Hostname(name)
		if err != nil {
			return
		}
		if twice, err := spec.Hostname(once); err != nil || twice != once {
			t.Errorf("%q becomes %q, then %q (%v)", name, once, twice, err)
		}
	})
}

func TestChoosePublic(t *testing.T) {
	type s = spec.Service
	for _, c := range []struct {
		services []s
		name     string
		question bool
	}{
		{[]s{{Name: "a", Ports: []int{80}}, {Name: "b", Public: true}}, "b", false},
		{[]s{{Name: "a", Public: true}, {Name: "b", Public: true}, {Name: "web", Ports: []int{80}}}, "a", false},
		{[]s{{Name: "a", Public: true}, {Name: "web", Public: true}}, "web", false},
		{[]s{{Name: "a", Ports: []int{80}}, {Name: "web"}}, "a", false},
		{[]s{{Name: "a", Ports: []int{80}}, {Name: "web", Ports: []int{80}}}, "web", false},
		{[]s{{Name: "a", Ports: []int{80}}, {Name: "b", Ports: []int{80}}}, "", true},
		{[]s{{Name: "a"}, {Name: "web"}}, "web", false},
		{[]s{{Name: "a"}, {Name: "b"}}, "", true},
		{[]s{{Name: "a"}, {Name: "b", Task: true, Ports: []int{80}}}, "a", false},
		{[]s{{Name: "a", Internal: true, Ports: []int{80}}, {Name: "b", Ports: []int{80}}}, "b", false},
		{[]s{{Name: "a", Task: true}}, "", false},
		{nil, "", false},
	} {
		name, question := spec.ChoosePublic(spec.Application{Services: c.services})
		if name != c.name || question != c.question {
			t.Errorf("%+v: %q %v", c.services, name, question)
		}
	}
}
