package audit_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/pg"
	"pandu/modules/kit/pgtest"
	"pandu/modules/manager/audit"
)

func record(t *testing.T, db *pg.DB, events ...audit.Event) {
	t.Helper()
	must(t, db.InTx(context.Background(), func(tx pgx.Tx) error {
		for _, e := range events {
			if err := audit.Record(context.Background(), tx, e); err != nil {
				return err
			}
		}
		return nil
	}))
}

func event(organization uuid.UUID, action string) audit.Event {
	return audit.Event{OrganizationID: organization, ActorKind: "user", ActorLabel: "a@b.c", Action: action, Detail: map[string]string{"k": "v"}}
}

func sealAll(t *testing.T, s *audit.Service) (count int) {
	t.Helper()
	for {
		n, err := s.Seal(context.Background())
		must(t, err)
		if count += n; !audit.More(n) {
			return count
		}
	}
}

func TestRecordCleansText(t *testing.T) {
	db := pgtest.New(t)
	s, org := audit.New(db), uuid.New()
	detail := map[string]string{"nul": "a\x00b", "bytes": "\xff", "long": strings.Repeat("ä", 3000)}
	for i := range 100 {
		detail[fmt.Sprint(i)] = "x"
	}
	e := event(org, "a.b")
	e.ObjectLabel, e.Detail = "evil\x00\xff"+strings.Repeat("x", 1000), detail
	record(t, db, e)
	entries, err := s.List(context.Background(), org, audit.Filter{})
	must(t, err)
	if len(entries) != 1 || len(entries[0].Detail) != 40 || len(entries[0].ObjectLabel) > 300 || strings.Contains(entries[0].ObjectLabel, "\x00") {
		t.Fatalf("kept as %+v", entries)
	}
}

func TestEventGoesWithItsTransaction(t *testing.T) {
	db := pgtest.New(t)
	org := uuid.New()
	_ = db.InTx(context.Background(), func(tx pgx.Tx) error {
		must(t, audit.Record(context.Background(), tx, event(org, "a.b")))
		return context.Canceled
	})
	if entries, err := audit.New(db).List(context.Background(), org, audit.Filter{}); err != nil || len(entries) != 0 {
		t.Fatalf("a rolled back change left %v, %v", entries, err)
	}
}

func TestSealAndVerify(t *testing.T) {
	db := pgtest.New(t)
	s := audit.New(db)
	one, two := uuid.New(), uuid.New()
	for i := range 620 {
		record(t, db, event(one, fmt.Sprintf("one.%d", i)))
	}
	record(t, db, event(two, "two.a"), event(two, "two.b"), event(uuid.Nil, "platform.a"))
	if age, err := s.UnsealedAge(context.Background()); err != nil || age <= 0 {
		t.Fatalf("unsealed age %v, %v", age, err)
	}
	if n := sealAll(t, s); n != 623 {
		t.Fatalf("sealed %d", n)
	}
	if n := sealAll(t, s); n != 0 {
		t.Fatalf("sealed %d again", n)
	}
	record(t, db, event(two, "two.c"))
	sealAll(t, s)
	for org, want := range map[uuid.UUID]int64{one: 620, two: 3, uuid.Nil: 1, uuid.New(): 0} {
		if r, err := s.Verify(context.Background(), org); err != nil || r != (audit.Report{Sealed: want}) {
			t.Errorf("verified %+v, %v, want %d", r, err, want)
		}
	}
	if age, err := s.UnsealedAge(context.Background()); err != nil || age != 0 {
		t.Fatalf("unsealed age %v, %v", age, err)
	}
}

// An event of a transaction that is still open could sort before those that are committed: they wait for it.
func TestSealWaitsForOpenTransactions(t *testing.T) {
	db := pgtest.New(t)
	s, org := audit.New(db), uuid.New()
	ctx := context.Background()
	open, err := db.Pool.Begin(ctx)
	must(t, err)
	must(t, audit.Record(ctx, open, event(org, "first.begun")))
	record(t, db, event(org, "second.committed"))
	if n := sealAll(t, s); n != 0 {
		t.Fatalf("sealed %d beside an open transaction", n)
	}
	must(t, open.Commit(ctx))
	if n := sealAll(t, s); n != 2 {
		t.Fatalf("sealed %d", n)
	}
	var first string
	must(t, db.Pool.QueryRow(ctx, "select action from audit.events where organization_id = $1 and sequence = 1", org).Scan(&first))
	if first != "first.begun" {
		t.Fatalf("the chain begins with %s", first)
	}
}

