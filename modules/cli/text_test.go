package cli

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pandu/modules/cli/client"
	"pandu/modules/kit/fault"
)

func TestClean(t *testing.T) {
	for text, want := range map[string]string{
		"plain, Ünïcödé 世界 ✓": "plain, Ünïcödé 世界 ✓", "a\tb": "a    b", "end\r": "end", "\x1b[31mred\x1b[0m": "red", "\x1b[1;38:5:3mx": "x",
		"\x1b[2J": `\x1b[2J`, "\x1b]0;title\x07": `\x1b]0;title\x07`, "\u009b2J": `\x9b2J`, "a\nb": `a\x0ab`, "a\rb": `a\x0db`, "\u202eevil": `\u202eevil`,
		"\x1b": `\x1b`, "\x1b[": `\x1b[`, "\x7f\x00": `\x7f\x00`, "\xff\x1b": "\ufffd" + `\x1b`,
	} {
		if got := clean(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("\x1b[31m\x1b[2J\u009b\u202e")
	f.Fuzz(func(t *testing.T, text string) {
		got := clean(text)
		if strings.ContainsFunc(got, harmful) || clean(got) != got || utf8.ValidString(text) && !utf8.ValidString(got) {
			t.Errorf("%q is %q", text, got)
		}
	})
}

func TestJSONIsHarmlessAndStaysTheSame(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out}
	value := map[string]string{"a": "\x1b[2J\u009b\u202e\x7f"}
	if err := s.object(value); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsFunc(strings.ReplaceAll(out.String(), "\n", ""), harmful) {
		t.Errorf("harmful: %q", out.String())
	}
	var back map[string]string
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || back["a"] != value["a"] {
		t.Errorf("%q, %v", back, err)
	}
}

func TestColoursOnlyWhereTheyAreWanted(t *testing.T) {
	table := newTable("A", "STATE")
	table.add("x", "ready")
	var plain, colored bytes.Buffer
	if table.write(&plain, false) != nil || table.write(&colored, true) != nil {
		t.Fatal("not written")
	}
	if plain.String() != "A   STATE\nx   ready\n" || colored.String() != "A   STATE\nx   \x1b[32mready\x1b[0m\n" {
		t.Errorf("%q and %q", plain.String(), colored.String())
	}
}

func TestAgeAndSize(t *testing.T) {
	for d, want := range map[time.Duration]string{-time.Hour: "now", 0: "0s", 59 * time.Second: "59s", 90 * time.Second: "1m", 47 * time.Hour: "47h", 49 * time.Hour: "2d"} {
		if got := age(noon, noon.Add(-d)); got != want {
			t.Errorf("%s is %s", d, got)
		}
	}
	if age(noon, time.Time{}) != "" {
		t.Error("no moment has an age")
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 5 << 30: "5.0 GiB", 1 << 50: "1024.0 TiB"} {
		if got := size(n); got != want {
			t.Errorf("%d is %s", n, got)
		}
	}
}

func TestCounts(t *testing.T) {
	got, err := counts([]string{"web=3", "worker=0"})
	if err != nil || !slices.Equal(got, []count{{"web", 3}, {"worker", 0}}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"web", "=3", "web=", "web=-1", "web=x", "web=99999999999", "web=1 web=2"} {
		if got, err := counts(strings.Fields(bad)); err == nil {
			t.Errorf("%s is %v", bad, got)
		}
	}
}

func TestReleaseBefore(t *testing.T) {
	r := func(number int64, current bool) client.ReleaseView {
		return client.ReleaseView{Number: number, Current: current}
	}
	for _, c := range []struct {
		name  string
		all   []client.ReleaseView
		lived []int64
		want  int
	}{
		{"the one below", []client.ReleaseView{r(3, true), r(2, false)}, []int64{3, 2}, 1},
		{"one that failed is skipped", []client.ReleaseView{r(4, true), r(3, false), r(2, false)}, []int64{4, 2}, 2},
		{"newer ones do not count", []client.ReleaseView{r(5, false), r(4, true), r(3, false)}, []int64{5, 4, 3}, 2},
		{"nothing is live", []client.ReleaseView{r(2, false), r(1, false)}, []int64{1}, -1},
		{"it is the first", []client.ReleaseView{r(1, true)}, []int64{1}, -1},
		{"none", nil, nil, -1},
	} {
		lived := map[int64]bool{}
		for _, n := range c.lived {
			lived[n] = true
		}
		if got := before(c.all, lived); got != c.want {
			t.Errorf("%s: %d", c.name, got)
		}
	}
}

func TestParseVariables(t *testing.T) {
	text := "\ufeffA=1\n\n# a comment\nexport B = two words # why\nC=\"x\\ny \\\"z\\\" #1\" # c\nD='as \\n is'\nE=\nF=a=b#c\n  G=1  \r\n"
	got, err := parseVariables(strings.NewReader(text))
	want := []string{"A=1", "B=two words", "C=x\ny \"z\" #1", `D=as \n is`, "E=", "F=a=b#c", "G=1"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"A", "A=\"x", "A='x", "A=\"x\" y"} {
		if got, err := parseVariables(strings.NewReader(bad)); err == nil {
			t.Errorf("%s is %q", bad, got)
		}
	}
}

func FuzzParseVariables(f *testing.F) {
	f.Add("A=1\nB=\"x\\")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseVariables(strings.NewReader(text))
		if err == nil && len(strings.Join(list, "")) > len(text) {
			t.Errorf("%q became %q", text, list)
		}
	})
}

