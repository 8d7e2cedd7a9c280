package identity_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/google/uuid"

	"pandu/modules/kit/fault"
)

func TestSealAndOpen(t *testing.T) {
	h := settled(t)
	ctx := context.Background()
	org := h.admin().actor().OrganizationID
	other := h.register("other@example.org").actor().OrganizationID
	sealed, err := h.service.Seal(ctx, h.db.Pool, org, "projects.variables|1|value", []byte("hunter2"))
	must(t, err)
	if bytes.Contains(sealed, []byte("hunter2")) {
		t.Fatal("sealed in clear")
	}
	again, err := h.service.Seal(ctx, h.db.Pool, org, "projects.variables|1|value", []byte("hunter2"))
	must(t, err)
	if bytes.Equal(sealed, again) {
		t.Fatal("the same secret looks the same twice")
	}
	elsewhere := h.another()
	if plain, err := elsewhere.Open(ctx, h.db.Pool, org, "projects.variables|1|value", sealed); err != nil || string(plain) != "hunter2" {
		t.Fatalf("another process reads %q, %v", plain, err)
	}
	damaged := bytes.Clone(sealed)
	damaged[len(damaged)-1] ^= 1
	for name, open := range map[string]func() ([]byte, error){
		"another place": func() ([]byte, error) {
			return elsewhere.Open(ctx, h.db.Pool, org, "projects.variables|2|value", sealed)
		},
		"another organization": func() ([]byte, error) {
			return elsewhere.Open(ctx, h.db.Pool, other, "projects.variables|1|value", sealed)
		},
		"damaged": func() ([]byte, error) {
			return elsewhere.Open(ctx, h.db.Pool, org, "projects.variables|1|value", damaged)
		},
		"empty": func() ([]byte, error) { return elsewhere.Open(ctx, h.db.Pool, org, "projects.variables|1|value", nil) },
		"cut": func() ([]byte, error) {
			return elsewhere.Open(ctx, h.db.Pool, org, "projects.variables|1|value", sealed[:17])
		},
	} {
		if plain, err := open(); err == nil || len(plain) != 0 || fault.From(err).Code != "secret_unreadable" {
			t.Errorf("%s: %q, %v", name, plain, err)
		}
	}
	if _, err := h.service.Seal(ctx, h.db.Pool, uuid.New(), "x", []byte("y")); err == nil {
		t.Error("sealed for an organization that does not exist")
	}
	one, err := h.service.Digest(ctx, h.db.Pool, org, []byte("a"))
	must(t, err)
	two, err := elsewhere.Digest(ctx, h.db.Pool, org, []byte("a"))
	must(t, err)
	foreign, err := h.service.Digest(ctx, h.db.Pool, other, []byte("a"))
	must(t, err)
	if one != two || one == foreign || len(one) != 64 {
		t.Fatalf("digests %s %s %s", one, two, foreign)
	}
}
