package app

import (
	"os"
	"strings"
	"testing"
)

// The API's text is committed, so that a change of it is seen in review and the clients are made from it.
func TestTheDescribedAPIIsTheCommittedOne(t *testing.T) {
	d, err := Describe("0.0.0")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"../docs/openapi.json":  string(d.OpenAPI) + "\n",
		"../docs/routes.golden": strings.Join(d.Routes, "\n") + "\n",
	} {
		have, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(have) != want {
			t.Errorf("%s differs from what the doors say: make gen", path)
		}
	}
}
