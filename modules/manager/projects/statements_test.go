package projects_test

import (
	"testing"

	"pandu/modules/kit/pgtest"
)

// Every statement of the room fits the migrated schema, and names no other room's.
func TestStatements(t *testing.T) {
	pgtest.Statements(t, ".", "projects", 9)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