func TestVariablesOnTheCommandLine(t *testing.T) {
	s := &session{screen: &screen{in: strings.NewReader("A=file\nB=file\n")}}
	set, err := s.assignments([]string{"A=argument", "C=x=y"}, variableFlags{file: "-", build: true})
	if err != nil || len(set) != 3 || set[0].Value != "argument" || set[1].Value != "file" || set[2].Value != "x=y" || !*set[0].Build {
		t.Errorf("%+v, %v", set, err)
	}
	for _, args := range [][]string{nil, {"A"}, {"=secret"}} {
		if _, err := s.assignments(args, variableFlags{}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", args, err)
		}
	}
}

func TestStatuses(t *testing.T) {
	for status, want := range map[int64]int{400: 5, 401: 3, 403: 1, 404: 4, 409: 1, 413: 5, 422: 5, 429: 1, 500: 1, 503: 1} {
		if got := statusOf(&client.ProblemError{Problem: client.Problem{Status: status}}); got != want {
			t.Errorf("%d is %d", status, got)
		}
	}
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	s := &session{project: "hello"}
	e := s.refusal(&client.ProblemError{Problem: client.Problem{
		Status: 409, Code: "slug_taken", Detail: "The name \"a\x1b[2J\" is taken", Parameters: map[string]string{"suggestion": "a-2"},
		Errors: []client.Detail{{Location: "body.slug", Message: "taken"}},
	}})
	if want := "The name \"a\\x1b[2J\" is taken.\nbody.slug: taken\nUse the free one: pandu deploy --project a-2"; e.Error() != want || e.ExitCode() != exitFailed {
		t.Errorf("%d %q", e.ExitCode(), e.Error())
	}
	e = s.refusal(&client.ProblemError{Problem: client.Problem{Status: 500, Code: "internal", Detail: "Broken.", RequestID: "r1"}})
	if e.Error() != "Broken.\nIn the server's log: request r1" {
		t.Errorf("%q", e.Error())
	}
	local := localRefusal(fault.New(fault.Invalid, "x", "No.").At("a:1", "bad"))
	if local.Error() != "No.\na:1: bad" {
		t.Errorf("%q", local.Error())
	}
}

func TestCompletion(t *testing.T) {
	m := newMachine(t)
	answers := map[string]string{}
	for k, v := range recorded {
		answers[k] = v
	}
	m.replay(answers)
	for args, want := range map[string]string{
		"logs ": "web\ndb\n", "logs -p ": "hello\n", "scale ": "web\ndb\n", "logs web ": "", "rollback ": "3\timage nginx:1\n", "variables unset ": "A\n",
		"tokens revoke ": "abcd\tci\n", "projects delete ": "hello\n", "domains remove ": "", "status -o ": "table\njson\n",
	} {
		r := m.run("", append([]string{"__complete"}, strings.Split(args, " ")...)...)
		if got, _, _ := strings.Cut(r.out, ":"); want != "3\timage nginx:1\n" && got != want {
			t.Errorf("%q offers %q", args, r.out)
		}
		if want == "3\timage nginx:1\n" && !strings.HasPrefix(r.out, want) {
			t.Errorf("%q offers %q", args, r.out)
		}
	}
	m.env["PANDU_URL"] = "http://127.0.0.1:1"
	if r := m.run("", "__complete", "logs", ""); r.status != 0 || strings.Contains(r.err, "cannot be reached") {
		t.Errorf("without a panel: %s", r.text())
	}
}
