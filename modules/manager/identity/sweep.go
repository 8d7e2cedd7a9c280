package identity

import (
	"context"
	"fmt"

	"pandu/modules/kit/pg"
)

// Each statement removes at most a batch of what nobody needs any more.
const (
	sweepThrottles = `
		delete from identity.throttles where bucket in
			(select bucket from identity.throttles where expires_at < now() limit 5000)`

	// Sessions stay a while after their end: the addresses in them tell friends from strangers at the next sign-in.
	sweepSessions = `
		delete from identity.sessions where id in
			(select id from identity.sessions where created_at < now() - interval '90 days' limit 5000)`

	sweepAnswers = `
		delete from identity.idempotent_requests where (actor, key) in
			(select actor, key from identity.idempotent_requests where created_at < now() - interval '24 hours' limit 5000)`
)

// Sweep removes attempts, sessions and kept answers whose time is over. Call it every few minutes.
func (s *Service) Sweep(ctx context.Context) error {
	for _, statement := range []string{sweepThrottles, sweepSessions, sweepAnswers} {
		if _, err := pg.Exec(ctx, s.db.Pool, statement, pg.Args{}); err != nil {
			return fmt.Errorf("sweep identity: %w", err)
		}
	}
	return nil
}
