package identity_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"pandu/modules/manager/identity"
)

// What a door costs before its handler does anything: who is it, in which organization, with which permission.
func BenchmarkDoor(b *testing.B) {
	b.ReportAllocs()
	h := settled(b)
	identity.Handle(h.doors, identity.Door{ID: "bench", Method: http.MethodGet, Path: "/bench", Summary: "B.", Tag: "t", Permission: identity.ProjectsRead},
		func(context.Context, identity.Actor, *struct{}) (*identity.Body[string], error) {
			return identity.Reply("x"), nil
		})
	c := h.admin()
	req := (&client{h: h, bearer: exchange(c), header: http.Header{}}).request(http.MethodGet, "/bench", nil)
	for b.Loop() {
		rec := httptest.NewRecorder()
		h.echo.ServeHTTP(rec, req)
		if rec.Code != http.StatusOK {
			b.Fatal(rec.Code)
		}
	}
}
