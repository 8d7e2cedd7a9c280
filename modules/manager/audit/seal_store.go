package audit

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/pg"
)

// sealBatch bounds one transaction of the sealer.
const sealBatch = 500

const lockSealer = `select pg_try_advisory_xact_lock(hashtextextended('audit.seal', 0))`

// A row may be sealed when no transaction that is still open could commit a row that sorts before it: then the order
// (transaction, id) is final. A visible row from the future of this cluster comes from a restored dump and is older
// than everything open here.
const selectUnsealed = `
	select id, organization_id, actor_kind, actor_id, actor_label, action, object_kind, object_id, object_label, detail,
	       request_id, address, created_at
	from audit.events, pg_current_snapshot() as open
	where hash is null and (transaction_id < pg_snapshot_xmin(open) or transaction_id >= pg_snapshot_xmax(open))
	order by transaction_id, id
	limit @limit`

const selectHead = `select sequence, hash from audit.chains where organization_id = @organization for update`

const sealEvents = `
	update audit.events e set sequence = s.sequence, hash = s.hash
	from unnest(@ids::uuid[], @sequences::bigint[], @hashes::bytea[]) as s (id, sequence, hash)
	where e.id = s.id and e.hash is null`

const moveHead = `
	insert into audit.chains (organization_id, sequence, hash) values (@organization, @sequence, @hash)
	on conflict (organization_id) do update set sequence = excluded.sequence, hash = excluded.hash, sealed_at = now()`

type head struct {
	Sequence int64  `db:"sequence"`
	Hash     []byte `db:"hash"`
}

// Seal chains one batch of events and returns how many; 0 when there is nothing to do or another process is sealing.
// Call it again while it returns a full batch (More).
func (s *Service) Seal(ctx context.Context) (int, error) {
	var count int
	err := s.db.InTx(ctx, func(tx pgx.Tx) error {
		count = 0
		mine, err := pg.Value[bool](ctx, tx, lockSealer, pg.Args{})
		if err != nil || !mine {
			return err
		}
		events, err := pg.All[sealed](ctx, tx, selectUnsealed, pg.Args{"limit": sealBatch})
		if err != nil || len(events) == 0 {
			return err
		}
		count = len(events)
		return chain(ctx, tx, events)
	})
	if err != nil {
		return 0, fmt.Errorf("seal events: %w", err)
	}
	return count, nil
}

// More reports whether a batch of this size says that there may be more to seal.
func More(sealed int) bool { return sealed == sealBatch }

func chain(ctx context.Context, tx pgx.Tx, events []sealed) error {
	heads := map[uuid.UUID]head{}
	ids, sequences, hashes := make([]uuid.UUID, 0, len(events)), make([]int64, 0, len(events)), make([][]byte, 0, len(events))
	for _, e := range events {
		h, known := heads[e.OrganizationID]
		if !known {
			var err error
			if h, err = pg.One[head](ctx, tx, selectHead, pg.Args{"organization": e.OrganizationID}); err != nil && !pg.None(err) {
				return err
			}
		}
		h = head{Sequence: h.Sequence + 1, Hash: link(h.Hash, h.Sequence+1, e)}
		heads[e.OrganizationID] = h
		ids, sequences, hashes = append(ids, e.ID), append(sequences, h.Sequence), append(hashes, h.Hash)
	}
	if _, err := pg.Exec(ctx, tx, sealEvents, pg.Args{"ids": ids, "sequences": sequences, "hashes": hashes}); err != nil {
		return err
	}
	for organization, h := range heads {
		if _, err := pg.Exec(ctx, tx, moveHead, pg.Args{"organization": organization, "sequence": h.Sequence, "hash": h.Hash}); err != nil {
			return err
		}
	}
	return nil
}

const unsealedAge = `select coalesce(extract(epoch from now() - min(created_at)), 0)::float8 from audit.events where hash is null`

// UnsealedAge is the age of the oldest event that is not sealed yet, by database time; 0 when all are.
func (s *Service) UnsealedAge(ctx context.Context) (time.Duration, error) {
	seconds, err := pg.Value[float64](ctx, s.db.Pool, unsealedAge, pg.Args{})
	if err != nil {
		return 0, fmt.Errorf("read age of unsealed events: %w", err)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// Report is what Verify found in one organization's chain.
type Report struct {
	Sealed int64  // events whose hash is right
	Broken int64  // sequence number of the first event that is missing, altered or added; 0: the chain is whole
	Reason string // of Broken
}

const selectChain = `
	select sequence, hash, id, organization_id, actor_kind, actor_id, actor_label, action, object_kind, object_id,
	       object_label, detail, request_id, address, created_at
	from audit.events
	where organization_id = @organization and sequence > @after
	order by sequence
	limit @limit`

const readHead = `select sequence, hash from audit.chains where organization_id = @organization`

// Head and events are read in one statement, so that sealing in between is not taken for tampering.
const eventsBeyondHead = `
	select exists (select from audit.events e where organization_id = @organization and sequence >
		coalesce((select sequence from audit.chains where organization_id = @organization), 0))`

type chained struct {
	head
	sealed
}

// Verify walks the chain of one organization from its first event. A broken chain is a finding in the report, not an error.
func (s *Service) Verify(ctx context.Context, organization uuid.UUID) (Report, error) {
	end, err := pg.One[head](ctx, s.db.Pool, readHead, pg.Args{"organization": organization})
	if err != nil && !pg.None(err) {
		return Report{}, fmt.Errorf("read head of chain: %w", err)
	}
	var at head
	for at.Sequence < end.Sequence {
		events, err := pg.All[chained](ctx, s.db.Pool, selectChain,
			pg.Args{"organization": organization, "after": at.Sequence, "limit": sealBatch})
		if err != nil {
			return Report{}, fmt.Errorf("read chain: %w", err)
		}
		if len(events) == 0 {
			return Report{at.Sequence, at.Sequence + 1, "missing"}, nil
		}
		for _, e := range events {
			if reason := step(at, e, end); reason != "" {
				return Report{at.Sequence, at.Sequence + 1, reason}, nil
			}
			at = e.head
			if at.Sequence == end.Sequence {
				break // sealed since we read the head
			}
		}
	}
	beyond, err := pg.Value[bool](ctx, s.db.Pool, eventsBeyondHead, pg.Args{"organization": organization})
	if err != nil {
		return Report{}, fmt.Errorf("look beyond head of chain: %w", err)
	}
	if beyond {
		return Report{at.Sequence, at.Sequence + 1, "added"}, nil
	}
	return Report{Sealed: at.Sequence}, nil
}

// step judges one event against the one before it; "" when it belongs there.
func step(at head, e chained, end head) string {
	switch {
	case e.Sequence != at.Sequence+1:
		return "missing"
	case !bytes.Equal(e.Hash, link(at.Hash, e.Sequence, e.sealed)):
		return "altered"
	case e.Sequence == end.Sequence && !bytes.Equal(e.Hash, end.Hash):
		return "head differs"
	default:
		return ""
	}
}
