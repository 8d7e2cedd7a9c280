package servers_test

import (
	"context"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/agent/agentv1"
	"pandu/modules/manager/servers"
)

const (
	instances = agentv1.Stream_STREAM_INSTANCES
	routes    = agentv1.Stream_STREAM_ROUTES
)

func (h *house) put(server uuid.UUID, stream agentv1.Stream, owner servers.Owner, items ...servers.Desired) (revision uint64) {
	h.t.Helper()
	h.tx(func(tx pgx.Tx) (err error) {
		revision, err = h.Put(context.Background(), tx, server, stream, owner, items...)
		return err
	})
	return revision
}

func (h *house) bury(server uuid.UUID, owner servers.Owner, keys ...string) {
	h.t.Helper()
	h.tx(func(tx pgx.Tx) error {
		_, err := h.Tombstone(context.Background(), tx, server, instances, owner, "delete", keys...)
		return err
	})
}

func TestPutCostsNothingWhenNothingChanges(t *testing.T) {
	h := newHouse(t)
	server, _ := h.add("one")
	owner, a, b := h.owner(), uuid.New(), uuid.New()
	first := h.put(server, instances, owner, item("instance", a))
	if again := h.put(server, instances, owner, item("instance", a)); again != first {
		t.Fatalf("revision %d, then %d", first, again)
	}
	second := h.put(server, instances, owner, item("instance", a), item("instance", b))
	if second != first+1 {
		t.Fatalf("revision %d after %d", second, first)
	}
	kept := value[uint64](h, "select revision from servers.entries where key = $1", servers.KeyOf("instance", a))
	if kept != first {
		t.Fatalf("the unchanged entry moved to %d", kept)
	}
	if other := h.put(server, routes, owner, item("routes", a)); other != 1 {
		t.Fatalf("the streams share revisions: %d", other)
	}
}

func TestTombstonesAreKeptUntilForgotten(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	server, _ := h.add("one")
	owner, a, volume := h.owner(), uuid.New(), uuid.New()
	h.put(server, instances, owner, item("instance", a), item("volume", volume))
	h.bury(server, owner, servers.KeyOf("volume", volume), servers.KeyOf("volume", uuid.New()))
	held, err := h.Held(ctx, h.db.Pool, owner.ID)
	must(t, err)
	if len(held) != 1 || !held[servers.KeyOf("volume", volume)] {
		t.Fatalf("held %v", held)
	}
	before := value[int64](h, "select revision from servers.streams where stream = 1")
	h.bury(server, owner, servers.KeyOf("volume", volume))
	if after := value[int64](h, "select revision from servers.streams where stream = 1"); after != before {
		t.Fatal("a second tombstone moved the stream")
	}
	forget := func(keys ...string) {
		h.tx(func(tx pgx.Tx) error { return h.Forget(ctx, tx, server, instances, keys...) })
	}
	forget(servers.KeyOf("instance", a), servers.KeyOf("volume", volume))
	if n := value[int](h, "select count(*) from servers.entries"); n != 1 {
		t.Fatalf("%d entries: only a tombstone may be forgotten", n)
	}
	if cause := value[string](h, "select cause from servers.entries"); cause != "" {
		t.Fatalf("cause %q", cause)
	}
	revived := h.put(server, instances, owner, item("volume", volume))
	if revived != uint64(before)+1 {
		t.Fatalf("revived at %d", revived)
	}
}

// Revisions become visible in the order of their numbers, however many write at once.
func TestRevisionsAreVisibleInOrder(t *testing.T) {
	h := newHouse(t)
	server, _ := h.add("one")
	var writers sync.WaitGroup
	stop := make(chan struct{})
	for range 6 {
		writers.Go(func() {
			for range 15 {
				h.put(server, instances, h.owner(), item("instance", uuid.New()))
			}
		})
	}
	go func() { writers.Wait(); close(stop) }()
	seen := int64(0)
	for done := false; !done; {
		select {
		case <-stop:
			done = true
		default:
		}
		var top, count int64
		must(t, h.db.Pool.QueryRow(context.Background(),
			"select coalesce(max(revision), 0), count(*) from servers.entries").Scan(&top, &count))
		if top != count || top < seen {
			t.Fatalf("revision %d is visible, but only %d entries", top, count)
		}
		seen = top
	}
	if seen != 90 {
		t.Fatalf("%d revisions", seen)
	}
}

