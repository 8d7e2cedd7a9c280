// Package pg is the floor under every store: a pool, transactions, notifications and the collecting of rows.
//
// SQL is written by hand where it is used, with @named arguments. One action is one transaction. Retries happen for
// the whole transaction and only where Postgres says that it is safe (serialisation, deadlock, connection lost before commit).
package pg

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Querier is a pool or a transaction.
type Querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Args are the @named arguments of a statement.
type Args = pgx.NamedArgs

// DB is a pool of connections to the one database.
type DB struct {
	Pool *pgxpool.Pool
}

// InTx runs fn in one read-committed transaction and commits it when fn returns nil. When it returns nil the change is durable.
// fn may run again, from its start, after a serialisation failure or a deadlock (at most three times), so it must keep
// no state outside the transaction.
func (db *DB) InTx(ctx context.Context, fn func(tx pgx.Tx) error) error {
	var err error
	for attempt := range 3 {
		if attempt > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Duration(attempt) * 20 * time.Millisecond):
			}
		}
		err = pgx.BeginFunc(ctx, db.Pool, fn)
		if !again(err) {
			return err
		}
	}
	return err
}

// again: 40001 serialization_failure, 40P01 deadlock_detected.
func again(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && (pe.Code == "40001" || pe.Code == "40P01")
}

// Away reports whether err says that Postgres cannot be reached for the moment.
func Away(err error) bool {
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		return pe.Code[:2] == "08" || pe.Code[:2] == "57" || pe.Code[:2] == "53"
	}
	var ce *pgconn.ConnectError
	return errors.As(err, &ce)
}

// Violates reports whether err is a violation of the named constraint or unique index.
func Violates(err error, constraint string) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.ConstraintName == constraint
}

// All collects every row into T by column name (struct fields tagged `db`).
func All[T any](ctx context.Context, q Querier, sql string, args Args) ([]T, error) {
	rows, err := q.Query(ctx, sql, args)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[T])
}

// One collects exactly one row by column name; pgx.ErrNoRows when there is none.
func One[T any](ctx context.Context, q Querier, sql string, args Args) (T, error) {
	rows, err := q.Query(ctx, sql, args)
	if err != nil {
		var zero T
		return zero, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[T])
}

// Value reads one column of one row; pgx.ErrNoRows when there is none.
func Value[T any](ctx context.Context, q Querier, sql string, args Args) (T, error) {
	rows, err := q.Query(ctx, sql, args)
	if err != nil {
		var zero T
		return zero, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
}

// Values reads one column of every row.
func Values[T any](ctx context.Context, q Querier, sql string, args Args) ([]T, error) {
	rows, err := q.Query(ctx, sql, args)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[T])
}

// Exec runs a statement and returns how many rows it touched.
func Exec(ctx context.Context, q Querier, sql string, args Args) (int64, error) {
	tag, err := q.Exec(ctx, sql, args)
	return tag.RowsAffected(), err
}

// None reports whether err means that there is no such row.
func None(err error) bool { return errors.Is(err, pgx.ErrNoRows) }

// Channel is the one channel every process listens on.
const Channel = "pandu"

// Notify tells every process, once tx has committed, that something of this kind changed. The payload is
// kind:organization:id; organization is uuid.Nil for what belongs to the platform.
func Notify(ctx context.Context, tx Querier, kind string, organization, id uuid.UUID) error {
	if _, err := tx.Exec(ctx, "select pg_notify($1, $2)", Channel, fmt.Sprintf("%s:%s:%s", kind, organization, id)); err != nil {
		return fmt.Errorf("notify %s: %w", kind, err)
	}
	return nil
}

// NewID makes a UUIDv7.
func NewID() uuid.UUID { return uuid.Must(uuid.NewV7()) }
