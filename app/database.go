package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"pandu/migrations"
	"pandu/modules/kit/pg"
)

// maxConns bounds the connections of one process to the database, apart from the two that listen.
const maxConns = 16

// newDatabase migrates and opens the pool. It is ready while the database answers.
func (p *Process) newDatabase() (Service, error) {
	return hooks{
		name:  "database",
		start: p.openDatabase,
		stop:  func(context.Context) error { p.db.Pool.Close(); return nil },
		ready: p.pingDatabase,
	}, nil
}

func (p *Process) openDatabase(ctx context.Context) error {
	if err := migrations.Up(ctx, p.dsn.Reveal(), p.log, p.checkMasterKey); err != nil {
		return err
	}
	role := migrations.Creator
	if p.mode.Serving("") {
		role = migrations.Manager
	}
	db, err := openPool(ctx, p.dsn.Reveal(), role)
	if err != nil {
		return err
	}
	p.db = db
	return nil
}

func (p *Process) pingDatabase() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := p.db.Pool.Ping(ctx); err != nil {
		return errors.New("does not answer")
	}
	return nil
}

// openPool opens a pool that works as role, or as the login itself where the roles could not be made.
func openPool(ctx context.Context, dsn, role string) (*pg.DB, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("parse database url: %w", err)
	}
	role, err = usable(ctx, dsn, role)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns, cfg.MinConns = maxConns, 0
	cfg.MaxConnIdleTime, cfg.MaxConnLifetime, cfg.MaxConnLifetimeJitter = time.Minute, time.Hour, 5*time.Minute
	cfg.ConnConfig.RuntimeParams["application_name"] = "pandu"
	if cfg.ConnConfig.ValidateConnect == nil {
		// After a failover the old primary may come back read-only under the same name.
		cfg.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		if role == "" {
			return nil
		}
		_, err := conn.Exec(ctx, "set role "+pgx.Identifier{role}.Sanitize())
		return err
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open pool: %w", err)
	}
	return &pg.DB{Pool: pool}, nil
}

// usable is role when it exists, has rights in this database (another one of the server may have made it), and the
// login may take it; "" otherwise.
func usable(ctx context.Context, dsn, role string) (string, error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return "", fmt.Errorf("connect to database: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	const ask = `
select has_schema_privilege(oid, 'app', 'usage')
	and pg_has_role(current_user, oid, case when current_setting('server_version_num')::int >= 160000 then 'set' else 'member' end)
from pg_roles where rolname = $1`
	var ok bool
	if err := conn.QueryRow(ctx, ask, role).Scan(&ok); err != nil && !pg.None(err) {
		return "", fmt.Errorf("ask for role %s: %w", role, err)
	}
	if ok {
		return role, nil
	}
	return "", nil
}

// newNotifications is the one connection that listens.
func (p *Process) newNotifications() (Service, error) {
	p.hub = pg.NewHub(p.dsn.Reveal(), p.log)
	return hooks{name: "notifications", start: p.hub.Start, stop: p.hub.Stop}, nil
}
