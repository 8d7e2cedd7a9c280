package servers_test

import (
	"context"
	"testing"

	"connectrpc.com/connect"

	"pandu/modules/kit/fault"
)

func TestJoinTokenIsSpentOnce(t *testing.T) {
	h := newHouse(t)
	id, token := h.add("one")
	a, err := h.enrol(token)
	must(t, err)
	if a.id != id {
		t.Fatalf("joined as %s, want %s", a.id, id)
	}
	_, err = h.enrol(token)
	code(t, err, connect.CodePermissionDenied)
	if stored := value[bool](h, "select exists (select from servers.join_tokens where encode(hash, 'escape') like '%' || $1 || '%')", token.Encode()); stored {
		t.Fatal("the token itself is stored")
	}
	_, late := h.add("late")
	h.exec("update servers.join_tokens set expires_at = now() where used_at is null")
	_, err = h.enrol(late)
	code(t, err, connect.CodePermissionDenied)
	removed, theirs := h.add("removed")
	h.exec("update servers.servers set deleted_at = now() where id = $1", removed)
	_, err = h.enrol(theirs)
	code(t, err, connect.CodePermissionDenied)
	again, err := h.Rejoin(context.Background(), operator, "one")
	must(t, err)
	if back, err := h.enrol(again); err != nil || back.id != id {
		t.Fatalf("rejoined as %v, %v", back, err)
	}
	if n := value[int](h, "select count(*)::int from audit.events where action in ('server.add', 'server.rejoin', 'server.join')"); n != 6 {
		t.Fatalf("%d events", n)
	}
}

func TestOnlyOperatorsAddServers(t *testing.T) {
	h := newHouse(t)
	stranger := operator
	stranger.Operator = false
	if _, _, err := h.Add(context.Background(), stranger, "x"); fault.KindOf(err) != fault.Denied {
		t.Fatal(err)
	}
	if _, err := h.List(context.Background(), stranger); fault.KindOf(err) != fault.Denied {
		t.Fatal(err)
	}
	h.add("one")
	if _, _, err := h.Add(context.Background(), operator, "one"); fault.KindOf(err) != fault.Conflict {
		t.Fatal(err)
	}
}

func TestRenewAndRevoke(t *testing.T) {
	h := newHouse(t)
	a := h.join("one")
	_, err := a.renew()
	must(t, err)
	if n := value[int](h, "select count(*)::int from servers.certificates"); n != 2 {
		t.Fatalf("%d certificates", n)
	}
	h.exec("update servers.certificates set revoked_at = now()")
	_, err = a.renew()
	code(t, err, connect.CodeUnauthenticated)
	b := h.join("two")
	h.exec("update servers.servers set deleted_at = now() where id = $1", b.id)
	_, err = b.renew()
	code(t, err, connect.CodeUnauthenticated)
}