func (h *house) wants(owner uuid.UUID) {
	h.t.Helper()
	h.tx(func(tx pgx.Tx) error { return h.Want(context.Background(), tx, owner) })
}

func (h *house) pending() int {
	h.t.Helper()
	return value[int](h, "select count(*)::int from river.river_job where kind = 'rollout'")
}

func TestWantOrdersOnceUntilClaimed(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	owner := uuid.New()
	for range 3 {
		h.wants(owner)
	}
	if n := h.pending(); n != 1 {
		t.Fatalf("%d orders", n)
	}
	h.tx(func(tx pgx.Tx) error {
		wanted, due, err := h.Claim(ctx, tx, owner)
		must(t, err)
		if wanted != 3 || !due {
			t.Fatalf("claimed %d, due %t", wanted, due)
		}
		return h.Done(ctx, tx, owner, wanted)
	})
	h.tx(func(tx pgx.Tx) error {
		if _, due, err := h.Claim(ctx, tx, owner); err != nil || due {
			t.Fatalf("due %t, %v", due, err)
		}
		return nil
	})
	h.wants(owner)
	if n := h.pending(); n != 2 {
		t.Fatalf("%d orders after the plan", n)
	}
	h.tx(func(tx pgx.Tx) error {
		if _, due, err := h.Claim(ctx, tx, uuid.New()); err != nil || due {
			t.Fatalf("an unknown owner is due: %t, %v", due, err)
		}
		return h.Dismiss(ctx, tx, owner)
	})
}

// A mark that is raised while a planner holds the row waits for it and is not lost.
func TestMarkRaisedDuringAPlanIsNotLost(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	owner := uuid.New()
	h.wants(owner)
	planner, err := h.db.Pool.Begin(ctx)
	must(t, err)
	wanted, due, err := h.Claim(ctx, planner, owner)
	must(t, err)
	if !due {
		t.Fatal("nothing is due")
	}
	raised := make(chan struct{})
	go func() { defer close(raised); h.wants(owner) }()
	h.until("the other waits for the lock", "select exists (select from pg_locks where not granted)")
	must(t, h.Done(ctx, planner, owner, wanted))
	must(t, planner.Commit(ctx))
	<-raised
	h.tx(func(tx pgx.Tx) error {
		if again, due, err := h.Claim(ctx, tx, owner); err != nil || !due || again != wanted+1 {
			t.Fatalf("claimed %d, due %t, %v", again, due, err)
		}
		return nil
	})
	if n := h.pending(); n != 2 {
		t.Fatalf("%d orders", n)
	}
}

// A plan that was rolled back leaves the owner as it was, and the sweep finds it.
func TestOverdueFindsWhatWasLost(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	owner, fresh := uuid.New(), uuid.New()
	h.wants(owner)
	h.wants(fresh)
	h.exec("delete from river.river_job")
	lost, err := h.db.Pool.Begin(ctx)
	must(t, err)
	_, _, err = h.Claim(ctx, lost, owner)
	must(t, err)
	must(t, lost.Rollback(ctx))
	if n, err := h.Overdue(ctx); err != nil || n != 0 {
		t.Fatalf("%d overdue at once, %v", n, err)
	}
	h.exec("update servers.reconciles set ordered_at = now() - interval '11 seconds' where owner = $1", owner)
	for _, want := range []int{1, 0} {
		if n, err := h.Overdue(ctx); err != nil || n != want {
			t.Fatalf("%d overdue, want %d, %v", n, want, err)
		}
	}
	if n := h.pending(); n != 1 {
		t.Fatalf("%d orders", n)
	}
}

func TestTwoSweepsTakeAnOwnerOnce(t *testing.T) {
	h := newHouse(t)
	for range 200 {
		h.wants(uuid.New())
	}
	h.exec("delete from river.river_job")
	h.exec("update servers.reconciles set ordered_at = now() - interval '11 seconds'")
	var sweeps sync.WaitGroup
	for range 4 {
		sweeps.Go(func() {
			if _, err := h.Overdue(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	sweeps.Wait()
	if n := h.pending(); n != 200 {
		t.Fatalf("%d orders for 200 owners", n)
	}
}
