package servers

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	"pandu/modules/agent/agentv1"
	"pandu/modules/kit/pg"
)

// Desired is one thing a server shall hold from now on.
type Desired struct {
	Key  string
	Body proto.Message // an agentv1 Environment, Volume, Instance or RouteSet, by the key's prefix
}

// Owner is who plans a key: an environment of an organization.
type Owner struct {
	OrganizationID uuid.UUID
	ID             uuid.UUID
}

// Put writes entries of one stream in tx. An entry that already says the same costs nothing and keeps its revision, so
// a planner may put everything each time. It returns the newest revision among the keys.
func (s *Service) Put(ctx context.Context, tx pgx.Tx, server uuid.UUID, stream agentv1.Stream, owner Owner, items ...Desired) (uint64, error) {
	writes := map[string]entryWrite{}
	for _, item := range items {
		body, err := proto.MarshalOptions{Deterministic: true}.Marshal(item.Body)
		if err != nil {
			return 0, fmt.Errorf("render %s: %w", item.Key, err)
		}
		writes[item.Key] = entryWrite{body: body}
	}
	return s.write(ctx, tx, server, stream, owner, writes)
}

// Tombstone asks a server in tx to give keys up, naming the committed cause. Keys it does not hold are left out. It
// returns the newest revision among the keys, 0 when it holds none.
func (s *Service) Tombstone(ctx context.Context, tx pgx.Tx, server uuid.UUID, stream agentv1.Stream, owner Owner, cause string, keys ...string) (uint64, error) {
	writes := map[string]entryWrite{}
	for _, key := range keys {
		writes[key] = entryWrite{tombstone: true, cause: cause}
	}
	return s.write(ctx, tx, server, stream, owner, writes)
}

// Forget drops tombstones that were carried out.
func (s *Service) Forget(ctx context.Context, tx pgx.Tx, server uuid.UUID, stream agentv1.Stream, keys ...string) error {
	if len(keys) == 0 {
		return nil
	}
	args := pg.Args{"server": server, "stream": stream, "keys": keys}
	if _, err := pg.Exec(ctx, tx, forgetEntries, args); err != nil {
		return fmt.Errorf("forget entries: %w", err)
	}
	if _, err := pg.Exec(ctx, tx, forgetObservations, args); err != nil {
		return fmt.Errorf("forget observations: %w", err)
	}
	return nil
}

// Held lists what an owner has in the stream of instances beside the instances themselves (its network, its volumes),
// and whether each is to be given up.
func (s *Service) Held(ctx context.Context, q pg.Querier, owner uuid.UUID) (map[string]bool, error) {
	rows, err := pg.All[struct {
		Key       string `db:"key"`
		Tombstone bool   `db:"tombstone"`
	}](ctx, q, selectHeld, pg.Args{"owner": owner})
	if err != nil {
		return nil, fmt.Errorf("read held keys: %w", err)
	}
	held := map[string]bool{}
	for _, row := range rows {
		held[row.Key] = row.Tombstone
	}
	return held, nil
}

type entryWrite struct {
	body      []byte
	tombstone bool
	cause     string
}

func (s *Service) write(ctx context.Context, tx pgx.Tx, server uuid.UUID, stream agentv1.Stream, owner Owner, writes map[string]entryWrite) (uint64, error) {
	if len(writes) == 0 {
		return 0, nil
	}
	keys := slices.Sorted(maps.Keys(writes))
	present, err := pg.All[entryRow](ctx, tx, selectEntries, pg.Args{"server": server, "stream": stream, "keys": keys})
	if err != nil {
		return 0, fmt.Errorf("read entries: %w", err)
	}
	newest := uint64(0)
	held := map[string]bool{}
	for _, row := range present {
		w := writes[row.Key]
		held[row.Key] = true
		newest = max(newest, uint64(row.Revision))
		if row.Tombstone == w.tombstone && (w.tombstone || bytes.Equal(row.Body, w.body)) {
			delete(writes, row.Key)
		}
	}
	maps.DeleteFunc(writes, func(key string, w entryWrite) bool { return w.tombstone && !held[key] })
	if len(writes) == 0 {
		return newest, nil
	}
	revision, err := pg.Value[int64](ctx, tx, raiseRevision, pg.Args{"server": server, "stream": stream})
	if err != nil {
		return 0, fmt.Errorf("raise revision: %w", err)
	}
	for _, key := range slices.Sorted(maps.Keys(writes)) {
		w := writes[key]
		_, err := pg.Exec(ctx, tx, upsertEntry, pg.Args{
			"server": server, "stream": stream, "key": key, "revision": revision, "body": orEmpty(w.body),
			"tombstone": w.tombstone, "cause": w.cause, "owner": owner.ID, "organization": owner.OrganizationID,
		})
		if err != nil {
			return 0, fmt.Errorf("write entry %s: %w", key, err)
		}
	}
	return uint64(revision), pg.Notify(ctx, tx, NoticeServer, uuid.Nil, server)
}

func orEmpty(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Kinds of notification that this room sends.
const (
	NoticeServer      = "server"      // id: a server whose entries changed
	NoticeEnvironment = "environment" // id: an environment whose real state changed
)
