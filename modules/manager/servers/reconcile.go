package servers

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/jobs"
	"pandu/modules/kit/pg"
)

// Want raises in tx that an owner (an environment) must be planned again, and inserts an order unless one is on its
// way. River's own rescue of jobs is too slow to rely on, so an order is only a hint: the sweep (Overdue) inserts
// another wherever wanted stays ahead of done.
func (s *Service) Want(ctx context.Context, tx pgx.Tx, owners ...uuid.UUID) error {
	slices.SortFunc(owners, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) }) // one order of locks
	for _, owner := range slices.Compact(owners) {
		order, err := pg.Value[bool](ctx, tx, wantOwner, pg.Args{"owner": owner})
		if err != nil {
			return fmt.Errorf("want reconcile: %w", err)
		}
		if !order {
			continue
		}
		if err := s.Orders.Insert(ctx, tx, jobs.Rollout{EnvironmentID: owner}); err != nil {
			return err
		}
	}
	return nil
}

// Lock holds an owner for the rest of tx without wanting anything. Whoever changes what a plan reads locks first, as the
// planner does: two that lock in different orders would wait for one another until the database ends one of them.
func (s *Service) Lock(ctx context.Context, tx pgx.Tx, owner uuid.UUID) error {
	if _, err := pg.Exec(ctx, tx, lockOwner, pg.Args{"owner": owner}); err != nil {
		return fmt.Errorf("lock reconcile: %w", err)
	}
	return nil
}

// Claim locks an owner for the rest of tx and clears its mark. It returns what was wanted, to be given to Done, and
// false when nothing is.
func (s *Service) Claim(ctx context.Context, tx pgx.Tx, owner uuid.UUID) (wanted int64, due bool, err error) {
	row, err := pg.One[struct {
		Wanted int64 `db:"wanted"`
		Done   int64 `db:"done"`
	}](ctx, tx, claimOwner, pg.Args{"owner": owner})
	if pg.None(err) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("claim reconcile: %w", err)
	}
	return row.Wanted, row.Done < row.Wanted, nil
}

// Done stores in the transaction of the Claim that everything wanted until then has been planned.
func (s *Service) Done(ctx context.Context, tx pgx.Tx, owner uuid.UUID, wanted int64) error {
	if _, err := pg.Exec(ctx, tx, doneOwner, pg.Args{"owner": owner, "wanted": wanted}); err != nil {
		return fmt.Errorf("finish reconcile: %w", err)
	}
	return nil
}

// Overdue inserts an order for every owner whose plan is behind and whose last order is older than ten seconds: the
// order was lost with a process, or is being retried. It returns how many.
func (s *Service) Overdue(ctx context.Context) (int, error) {
	n := 0
	err := s.DB.InTx(ctx, func(tx pgx.Tx) error {
		owners, err := pg.Values[uuid.UUID](ctx, tx, overdueOwners, nil)
		if err != nil {
			return fmt.Errorf("find overdue reconciles: %w", err)
		}
		n = len(owners)
		for _, owner := range owners {
			if err := s.Orders.Insert(ctx, tx, jobs.Rollout{EnvironmentID: owner}); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

// Dismiss drops the row of an owner that is gone.
func (s *Service) Dismiss(ctx context.Context, tx pgx.Tx, owner uuid.UUID) error {
	if _, err := pg.Exec(ctx, tx, dismissOwner, pg.Args{"owner": owner}); err != nil {
		return fmt.Errorf("dismiss reconcile: %w", err)
	}
	return nil
}

const wantOwner = `
	insert into servers.reconciles (owner, wanted, ordered_at) values (@owner, 1, now())
	on conflict (owner) do update
	set wanted = reconciles.wanted + 1,
	    ordered_at = case when reconciles.ordered_at > now() - interval '10 seconds' then reconciles.ordered_at else now() end
	returning ordered_at = now()`

const lockOwner = `
	insert into servers.reconciles (owner) values (@owner)
	on conflict (owner) do update set owner = excluded.owner`

const claimOwner = `
	update servers.reconciles set ordered_at = null, planned_at = now()
	where owner = @owner
	returning wanted, done`

const doneOwner = `
	update servers.reconciles set done = greatest(done, @wanted)
	where owner = @owner`

const overdueOwners = `
	update servers.reconciles r set ordered_at = now()
	from (
	    select owner from servers.reconciles
	    where done < wanted and coalesce(ordered_at, planned_at, '-infinity') < now() - interval '10 seconds'
	    order by owner limit 500 for update skip locked
	) due
	where r.owner = due.owner
	returning r.owner`

const dismissOwner = `
	delete from servers.reconciles
	where owner = @owner`
