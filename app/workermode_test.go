package app

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

var testKeys = []string{"project:build", "project:rollout", "link:check", "a", "b"}

// all stands for every queue in the tables below.
const all = "project:build project:rollout link:check a b"

func TestParseMode(t *testing.T) {
	for _, c := range []struct{ mode, requests, queues, residents string }{
		{"", "yes", all, "agent gateway"},
		{" ", "yes", all, "agent gateway"},
		{"\t\n ", "yes", all, "agent gateway"},
		{"!", "yes", "", ""},
		{" ! ", "yes", "", ""},
		{"!,!", "yes", "", ""},
		{"manager", "yes", "", ""},
		{"manager,!", "yes", "", ""},
		{"*", "no", all, ""},
		{"* ", "no", all, ""},
		{"*,*", "no", all, ""},
		{"creator", "no", all, ""},
		{"*,creator", "no", all, ""},
		{"a", "no", "a", ""},
		{"a,b", "no", "a b", ""},
		{"b,a", "no", "a b", ""},
		{" a , b ", "no", "a b", ""},
		{"a,a,a", "no", "a", ""},
		{"project:build", "no", "project:build", ""},
		{"project:build,link:check", "no", "project:build link:check", ""},
		{"!,a", "yes", "a", ""},
		{"a,!", "yes", "a", ""},
		{"a,!,b", "yes", "a b", ""},
		{"manager,a", "yes", "a", ""},
		{"!,project:build", "yes", "project:build", ""},
		{"-", "no", "", ""},
		{" - ", "no", "", ""},
		{"-,-", "no", "", ""},
		{"!,*", "yes", all, ""},
		{"*,!", "yes", all, ""},
		{"* , !", "yes", all, ""},
		{"manager,creator", "yes", all, ""},
		{"manager,*", "yes", all, ""},
		{"!,creator", "yes", all, ""},
		{"agent", "no", "", "agent"},
		{"gateway", "no", "", "gateway"},
		{"supervisor", "no", "", "supervisor"},
		{"agent,gateway", "no", "", "agent gateway"},
		{"gateway, agent", "no", "", "agent gateway"},
		{"agent,agent", "no", "", "agent"},
		{"agent,gateway,supervisor", "no", "", "agent gateway supervisor"},
	} {
		t.Run(c.mode, func(t *testing.T) {
			m, err := ParseMode(c.mode, testKeys)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, c.mode, m, expected{c.requests == "yes", strings.Fields(c.queues), strings.Fields(c.residents)})
		})
	}
}

// NocoBase's documented values with its own keys: two examples of how to split services over nodes, and the rules.
func TestNocoBaseValuesKeepTheirMeaning(t *testing.T) {
	keys := []string{"workflow:process", "async-task:process"}
	for _, c := range []struct {
		mode, requests string
		queues         []string
	}{
		{"", "yes", keys},
		{"!", "yes", nil},
		{"workflow:process", "no", []string{"workflow:process"}},
		{"async-task:process", "no", []string{"async-task:process"}},
		{"workflow:process,async-task:process", "no", keys},
		{"*", "no", keys},
		{"!,workflow:process", "yes", []string{"workflow:process"}},
		{"workflow:process,!", "yes", []string{"workflow:process"}},
		{"-", "no", nil},
	} {
		m, err := ParseMode(c.mode, keys)
		if err != nil {
			t.Errorf("%q: %v", c.mode, err)
			continue
		}
		for _, key := range keys {
			if m.Serving(key) != slices.Contains(c.queues, key) {
				t.Errorf("%q: Serving(%q) = %t", c.mode, key, m.Serving(key))
			}
		}
		if m.Serving("") != (c.requests == "yes") {
			t.Errorf("%q: Serving(\"\") = %t", c.mode, m.Serving(""))
		}
	}
}

func TestParseModeRefuses(t *testing.T) {
	for _, c := range []struct{ mode, says string }{
		{"c", `"c" is not known`},
		{"A", `"A" is not known`},
		{"Manager", `"Manager" is not known`},
		{"project:Build", "project:build"},
		{"project_build", "project:build"},
		{"!a", "is not known"},
		{"! a", "is not known"},
		{"**", "is not known"},
		{"--", "is not known"},
		{"all", "is not known"},
		{"a;b", "is not known"},
		{"a b", "is not known"},
		{",", "between two commas"},
		{"!,", "between two commas"},
		{",a", "between two commas"},
		{"a,,b", "between two commas"},
		{"a, ,b", "between two commas"},
		{"-,a", "stands alone"},
		{"a,-", "stands alone"},
		{"-,!", "stands alone"},
		{"-,*", "stands alone"},
		{"-,agent", "stands alone"},
		{"*,a", "leave out a"},
		{"a,*", "leave out a"},
		{"a,*,b", "leave out a,b"},
		{"!,*,a", "leave out a"},
		{"creator,b", "leave out b"},
		{"agent,!", "another process"},
		{"agent,*", "another process"},
		{"gateway,a", "another process"},
		{"supervisor,manager", "another process"},
		{"agent,gateway,!,*", "another process"},
	} {
		_, err := ParseMode(c.mode, testKeys)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: the error does not say %q: %v", c.mode, c.says, err)
		}
		if err != nil && strings.Contains(err.Error(), "not known") && !strings.Contains(err.Error(), all) {
			t.Errorf("%q: the error does not name the known words: %v", c.mode, err)
		}
	}
}

