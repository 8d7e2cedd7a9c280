package identity_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"pandu/modules/manager/identity"
)

type createInput struct {
	Body struct {
		Name string `json:"name"`
	}
}

func TestIdempotencyKey(t *testing.T) {
	h := settled(t)
	c := h.admin()
	c.header.Set("Idempotency-Key", "one")
	body := map[string]any{"name": "ci", "scopes": []string{"*"}}
	first := c.post("/tokens", body).want(http.StatusCreated)
	again := c.post("/tokens", body).want(http.StatusCreated)
	if !bytes.Equal(first.body, again.body) || again.header.Get("Idempotency-Replayed") != "true" || again.header.Get("Content-Type") != first.header.Get("Content-Type") {
		t.Fatalf("answered\n%s %v\nand then\n%s %v", first.body, first.header, again.body, again.header)
	}
	if n := h.count("select count(*) from identity.tokens"); n != 1 {
		t.Fatalf("%d tokens", n)
	}
	secret := into[identity.NewToken](first).Secret
	if n := h.count("select count(*) from identity.idempotent_requests where position($1::bytea in response) > 0", []byte(secret)); n != 0 {
		t.Fatal("the answer, with its secret, is kept in clear")
	}
	body["name"] = "other"
	c.post("/tokens", body).refused(http.StatusUnprocessableEntity, "idempotency_mismatch")
	other := h.register("other@example.org")
	other.header.Set("Idempotency-Key", "one")
	other.post("/tokens", body).want(http.StatusCreated) // another actor's key is another key
	c.header.Set("Idempotency-Key", strings.Repeat("x", 256))
	c.post("/tokens", body).refused(http.StatusUnprocessableEntity, "idempotency_key")

	// What the client did wrong is kept too.
	c.header.Set("Idempotency-Key", "two")
	c.post("/organizations", map[string]string{"slug": "default"}).refused(http.StatusConflict, "organization_slug_taken")
	if a := c.post("/organizations", map[string]string{"slug": "default"}); a.status != http.StatusConflict || a.header.Get("Idempotency-Replayed") == "" {
		t.Fatalf("a refusal again: %d %v", a.status, a.header)
	}
	h.exec("update identity.idempotent_requests set created_at = now() - interval '25 hours'")
	must(t, h.service.Sweep(context.Background()))
	if n := h.count("select count(*) from identity.idempotent_requests"); n != 0 {
		t.Fatalf("%d answers are kept after a day", n)
	}
}

func TestIdempotencyWhileRunning(t *testing.T) {
	h := settled(t)
	c := h.admin()
	started, goOn := make(chan struct{}), make(chan struct{})
	fail := true
	identity.Handle(h.doors, identity.Door{
		ID: "slow", Method: http.MethodPost, Path: "/slow", Summary: "Slow.", Tag: "t", AnyMember: true, Creates: true, Status: http.StatusCreated,
	}, func(context.Context, identity.Actor, *createInput) (*identity.Body[string], error) {
		if fail {
			fail = false
			return nil, errors.New("broken")
		}
		close(started)
		<-goOn
		return identity.Reply("done"), nil
	})
	c.header.Set("Idempotency-Key", "k")
	body := map[string]string{"name": "n"}
	c.post("/slow", body).refused(http.StatusInternalServerError, "internal") // ours to mend: not kept
	done := make(chan answer)
	go func() { done <- c.post("/slow", body) }()
	<-started
	a := c.post("/slow", body)
	if a.refused(http.StatusConflict, "idempotency_running"); a.header.Get("Retry-After") == "" {
		t.Error("not said when to try again")
	}
	close(goOn)
	(<-done).want(http.StatusCreated)
	if again := c.post("/slow", body).want(http.StatusCreated); again.header.Get("Idempotency-Replayed") == "" {
		t.Error("not replayed")
	}
}

// A process that died with a request: the next one with its key may run if the first changed nothing, and not otherwise.
func TestIdempotencyAfterADeath(t *testing.T) {
	h := settled(t)
	c := h.admin()
	c.header.Set("Idempotency-Key", "k")
	body := map[string]any{"name": "ci", "scopes": []string{"*"}}
	died := func() {
		h.exec("update identity.idempotent_requests set status = null, response = null, created_at = now() - interval '3 minutes'")
	}
	c.post("/tokens", body).want(http.StatusCreated)
	died()
	c.post("/tokens", body).refused(http.StatusConflict, "idempotency_unknown")
	h.exec("update identity.idempotent_requests set request_id = 'of a request without an event'")
	c.post("/tokens", body).want(http.StatusCreated)
	if n := h.count("select count(*) from identity.tokens"); n != 2 {
		t.Fatalf("%d tokens", n)
	}
}
