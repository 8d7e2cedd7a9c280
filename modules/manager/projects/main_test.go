package projects_test

import (
	"context"
	"log/slog"
	"testing"

	"pandu/migrations"
	"pandu/modules/kit/pgtest"
)

func TestMain(m *testing.M) {
	pgtest.Main(m, func(ctx context.Context, dsn string) error {
		return migrations.Up(ctx, dsn, slog.New(slog.DiscardHandler))
	}, migrations.Hash())
}
