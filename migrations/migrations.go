// Package migrations brings a database to the schema that this binary was written for, forward only.
//
// Every room owns the Postgres schema of its name and its own files here; River's tables live in the schema river.
// Everything happens under one session advisory lock, so any number of processes may start at once. The package never
// goes backwards, never applies a file out of order, and refuses a database that a newer binary has already changed.
package migrations

import (
	"cmp"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

//go:embed *.sql
var files embed.FS

const (
	// lockID is the session advisory lock of all migrations: "pandu" in ASCII.
	lockID = 0x70616e6475
	// lockPoll is how often a waiting process asks again. It polls because a session that waits inside
	// pg_advisory_lock holds a snapshot, which blocks CREATE INDEX CONCURRENTLY in the session that has the lock.
	lockPoll = 50 * time.Millisecond
	// versionTable is where goose keeps what it has applied.
	versionTable = "app.goose_db_version"
	// oldestServer is the lowest server_version_num that works: PostgreSQL 15.
	oldestServer = 150000
)

// Up migrates the database at dsn and returns when it has exactly this binary's schema. Each of then runs afterwards,
// still under the lock, with the same dsn: for what must be made exactly once in the life of a database.
func Up(ctx context.Context, dsn string, log *slog.Logger, then ...func(ctx context.Context, dsn string) error) error {
	login, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("connect to database: %w", err)
	}
	defer func() { _ = login.Close(context.WithoutCancel(ctx)) }()
	if err := lock(ctx, login, log); err != nil {
		return err
	}
	if err := serverVersion(ctx, login); err != nil {
		return err
	}
	role, err := prepareRoles(ctx, login, log)
	if err != nil {
		return err
	}
	if err := migrate(ctx, dsn, role, log); err != nil {
		return err
	}
	for _, fn := range then {
		if err := fn(ctx, dsn); err != nil {
			return err
		}
	}
	return nil
}

// Hash is a digest of every file here and of River's version: databases with equal hashes have equal schemas.
func Hash() string {
	h := sha256.New()
	entries, _ := fs.ReadDir(files, ".") // an embedded directory cannot fail to be read
	for _, e := range entries {
		body, _ := files.ReadFile(e.Name())
		fmt.Fprintf(h, "%s %d\n%s", e.Name(), len(body), body)
	}
	fmt.Fprintf(h, "%s\n", grants)
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// lock waits for the migration lock. It is held until the connection closes, so a killed process never keeps it.
func lock(ctx context.Context, conn *pgx.Conn, log *slog.Logger) error {
	for waited := false; ; waited = true {
		var got bool
		if err := conn.QueryRow(ctx, "select pg_try_advisory_lock($1)", int64(lockID)).Scan(&got); err != nil {
			return fmt.Errorf("take migration lock: %w", err)
		}
		if got {
			return nil
		}
		if !waited {
			log.Info("another process is migrating the database, waiting")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for migration lock: %w", ctx.Err())
		case <-time.After(lockPoll):
		}
	}
}

func serverVersion(ctx context.Context, conn *pgx.Conn) error {
	var number int
	var name string
	err := conn.QueryRow(ctx, "select current_setting('server_version_num')::int, current_setting('server_version')").Scan(&number, &name)
	if err != nil {
		return fmt.Errorf("read server version: %w", err)
	}
	if number < oldestServer {
		return fmt.Errorf("the database server is PostgreSQL %s: Pandu needs 15 or newer", name)
	}
	return nil
}

func migrate(ctx context.Context, dsn, role string, log *slog.Logger) error {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return fmt.Errorf("parse database url: %w", err)
	}
	cfg.MaxConns, cfg.MinConns, cfg.MinIdleConns = 2, 0, 0
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		if role == "" {
			return nil
		}
		_, err := conn.Exec(ctx, "set role "+pgx.Identifier{role}.Sanitize())
		return err
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("open migration pool: %w", err)
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, "create schema if not exists app; create schema if not exists river"); err != nil {
		return fmt.Errorf("create schemas: %w", err)
	}
	if err := runGoose(ctx, pool, log); err != nil {
		return err
	}
	return runRiver(ctx, pool, log)
}

func runGoose(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	db := stdlib.OpenDBFromPool(pool)
	defer func() { _ = db.Close() }()
	if err := refuseUnknown(ctx, pool); err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	done, err := p.Up(ctx)
	for _, r := range done {
		log.Info("migration applied", "file", r.Source.Path, "duration", r.Duration)
	}
	var failed *goose.PartialError
	if errors.As(err, &failed) && failed.Failed != nil {
		return fmt.Errorf("apply migration %s: %w", failed.Failed.Source.Path, failed.Err)
	}
	if err != nil {
		return fmt.Errorf("apply migrations: %w", err)
	}
	return nil
}

// refuseUnknown refuses a database that holds a migration this binary does not have: a newer Pandu was here.
func refuseUnknown(ctx context.Context, pool *pgxpool.Pool) error {
	var exists bool
	if err := pool.QueryRow(ctx, "select to_regclass($1) is not null", versionTable).Scan(&exists); err != nil || !exists {
		return err
	}
	rows, err := pool.Query(ctx, "select version_id from "+versionTable+" where version_id > 0 order by 1")
	if err != nil {
		return fmt.Errorf("read applied migrations: %w", err)
	}
	applied, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return fmt.Errorf("read applied migrations: %w", err)
	}
	known := versions()
	for _, v := range applied {
		if !slices.Contains(known, v) {
			return fmt.Errorf("the database has migration %d, which this version of Pandu does not know: "+
				"a newer version has been here; start that version or a later one, or restore a backup from before the upgrade", v)
		}
	}
	return nil
}

// versions are the leading numbers of the file names, ascending.
func versions() []int64 {
	entries, _ := fs.ReadDir(files, ".") // an embedded directory cannot fail to be read
	var all []int64
	for _, e := range entries {
		number, _, _ := strings.Cut(e.Name(), "_")
		if v, err := strconv.ParseInt(number, 10, 64); err == nil {
			all = append(all, v)
		}
	}
	slices.Sort(all)
	return all
}

func runRiver(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	m, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: "river", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("read queue migrations: %w", err)
	}
	if err := refuseNewerQueue(ctx, pool, slices.MaxFunc(m.AllVersions(), byVersion).Version); err != nil {
		return err
	}
	done, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil)
	if err != nil {
		return fmt.Errorf("migrate queue: %w", err)
	}
	if n := len(done.Versions); n > 0 {
		log.Info("queue migrated", "version", done.Versions[n-1].Version)
	}
	return nil
}

// refuseNewerQueue reads River's own table, because River cannot list versions that it does not know.
func refuseNewerQueue(ctx context.Context, pool *pgxpool.Pool, known int) error {
	const table = "river.river_migration"
	var exists bool
	if err := pool.QueryRow(ctx, "select to_regclass($1) is not null", table).Scan(&exists); err != nil || !exists {
		return err
	}
	var have int
	err := pool.QueryRow(ctx, "select coalesce(max(version), 0) from "+table+" where line = 'main'").Scan(&have)
	if err != nil {
		return fmt.Errorf("read queue version: %w", err)
	}
	if have > known {
		return fmt.Errorf("the job queue's tables have version %d and this version of Pandu knows only %d: "+
			"a newer version has been here; start that version or a later one", have, known)
	}
	return nil
}

func byVersion(a, b rivermigrate.Migration) int { return cmp.Compare(a.Version, b.Version) }