func TestManySealersMakeOneChain(t *testing.T) {
	db := pgtest.New(t)
	s, org := audit.New(db), uuid.New()
	for i := range 50 {
		record(t, db, event(org, fmt.Sprint("a.", i)))
	}
	done := make(chan error)
	for range 5 {
		go func() {
			_, err := s.Seal(context.Background())
			done <- err
		}()
	}
	for range 5 {
		must(t, <-done)
	}
	sealAll(t, s)
	if r, err := s.Verify(context.Background(), org); err != nil || r.Sealed != 50 || r.Broken != 0 {
		t.Fatalf("verified %+v, %v", r, err)
	}
}

func TestEveryTamperingIsFound(t *testing.T) {
	for name, sql := range map[string]string{
		"label":    "update audit.events set actor_label = 'somebody else' where sequence = 3",
		"detail":   `update audit.events set detail = '{"k":"w"}' where sequence = 3`,
		"moment":   "update audit.events set created_at = created_at - interval '1 hour' where sequence = 3",
		"dropped":  "delete from audit.events where sequence = 3",
		"last":     "delete from audit.events where sequence = 5",
		"swapped":  "update audit.events a set action = b.action from audit.events b where (a.sequence, b.sequence) in ((3, 4), (4, 3))",
		"inserted": "insert into audit.events select gen_random_uuid(), organization_id, actor_kind, actor_id, actor_label, 'x.y', object_kind, object_id, object_label, detail, request_id, address, created_at, transaction_id, 6, hash from audit.events where sequence = 3",
		"head":     "update audit.chains set hash = '\\x00'",
		"forgot":   "update audit.chains set sequence = 4, hash = (select hash from audit.events where sequence = 4)",
	} {
		db := pgtest.New(t)
		s, org := audit.New(db), uuid.New()
		for i := range 5 {
			record(t, db, event(org, fmt.Sprint("a.", i)))
		}
		sealAll(t, s)
		_, err := db.Pool.Exec(context.Background(), "alter table audit.events disable trigger all")
		must(t, err)
		_, err = db.Pool.Exec(context.Background(), sql)
		must(t, err)
		if r, err := s.Verify(context.Background(), org); err != nil || r.Broken == 0 {
			t.Errorf("%s: not found: %+v, %v", name, r, err)
		}
	}
}

func TestAppendOnly(t *testing.T) {
	db := pgtest.New(t)
	s := audit.New(db)
	record(t, db, event(uuid.New(), "a.b"))
	for _, sealed := range []bool{false, true} {
		if sealed {
			sealAll(t, s)
		}
		for _, sql := range []string{
			"delete from audit.events", "truncate audit.events", "update audit.events set action = 'x'",
			"update audit.events set sequence = 9, hash = '\\x01', action = 'x'", "update audit.events set sequence = null, hash = null",
		} {
			if _, err := db.Pool.Exec(context.Background(), sql); err == nil && !(!sealed && strings.HasSuffix(sql, "null")) {
				t.Errorf("sealed %v: %s is allowed", sealed, sql)
			}
		}
	}
}

func TestList(t *testing.T) {
	db := pgtest.New(t)
	s, org, object := audit.New(db), uuid.New(), uuid.New()
	record(t, db, event(uuid.New(), "foreign.event"))
	for i := range 5 {
		e := event(org, "project.create")
		if i == 2 {
			e.Action, e.ObjectID = "projects.other", object
		}
		record(t, db, e)
	}
	list := func(f audit.Filter) []audit.Entry {
		entries, err := s.List(context.Background(), org, f)
		must(t, err)
		return entries
	}
	if n := len(list(audit.Filter{})); n != 5 {
		t.Errorf("all: %d", n)
	}
	if n := len(list(audit.Filter{Action: "project."})); n != 4 {
		t.Errorf("of a noun: %d", n)
	}
	if n := len(list(audit.Filter{Action: "project"})); n != 0 {
		t.Errorf("of half a word: %d", n)
	}
	if got := list(audit.Filter{ObjectID: object}); len(got) != 1 || got[0].Action != "projects.other" {
		t.Errorf("of an object: %+v", got)
	}
	first := list(audit.Filter{Limit: 2})
	rest := list(audit.Filter{BeforeTime: first[1].CreatedAt, BeforeID: first[1].ID})
	if len(first) != 2 || len(rest) != 3 || rest[0].CreatedAt.After(first[1].CreatedAt) {
		t.Errorf("pages %d and %d", len(first), len(rest))
	}
}

func TestCommittedUnder(t *testing.T) {
	db := pgtest.New(t)
	s := audit.New(db)
	e := event(uuid.New(), "a.b")
	e.RequestID = "r1"
	record(t, db, e, event(uuid.New(), "without.request"))
	for id, want := range map[string]bool{"r1": true, "r2": false, "": false} {
		if got, err := s.CommittedUnder(context.Background(), id); err != nil || got != want {
			t.Errorf("%q: %v, %v", id, got, err)
		}
	}
}
