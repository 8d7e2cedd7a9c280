// Package pgtest gives each test a real, migrated PostgreSQL database of its own, in some thirty milliseconds.
//
// Main starts one server per test process (or uses the one named by PANDU_TEST_DATABASE_URL), migrates a template once,
// and New clones it. Nothing is left behind: databases go after their test, the server and its directory after Main,
// and what a killed test process left is removed by the next one. The package knows no schema; it never runs outside tests.
package pgtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"pandu/modules/kit/pg"
)

// ServerVariable names a server to share between test processes: a URL of a superuser, at any database.
const ServerVariable = "PANDU_TEST_DATABASE_URL"

// current is the server of this test process. Tests reach it through New and DSN only; Main sets it before they run.
var current struct {
	sync.Mutex
	admin    string // URL of the superuser at the database postgres
	template string
}

var serial atomic.Int64

// Main runs the tests of a package with a server under them, and exits. migrate brings an empty database to the schema
// under test; key says which schema that is (a hash of the migrations), so that packages which share a server also
// share a template. Without key the test binary itself is the key.
//
//	func TestMain(m *testing.M) { pgtest.Main(m, migrate) }
func Main(m *testing.M, migrate func(ctx context.Context, dsn string) error, key ...string) {
	os.Exit(run(m, migrate, strings.Join(key, " ")))
}

func run(m *testing.M, migrate func(ctx context.Context, dsn string) error, key string) int {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	admin := os.Getenv(ServerVariable)
	if admin == "" {
		server, err := start(ctx)
		if err != nil {
			fmt.Fprintf(os.Stderr, "pgtest: start PostgreSQL: %v\n", err)
			return 1
		}
		defer server.remove()
		admin = server.URL
	}
	template, err := makeTemplate(ctx, admin, migrate, key)
	if err != nil {
		fmt.Fprintf(os.Stderr, "pgtest: make template database: %v\n", err)
		return 1
	}
	current.Lock()
	current.admin, current.template = admin, template
	current.Unlock()
	return m.Run()
}

// New gives the test a fresh clone of the migrated database; pool and database go when the test ends.
func New(t testing.TB) *pg.DB {
	t.Helper()
	return Open(t, DSN(t))
}

// Open opens a further pool, closed when the test ends.
func Open(t testing.TB, dsn string) *pg.DB {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), dsn)
	if err != nil {
		t.Fatalf("open pool: %v", err)
	}
	t.Cleanup(pool.Close)
	return &pg.DB{Pool: pool}
}

// DSN gives the test a fresh clone of the migrated database as a URL. The database goes when the test ends,
// whoever is still connected.
func DSN(t testing.TB) string {
	t.Helper()
	return clone(t, current.template)
}

// Empty is DSN without the migrations: a database with nothing in it.
func Empty(t testing.TB) string {
	t.Helper()
	return clone(t, "template0")
}

func clone(t testing.TB, template string) string {
	t.Helper()
	if current.admin == "" {
		t.Fatal("pgtest: no server: the package needs func TestMain(m *testing.M) { pgtest.Main(m, migrate) }")
	}
	name := fmt.Sprintf("test_%d_%d", os.Getpid(), serial.Add(1))
	if err := admin(context.Background(), fmt.Sprintf("create database %s template %s", name, template)); err != nil {
		t.Fatalf("pgtest: clone database: %v", err)
	}
	t.Cleanup(func() {
		if err := admin(context.Background(), fmt.Sprintf("drop database if exists %s with (force)", name)); err != nil {
			t.Errorf("pgtest: drop database: %v", err)
		}
	})
	return at(current.admin, name)
}

// admin runs one statement as the superuser, outside any transaction.
func admin(ctx context.Context, sql string) error { return execAt(ctx, current.admin, sql) }

func execAt(ctx context.Context, dsn string, sql ...string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, s := range sql {
		if _, err := conn.Exec(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// at is dsn with another database.
func at(dsn, database string) string {
	u, err := url.Parse(dsn)
	if err != nil {
		return dsn
	}
	u.Path = "/" + database
	return u.String()
}

// makeTemplate migrates the template of this key, unless another test process of the same server has done so: the mark
// is_template is set last, so a half-migrated one is never taken for ready.
func makeTemplate(ctx context.Context, admin string, migrate func(context.Context, string) error, key string) (string, error) {
	name := "template_" + digest(key)
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		return "", fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, "select pg_advisory_lock(hashtextextended($1, 0))", name); err != nil {
		return "", fmt.Errorf("lock: %w", err)
	}
	var ready bool
	err = conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1 and datistemplate)", name).Scan(&ready)
	if err != nil || ready {
		return name, err
	}
	if err := execAt(ctx, admin, "drop database if exists "+name+" with (force)", "create database "+name); err != nil {
		return "", fmt.Errorf("create: %w", err)
	}
	if err := migrate(ctx, at(admin, name)); err != nil {
		return "", fmt.Errorf("migrate: %w", err)
	}
	return name, execAt(ctx, admin, "alter database "+name+" with is_template true allow_connections false")
}

func digest(key string) string {
	if key == "" {
		key = ownBinary()
	}
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:8])
}

// ownBinary identifies this test binary by content: another build may have other migrations.
func ownBinary() string {
	path, err := os.Executable()
	if err != nil {
		return fmt.Sprint(os.Getpid())
	}
	body, err := os.ReadFile(path)
	if err != nil {
		return fmt.Sprint(os.Getpid())
	}
	sum := sha256.Sum256(body)
	return string(sum[:])
}
