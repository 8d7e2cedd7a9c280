package spec_test

import (
	"reflect"
	"strings"
	"testing"

	"pandu/modules/spec"
)

func TestExpand(t *testing.T) {
	variables := map[string]string{"A": "1", "EMPTY": "", "REF": "${A}", "LONG": strings.Repeat("x", 100<<10)}
	lookup := func(name string) (string, bool) { v, ok := variables[name]; return v, ok }
	for _, c := range []struct{ value, want, code string }{
		{"", "", ""}, {"plain", "plain", ""}, {"$A", "1", ""}, {"${A}", "1", ""}, {"x${A}y$A-$$A", "x1y1-$A", ""}, {"$$", "$", ""}, {"$$$$", "$$", ""},
		{"${NO}", "", ""}, {"$NO.", ".", ""}, {"${REF}", "${A}", ""}, {"}", "}", ""}, {"{A}", "{A}", ""},
		{"${NO:-d}", "d", ""}, {"${NO-d}", "d", ""}, {"${EMPTY:-d}", "d", ""}, {"${EMPTY-d}", "", ""}, {"${A:-d}", "1", ""}, {"${NO:-}", "", ""},
		{"${NO:-${A}}", "1", ""}, {"${NO:-${ALSO:-x}y}", "xy", ""}, {"${NO:-http://h:80/?a=b}", "http://h:80/?a=b", ""}, {"${NO:-$$}", "$", ""},
		{"${A:+yes}", "yes", ""}, {"${NO:+yes}", "", ""}, {"${EMPTY+yes}", "yes", ""}, {"${EMPTY:+yes}", "", ""},
		{"${A:?m}", "1", ""}, {"${NO:?set it}", "", "variable_missing"}, {"${NO?}", "", "variable_missing"}, {"${EMPTY?m}", "", ""}, {"${EMPTY:?m}", "", "variable_missing"},
		{"$", "", "variable_reference"}, {"$1", "", "variable_reference"}, {"${", "", "variable_reference"}, {"${A", "", "variable_reference"}, {"${}", "", "variable_reference"},
		{"${A B}", "", "variable_reference"}, {"${A:x}", "", "variable_reference"}, {"a $ b", "", "variable_reference"}, {"${A:-${B}", "", "variable_reference"}, {"${1A}", "", "variable_reference"},
		{strings.Repeat("${A:-", 20) + strings.Repeat("}", 20), "", "variable_reference"},
		{"${LONG}${LONG}", "", "variable_long"},
	} {
		got, err := spec.Expand(c.value, lookup)
		if got != c.want || code(err) != c.code {
			t.Errorf("%.40q: %.40q %v, want %q %s", c.value, got, err, c.want, c.code)
		}
	}
}

func TestReferences(t *testing.T) {
	got, err := spec.References("$B ${A:-x} ${C:-${D}} $$E ${A} ${F:+1} ${G:?}")
	want := []spec.Reference{{"A", false}, {"B", false}, {"C", true}, {"D", false}, {"F", true}, {"G", false}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v %v", got, err)
	}
}

// FuzzExpand: no input panics, and what has no dollar is left alone.
func FuzzExpand(f *testing.F) {
	f.Add("${A:-${B:-c}}$$")
	f.Fuzz(func(t *testing.T, value string) {
		got, err := spec.Expand(value, func(string) (string, bool) { return "", false })
		if !strings.Contains(value, "$") && len(value) < 1000 && (err != nil || got != value) {
			t.Errorf("%q became %q (%v)", value, got, err)
		}
	})
}