// FuzzParseMode compares the parser with the model below, which was written from the table of the design and not from the parser.
func FuzzParseMode(f *testing.F) {
	for _, seed := range []string{"", "!", "*", "-", "a,b", "!,a", "!,*", "agent,gateway", "manager , creator", ",", "*,a", "-,!", "supervisor,a", "A"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ParseMode(text, testKeys)
		want, ok := model(text, testKeys)
		if (err == nil) != ok {
			t.Fatalf("%q: parser says %v, model says %t", text, err, ok)
		}
		if ok {
			compare(t, text, m, want)
		}
	})
}

// TestParserAgreesWithModel goes through every list of up to three words.
func TestParserAgreesWithModel(t *testing.T) {
	vocabulary := []string{"!", "*", "-", "manager", "creator", "agent", "gateway", "supervisor", "a", "project:build", "x", "", " ! "}
	try := func(items ...string) {
		text := strings.Join(items, ",")
		m, err := ParseMode(text, testKeys)
		want, ok := model(text, testKeys)
		if (err == nil) != ok {
			t.Errorf("%q: parser says %v, model says %t", text, err, ok)
		} else if ok {
			compare(t, text, m, want)
		}
	}
	for _, one := range vocabulary {
		try(one)
		for _, two := range vocabulary {
			try(one, two)
			for _, three := range vocabulary {
				try(one, two, three)
			}
		}
	}
}

type expected struct {
	requests  bool
	queues    []string
	residents []string
}

// model decides by sets of capabilities: every word is the set of what it turns on, a list is the union, and four rules
// about which sets may meet say what is refused.
func model(text string, keys []string) (expected, bool) {
	if strings.TrimSpace(text) == "" {
		return expected{true, keys, []string{"agent", "gateway"}}, true
	}
	star := map[string]bool{}
	for _, k := range keys {
		star["queue "+k] = true
	}
	meaning := map[string]map[string]bool{
		"!": {"requests": true}, "manager": {"requests": true}, "*": star, "creator": star, "-": {},
		"agent": {"resident agent": true}, "gateway": {"resident gateway": true}, "supervisor": {"resident supervisor": true},
	}
	for _, k := range keys {
		meaning[k] = map[string]bool{"queue " + k: true}
	}
	seen, on := map[string]bool{}, map[string]bool{}
	for _, word := range strings.Split(text, ",") {
		word = strings.TrimSpace(word)
		turns, known := meaning[word]
		if !known {
			return expected{}, false
		}
		seen[word] = true
		maps.Copy(on, turns)
	}
	some := func(prefix string) bool {
		for capability := range on {
			if strings.HasPrefix(capability, prefix) {
				return true
			}
		}
		return false
	}
	lone := func() bool {
		for _, k := range keys {
			if seen[k] {
				return true
			}
		}
		return false
	}
	switch {
	case seen["-"] && len(seen) > 1,
		(seen["*"] || seen["creator"]) && lone(),
		some("resident ") && (on["requests"] || some("queue ")):
		return expected{}, false
	}
	e := expected{requests: on["requests"]}
	for capability := range on {
		if k, ok := strings.CutPrefix(capability, "queue "); ok {
			e.queues = append(e.queues, k)
		}
		if r, ok := strings.CutPrefix(capability, "resident "); ok {
			e.residents = append(e.residents, r)
		}
	}
	return e, true
}

func compare(t testing.TB, text string, m Mode, want expected) {
	t.Helper()
	got := expected{requests: m.Serving("")}
	for _, k := range testKeys {
		if m.Serving(k) {
			got.queues = append(got.queues, k)
		}
	}
	for _, r := range []string{"agent", "gateway", "supervisor"} {
		if m.Resident(r) {
			got.residents = append(got.residents, r)
		}
	}
	slices.Sort(got.queues)
	slices.Sort(got.residents)
	slices.Sort(want.queues)
	slices.Sort(want.residents)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q: serves %v, want %v", text, got, want)
	}
	if m.Serving("unknown:key") && !m.allJobs {
		t.Errorf("%q: serves an unknown queue", text)
	}
	wantsDatabase := want.requests || len(want.queues) > 0
	if m.Database() != wantsDatabase || m.Jobs() != (len(want.queues) > 0) || m.Idle() != (!wantsDatabase && len(want.residents) == 0) {
		t.Errorf("%q: database %t, jobs %t, idle %t", text, m.Database(), m.Jobs(), m.Idle())
	}
}
