package servers

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
	"pandu/modules/manager/audit"
	"pandu/modules/manager/identity"
)

// AcceptHistory makes what this database holds the truth again after agents were found with a history that it did not
// issue: it begins a new epoch and lets the observed servers go on. They keep what this database does not know of
// running and shown, and take up everything else. It returns the names of those servers.
func (s *Service) AcceptHistory(ctx context.Context, actor identity.Actor) ([]string, error) {
	if !actor.Operator {
		return nil, fault.New(fault.Denied, "operator_required", "Only an operator of this platform accepts a history.")
	}
	var names []string
	err := s.DB.InTx(ctx, func(tx pgx.Tx) error {
		rows, err := pg.All[struct {
			ID   uuid.UUID `db:"id"`
			Name string    `db:"name"`
		}](ctx, tx, endObserving, nil)
		if err != nil || len(rows) == 0 {
			return err
		}
		names = nil
		for _, row := range rows {
			names = append(names, row.Name)
			if err := pg.Notify(ctx, tx, NoticeServer, uuid.Nil, row.ID); err != nil { // its session ends, and it connects again
				return err
			}
		}
		if _, err := pg.Exec(ctx, tx, insertEpoch, pg.Args{"reason": "accepted by " + actor.Label}); err != nil {
			return fmt.Errorf("begin epoch: %w", err)
		}
		detail := map[string]string{"servers": fmt.Sprint(len(names))}
		return audit.Record(ctx, tx, actor.Event("history.accept", "platform", uuid.Nil, "", detail))
	})
	return names, err
}

const endObserving = `
	update servers.servers set mode = 'normal', mode_reason = ''
	where mode = 'observe' and deleted_at is null
	returning id, name`

const insertEpoch = `
	insert into servers.epochs (number, lineage, reason)
	select max(number) + 1, gen_random_uuid(), @reason from servers.epochs`
