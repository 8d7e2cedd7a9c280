package app

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"pandu/modules/kit/pg"
	"pandu/modules/kit/pgtest"
)

func others(t *testing.T, db *pg.DB, data uuid.UUID, age string, queues ...string) uuid.UUID {
	t.Helper()
	id := pg.NewID()
	_, err := pg.Exec(t.Context(), db.Pool, `
insert into app.processes (id, hostname, version, mode, requests, queues, data_id, beat_at)
values (@id, 'elsewhere', 'test', '', false, @queues, @data, now() - @age::interval)`,
		pg.Args{"id": id, "queues": append([]string{}, queues...), "data": data, "age": age})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestDeadProcessesAreNotCounted(t *testing.T) {
	dsn := pgtest.DSN(t)
	p := launch(t, settings(t, "WORKER_MODE=!", "DATABASE_URL="+dsn), nil)
	data := p.processes.self.DataID
	alive := others(t, p.db, data, "10 seconds", "project:build")
	others(t, p.db, data, "20 seconds", "project:rollout")
	live, err := p.processes.Live(t.Context())
	if err != nil || len(live) != 2 {
		t.Fatalf("%d live processes, error %v", len(live), err)
	}
	if ids := map[uuid.UUID]bool{live[0].ID: true, live[1].ID: true}; !ids[alive] || !ids[p.processes.ID()] {
		t.Errorf("live are %v", ids)
	}
	for _, queue := range []string{"project_build", "project_rollout"} {
		if _, err := p.db.Pool.Exec(t.Context(), "insert into river.river_job (kind, max_attempts, args, queue) values ('k', 1, '{}', $1)", queue); err != nil {
			t.Fatal(err)
		}
	}
	waiting, err := p.processes.QueuesWithoutProcess(t.Context())
	if err != nil || len(waiting) != 1 || waiting[0] != "project:rollout" {
		t.Errorf("queues without a process: %q, error %v", waiting, err)
	}
}

func TestFinishedWorkNeedsNoProcess(t *testing.T) {
	p := launch(t, settings(t, "WORKER_MODE=!", "DATABASE_URL="+pgtest.DSN(t)), nil)
	for _, state := range []string{"completed", "discarded", "cancelled"} {
		if _, err := p.db.Pool.Exec(t.Context(), "insert into river.river_job (kind, max_attempts, args, queue, state, finalized_at) values ('k', 1, '{}', 'project_build', $1, now())", state); err != nil {
			t.Fatal(err)
		}
	}
	if waiting, err := p.processes.QueuesWithoutProcess(t.Context()); err != nil || len(waiting) != 0 {
		t.Errorf("queues without a process: %q, error %v", waiting, err)
	}
}

func TestRowGoesWithACleanStopAndComesBackWhenRemoved(t *testing.T) {
	dsn := pgtest.DSN(t)
	p := launch(t, settings(t, "WORKER_MODE=!", "DATABASE_URL="+dsn), nil)
	watch := pgtest.Open(t, dsn)
	rows := func() int {
		n, err := pg.Value[int](t.Context(), watch.Pool, "select count(*)::int from app.processes", nil)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if _, err := watch.Pool.Exec(t.Context(), "delete from app.processes"); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return rows() == 1 }) // the next beat
	p.stop(t)
	if n := rows(); n != 0 {
		t.Errorf("%d rows after a clean stop", n)
	}
}

func TestProcessWithOtherFilesIsRefused(t *testing.T) {
	dsn := pgtest.DSN(t)
	first := settings(t, "WORKER_MODE=!", "DATABASE_URL="+dsn)
	launch(t, first, nil)
	err := Run(t.Context(), settings(t, "WORKER_MODE=*", "DATABASE_URL="+dsn), Options{Log: quiet})
	if err == nil || !strings.Contains(err.Error(), "another data directory") {
		t.Errorf("error %v", err)
	}
	same := settings(t, "WORKER_MODE=*", "DATABASE_URL="+dsn, "PANDU_DATA_DIR="+first.DataDir)
	launch(t, same, nil)
	lie := settings(t, "WORKER_MODE=*", "DATABASE_URL="+dsn, "PANDU_DATA_DIR_SHARED=true")
	if err := Run(t.Context(), lie, Options{Log: quiet}); err == nil || !strings.Contains(err.Error(), "declared shared, but") {
		t.Errorf("error %v", err)
	}
}

func TestLongDeadProcessWithOtherFilesIsNoReason(t *testing.T) {
	dsn := pgtest.DSN(t)
	others(t, pgtest.Open(t, dsn), uuid.New(), "16 seconds")
	launch(t, settings(t, "WORKER_MODE=*", "DATABASE_URL="+dsn), nil)
}
