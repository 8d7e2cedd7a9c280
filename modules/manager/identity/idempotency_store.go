package identity

import (
	"context"
	"fmt"

	"pandu/modules/kit/pg"
)

const insertKeyOnce = `
	insert into identity.idempotent_requests (actor, key, request_hash, request_id)
	values (@actor, @key, @hash, @request)
	on conflict (actor, key) do nothing`

const selectAnswer = `
	select false as mine, request_hash, request_id, status, headers, response,
	       created_at < now() - make_interval(secs => @stale) as stale
	from identity.idempotent_requests where actor = @actor and key = @key`

const takeKeyOver = `
	update identity.idempotent_requests set request_hash = @hash, request_id = @request, created_at = now()
	where actor = @actor and key = @key and request_id = @dead and status is null`

const updateAnswer = `
	update identity.idempotent_requests set status = @status, headers = @headers, response = @response
	where actor = @actor and key = @key and request_id = @request`

const deleteKey = `delete from identity.idempotent_requests where actor = @actor and key = @key and request_id = @request`

// claimKey takes the key for this request, or returns what is known of the one before. A request that died before it
// changed anything (no event under its id) gives its key up.
func (s *Service) claimKey(ctx context.Context, who, key string, hash []byte, requestID string) (answered, error) {
	args := pg.Args{"actor": who, "key": key, "hash": hash, "request": requestID, "stale": idempotencyStale.Seconds()}
	for range 3 {
		inserted, err := pg.Exec(ctx, s.db.Pool, insertKeyOnce, args)
		if err != nil {
			return answered{}, fmt.Errorf("claim idempotency key: %w", err)
		}
		if inserted == 1 {
			return answered{Mine: true}, nil
		}
		before, err := pg.One[answered](ctx, s.db.Pool, selectAnswer, args)
		if pg.None(err) {
			continue // given up in between
		}
		if err != nil {
			return answered{}, fmt.Errorf("read idempotent request: %w", err)
		}
		if before.Status == nil && before.Stale {
			return s.inherit(ctx, before, args)
		}
		return before, nil
	}
	return answered{}, errKeyRunning
}

// inherit takes the key of a dead request over if that request changed nothing.
func (s *Service) inherit(ctx context.Context, dead answered, args pg.Args) (answered, error) {
	committed, err := s.audit.CommittedUnder(ctx, dead.RequestID)
	if err != nil || committed {
		return dead, err
	}
	args["dead"] = dead.RequestID
	taken, err := pg.Exec(ctx, s.db.Pool, takeKeyOver, args)
	if err != nil {
		return answered{}, fmt.Errorf("take over idempotency key: %w", err)
	}
	if taken == 0 {
		return answered{}, errKeyRunning
	}
	return answered{Mine: true}, nil
}

func (s *Service) answerKey(ctx context.Context, args pg.Args) error {
	if _, err := pg.Exec(ctx, s.db.Pool, updateAnswer, args); err != nil {
		return fmt.Errorf("keep answer: %w", err)
	}
	return nil
}

func (s *Service) releaseKey(ctx context.Context, who, key, requestID string) error {
	_, err := pg.Exec(ctx, s.db.Pool, deleteKey, pg.Args{"actor": who, "key": key, "request": requestID})
	if err != nil {
		return fmt.Errorf("release idempotency key: %w", err)
	}
	return nil
}
