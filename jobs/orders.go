package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
)

// Orders inserts orders in the caller's transaction. A process that works nothing inserts just the same.
type Orders struct {
	client *river.Client[pgx.Tx]
}

// NewOrders makes an Orders over a River client, which need not be started.
func NewOrders(client *river.Client[pgx.Tx]) *Orders { return &Orders{client} }

// Insert adds an order in tx. It runs when tx has committed, and never if it does not.
func (o *Orders) Insert(ctx context.Context, tx pgx.Tx, args river.JobArgs) error {
	return o.InsertAt(ctx, tx, args, time.Time{})
}

// InsertAt adds an order in tx that runs no sooner than at.
func (o *Orders) InsertAt(ctx context.Context, tx pgx.Tx, args river.JobArgs, at time.Time) error {
	var opts *river.InsertOpts
	if !at.IsZero() {
		opts = &river.InsertOpts{ScheduledAt: at}
	}
	if _, err := o.client.InsertTx(ctx, tx, args, opts); err != nil {
		return fmt.Errorf("insert order %s: %w", args.Kind(), err)
	}
	return nil
}
