package pgtest_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/pg"
	"pandu/modules/kit/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m, migrate, "pgtest's own") }

func migrate(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, "create table notes (body text)")
	return err
}

func TestClonesAreApart(t *testing.T) {
	a, b := pgtest.New(t), pgtest.New(t)
	if _, err := a.Pool.Exec(t.Context(), "insert into notes values ('only here')"); err != nil {
		t.Fatal(err)
	}
	n, err := pg.Value[int](t.Context(), b.Pool, "select count(*)::int from notes", nil)
	if err != nil || n != 0 {
		t.Fatalf("the other clone has %d rows, error %v", n, err)
	}
}

func TestCloneGoesWithItsTest(t *testing.T) {
	var dsn string
	t.Run("inner", func(t *testing.T) { dsn = pgtest.DSN(t) })
	if conn, err := pgx.Connect(t.Context(), dsn); err == nil {
		_ = conn.Close(t.Context())
		t.Fatal("the database is still there after its test")
	}
}

func TestServerStopsAndStarts(t *testing.T) {
	s := pgtest.NewServer(t)
	dsn := s.Database(t)
	s.Stop()
	if conn, err := pgx.Connect(t.Context(), dsn); err == nil {
		_ = conn.Close(t.Context())
		t.Fatal("a stopped server answered")
	}
	s.Start(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatalf("the restarted server does not answer: %v", err)
	}
	_ = conn.Close(t.Context())
}

// A test process that is killed outright must not leave a server behind.
func TestServerDiesWithItsProcess(t *testing.T) {
	if dir := os.Getenv("PGTEST_CHILD"); dir != "" {
		s := pgtest.NewServer(t)
		if err := os.WriteFile(filepath.Join(dir, "url.tmp"), []byte(s.URL), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "url.tmp"), filepath.Join(dir, "url")); err != nil {
			t.Fatal(err)
		}
		select {}
	}
	dir := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run", "^TestServerDiesWithItsProcess$")
	child.Env = append(os.Environ(), "PGTEST_CHILD="+dir)
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	url := await(t, func() (string, bool) {
		body, err := os.ReadFile(filepath.Join(dir, "url"))
		return string(body), err == nil
	})
	_ = child.Process.Kill()
	_ = child.Wait()
	await(t, func() (string, bool) {
		conn, err := pgx.Connect(t.Context(), url)
		if err == nil {
			_ = conn.Close(t.Context())
		}
		return "", err != nil
	})
}

func await(t *testing.T, ready func() (string, bool)) string {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if value, ok := ready(); ok {
			return value
		}
		select {
		case <-deadline:
			t.Fatal("waited too long")
		case <-tick.C:
		}
	}
}
