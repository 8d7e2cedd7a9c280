package migrations_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"pandu/migrations"
	"pandu/modules/kit/pg"
	"pandu/modules/kit/pgtest"
)

var quiet = slog.New(slog.DiscardHandler)

func up(ctx context.Context, dsn string) error { return migrations.Up(ctx, dsn, quiet) }

func TestMain(m *testing.M) { pgtest.Main(m, up, migrations.Hash()) }

func TestFourStartersAtOnce(t *testing.T) {
	dsn := pgtest.Empty(t)
	made := make(chan struct{}, 8)
	var g errgroup.Group
	for range 4 {
		g.Go(func() error {
			return migrations.Up(t.Context(), dsn, quiet, func(ctx context.Context, dsn string) error {
				select {
				case made <- struct{}{}:
				default:
				}
				defer func() { <-made }()
				if len(made) != 1 {
					return fmt.Errorf("%d processes inside the lock", len(made))
				}
				return nil
			})
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	db := pgtest.Open(t, dsn)
	n, err := pg.Value[int64](t.Context(), db.Pool,
		"select count(*) from (select version_id from app.goose_db_version group by 1 having count(*) > 1) d", nil)
	if err != nil || n != 0 {
		t.Fatalf("%d migrations were applied twice, error %v", n, err)
	}
	if _, err := db.Pool.Exec(t.Context(), "select count(*) from river.river_job"); err != nil {
		t.Fatalf("queue tables: %v", err)
	}
}

// Databases of one server share its roles, and their migration locks know nothing of each other.
func TestFourDatabasesAtOnceShareTheRoles(t *testing.T) {
	server := pgtest.NewServer(t)
	var g errgroup.Group
	for range 4 {
		dsn := server.Database(t)
		g.Go(func() error { return up(t.Context(), dsn) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestRefusesNewerSchema(t *testing.T) {
	db := pgtest.New(t)
	exec(t, db, "insert into app.goose_db_version (version_id, is_applied) values (29990101000000, true)")
	err := up(t.Context(), dsnOf(db))
	if err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Fatalf("a database of a newer version was not refused: %v", err)
	}
}

func TestRefusesNewerQueue(t *testing.T) {
	db := pgtest.New(t)
	exec(t, db, "insert into river.river_migration (line, version) values ('main', 9999)")
	err := up(t.Context(), dsnOf(db))
	if err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Fatalf("a queue of a newer version was not refused: %v", err)
	}
}

// A file that turns up between two applied ones was written for another history than this database has.
func TestRefusesGap(t *testing.T) {
	db := pgtest.New(t)
	exec(t, db, "delete from app.goose_db_version where version_id = 20261120000003")
	err := up(t.Context(), dsnOf(db))
	if err == nil || !strings.Contains(err.Error(), "missing") {
		t.Fatalf("a gap was not refused: %v", err)
	}
}

// Tables belong to the owner, and both pool roles may work with them and not change them.
func TestRolesCanWorkAndNotOwn(t *testing.T) {
	for _, role := range []string{migrations.Manager, migrations.Creator} {
		t.Run(role, func(t *testing.T) {
			db := pgtest.New(t)
			conn, err := pgx.Connect(t.Context(), dsnOf(db))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close(context.Background()) }()
			run := func(sql string, args ...any) error { _, err := conn.Exec(t.Context(), sql, args...); return err }
			if err := run("set role " + role); err != nil {
				t.Fatal(err)
			}
			if err := run("insert into app.processes (id, hostname, version, mode, requests, data_id) values ($1, 'h', 'v', '', true, $1)", uuid.New()); err != nil {
				t.Errorf("insert: %v", err)
			}
			if err := run("insert into river.river_job (kind, max_attempts, args) values ('k', 1, '{}')"); err != nil {
				t.Errorf("insert job: %v", err)
			}
			if err := run("drop table app.processes"); err == nil {
				t.Error("a pool role dropped a table")
			}
			if err := run("create table app.mine ()"); err == nil {
				t.Error("a pool role created a table")
			}
		})
	}
}

// A login without any privilege beyond its own database is what most hosting providers sell.
func TestLoginWithoutCreateRole(t *testing.T) {
	db := pgtest.New(t)
	name := "plain_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	exec(t, db, "create role "+name+" login")
	t.Cleanup(func() {
		if _, err := db.Pool.Exec(context.Background(), "drop role "+name); err != nil {
			t.Error(err)
		}
	})
	dsn := pgtest.Empty(t)
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	own := pgtest.Open(t, dsn)
	exec(t, own, fmt.Sprintf("alter database %s owner to %s", strings.TrimPrefix(u.Path, "/"), name))
	t.Cleanup(func() {
		if _, err := own.Pool.Exec(context.Background(), "reassign owned by "+name+" to postgres; drop owned by "+name); err != nil {
			t.Error(err)
		}
	})
	u.User = url.User(name)
	for range 2 {
		if err := up(t.Context(), u.String()); err != nil {
			t.Fatalf("migrate as a plain login: %v", err)
		}
	}
	owner, err := pg.Value[string](t.Context(), own.Pool, "select nspowner::regrole::text from pg_namespace where nspname = 'app'", nil)
	if err != nil || owner != name {
		t.Fatalf("schema app belongs to %s, error %v", owner, err)
	}
}

func TestLoginThatMayNotActAsOwnerIsTold(t *testing.T) {
	db := pgtest.New(t)
	name := "stranger_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	exec(t, db, "create role "+name+" login")
	t.Cleanup(func() {
		if _, err := db.Pool.Exec(context.Background(), "drop role "+name); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(dsnOf(db))
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(name)
	if err := up(t.Context(), u.String()); err == nil || !strings.Contains(err.Error(), "grant pandu_owner") {
		t.Fatalf("the error does not say what to grant: %v", err)
	}
}

func exec(t *testing.T, db *pg.DB, sql string) {
	t.Helper()
	if _, err := db.Pool.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func dsnOf(db *pg.DB) string { return db.Pool.Config().ConnString() }
