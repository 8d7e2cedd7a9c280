package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"pandu/config"
	"pandu/migrations"
	"pandu/modules/kit/pg"
	"pandu/modules/kit/pgprivate"
	"pandu/modules/kit/secret"
)

// newPrivateDatabase runs only when nothing was asked for at all: any other process without DATABASE_URL is a mistake.
// It starts first and stops last.
func (p *Process) newPrivateDatabase() (Service, error) {
	s := pgprivate.New(privateDir(p.cfg), p.log)
	p.dsn = secret.New(s.DSN())
	return s, nil
}

func privateDir(cfg *config.Config) string { return filepath.Join(cfg.DataDir, "postgres") }

// OpenDatabase is for one-off commands, which behave like the mode "-" whatever WORKER_MODE says: the database of the
// settings, or the private one, which is started when no serving process has. It is migrated. Call the returned
// function when done.
func OpenDatabase(ctx context.Context, cfg *config.Config, log *slog.Logger) (*pg.DB, func() error, error) {
	dsn, done := cfg.DatabaseURL.Reveal(), func() error { return nil }
	if dsn == "" {
		s, err := attach(ctx, cfg, log)
		if err != nil {
			return nil, nil, err
		}
		dsn, done = s.dsn, s.stop
	}
	if err := migrations.Up(ctx, dsn, log); err != nil {
		return nil, nil, errors.Join(err, done())
	}
	db, err := openPool(ctx, dsn, migrations.Manager)
	if err != nil {
		return nil, nil, errors.Join(err, done())
	}
	return db, func() error { db.Pool.Close(); return done() }, nil
}

type attached struct {
	dsn  string
	stop func() error
}

// attach uses the private database of the process that serves, or starts it for as long as the command runs.
func attach(ctx context.Context, cfg *config.Config, log *slog.Logger) (attached, error) {
	if err := makeDataDir(cfg.DataDir); err != nil {
		return attached{}, err
	}
	s := pgprivate.New(privateDir(cfg), log)
	err := s.Start(ctx)
	switch {
	case errors.Is(err, pgprivate.ErrBusy):
		return attached{s.DSN(), func() error { return nil }}, nil
	case err != nil:
		return attached{}, fmt.Errorf("start private database: %w", err)
	}
	return attached{s.DSN(), func() error { return s.Stop(context.WithoutCancel(ctx)) }}, nil
}
