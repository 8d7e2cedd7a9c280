package pg_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/pg"
	"pandu/modules/kit/pgtest"
)

func TestMain(m *testing.M) {
	pgtest.Main(m, func(context.Context, string) error { return nil }, "empty")
}

func hub(t *testing.T, dsn string) *pg.Hub {
	t.Helper()
	h := pg.NewHub(dsn, slog.New(slog.DiscardHandler))
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return h
}

func next(t *testing.T, s *pg.Subscription) pg.Batch {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	b, err := s.Next(ctx)
	if err != nil {
		t.Fatalf("nothing was heard: %v", err)
	}
	return b
}

func TestNotesArriveAfterCommitOnceAndOnlyOfTheirKind(t *testing.T) {
	db := pgtest.New(t)
	h := hub(t, db.Pool.Config().ConnString())
	projects, everything := h.Subscribe("project"), h.Subscribe()
	organization, id := uuid.New(), uuid.New()
	err := db.InTx(t.Context(), func(tx pgx.Tx) error {
		for range 3 {
			if err := pg.Notify(t.Context(), tx, "project", organization, id); err != nil {
				return err
			}
		}
		return pg.Notify(t.Context(), tx, "server", uuid.Nil, id)
	})
	if err != nil {
		t.Fatal(err)
	}
	b := next(t, projects)
	if b.Reset || len(b.Notes) != 1 || b.Notes[0] != (pg.Note{Kind: "project", Organization: organization, ID: id}) {
		t.Errorf("heard %+v", b)
	}
	heard := map[string]bool{}
	for len(heard) < 2 {
		for _, n := range next(t, everything).Notes {
			heard[n.Kind] = true
		}
	}
	if !heard["server"] {
		t.Errorf("heard %v", heard)
	}
}

func TestRolledBackChangeIsNotHeard(t *testing.T) {
	db := pgtest.New(t)
	s := hub(t, db.Pool.Config().ConnString()).Subscribe()
	tx, err := db.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := pg.Notify(t.Context(), tx, "never", uuid.Nil, uuid.New()); err != nil {
		t.Fatal(err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := pg.Notify(t.Context(), db.Pool, "after", uuid.Nil, uuid.New()); err != nil {
		t.Fatal(err)
	}
	if b := next(t, s); len(b.Notes) != 1 || b.Notes[0].Kind != "after" {
		t.Errorf("heard %+v", b)
	}
}

func TestSlowSubscriberGetsOneReset(t *testing.T) {
	db := pgtest.New(t)
	h := hub(t, db.Pool.Config().ConnString())
	slow, quick := h.Subscribe(), h.Subscribe("last")
	if _, err := db.Pool.Exec(t.Context(), "select pg_notify('pandu', 'many:' || gen_random_uuid() || ':' || gen_random_uuid()) from generate_series(1, 1200)"); err != nil {
		t.Fatal(err)
	}
	if err := pg.Notify(t.Context(), db.Pool, "last", uuid.Nil, uuid.New()); err != nil {
		t.Fatal(err)
	}
	next(t, quick) // everything before it was handed out
	if b := next(t, slow); !b.Reset || len(b.Notes) != 0 {
		t.Errorf("reset %t with %d notes", b.Reset, len(b.Notes))
	}
}

func TestLostConnectionIsReplacedAndEverybodyIsReset(t *testing.T) {
	db := pgtest.New(t)
	s := hub(t, db.Pool.Config().ConnString()).Subscribe("project")
	const kill = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query like 'listen%'"
	if _, err := db.Pool.Exec(t.Context(), kill); err != nil {
		t.Fatal(err)
	}
	if b := next(t, s); !b.Reset {
		t.Errorf("heard %+v, want a reset", b)
	}
	if err := pg.Notify(t.Context(), db.Pool, "project", uuid.Nil, uuid.New()); err != nil {
		t.Fatal(err)
	}
	if b := next(t, s); len(b.Notes) != 1 {
		t.Errorf("heard %+v after reconnecting", b)
	}
}

func TestHubSurvivesARestartOfTheServer(t *testing.T) {
	server := pgtest.NewServer(t)
	dsn := server.Database(t)
	s := hub(t, dsn).Subscribe()
	server.Stop()
	server.Start(t)
	if b := next(t, s); !b.Reset {
		t.Errorf("heard %+v, want a reset", b)
	}
}

func TestClosedSubscriptionAndStrangePayloads(t *testing.T) {
	db := pgtest.New(t)
	h := hub(t, db.Pool.Config().ConnString())
	closed, open := h.Subscribe(), h.Subscribe()
	closed.Close()
	for _, payload := range []string{"", "a", "a:b:c", ":" + uuid.NewString() + ":" + uuid.NewString(), "a:b:c:d"} {
		if _, err := db.Pool.Exec(t.Context(), "select pg_notify('pandu', $1)", payload); err != nil {
			t.Fatal(err)
		}
	}
	if err := pg.Notify(t.Context(), db.Pool, "good", uuid.Nil, uuid.New()); err != nil {
		t.Fatal(err)
	}
	if b := next(t, open); len(b.Notes) != 1 || b.Notes[0].Kind != "good" {
		t.Errorf("heard %+v", b)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if b, err := closed.Next(ctx); err == nil {
		t.Errorf("a closed subscription heard %+v", b)
	}
}
