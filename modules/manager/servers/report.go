package servers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"pandu/modules/agent/agentv1"
	"pandu/modules/kit/pg"
)

// KeyOf is the desired key of an instance, an environment, a volume or a route set.
func KeyOf(kind string, id uuid.UUID) string { return kind + "/" + id.String() }

// report takes in what an agent says is real. What it said before is in memory, so only transitions reach the database.
func (s *Service) report(ctx context.Context, live *session, r *agentv1.Report) error {
	changed := live.differing(r)
	if len(changed) == 0 && !r.GetFull() && r.GetServer() == nil {
		return nil
	}
	err := s.DB.InTx(ctx, func(tx pgx.Tx) error { return s.observe(ctx, tx, live, r, changed) })
	if err != nil {
		return fmt.Errorf("store report: %w", err)
	}
	live.remember(r)
	return nil
}

func (s *Service) observe(ctx context.Context, tx pgx.Tx, live *session, r *agentv1.Report, changed map[string]proto.Message) error {
	fence := pg.Args{"server": live.server, "number": live.number}
	if _, err := pg.Value[bool](ctx, tx, fenceSession, fence); pg.None(err) {
		return errReplaced
	} else if err != nil {
		return fmt.Errorf("check session number: %w", err)
	}
	if info := r.GetServer(); info != nil {
		body, err := protojson.Marshal(info)
		if err != nil {
			return fmt.Errorf("render server information: %w", err)
		}
		if _, err := pg.Exec(ctx, tx, setInfo, pg.Args{"server": live.server, "info": body}); err != nil {
			return fmt.Errorf("store server information: %w", err)
		}
		if err := pg.Notify(ctx, tx, NoticeServers, uuid.Nil, live.server); err != nil {
			return err
		}
	}
	// Owners first, what is known of them after: a planner takes these locks in the same order.
	owners, err := pg.Values[uuid.UUID](ctx, tx, ownersOfKeys, pg.Args{"server": live.server, "keys": sortedKeys(changed)})
	if err != nil {
		return fmt.Errorf("find owners of keys: %w", err)
	}
	if r.GetFull() {
		// A first full report lets everybody decide about this server again, so whoever waited for it is planned.
		all, err := s.nowSynced(ctx, tx, fence)
		if err != nil {
			return err
		}
		owners = append(owners, all...)
	}
	if err := s.Want(ctx, tx, owners...); err != nil {
		return err
	}
	return s.storeObservations(ctx, tx, live, changed)
}

func (s *Service) storeObservations(ctx context.Context, tx pgx.Tx, live *session, changed map[string]proto.Message) error {
	for _, key := range sortedKeys(changed) {
		body, err := proto.Marshal(changed[key])
		if err != nil {
			return fmt.Errorf("render observation %s: %w", key, err)
		}
		row, err := pg.One[struct {
			Owner        *uuid.UUID `db:"owner"`
			Organization *uuid.UUID `db:"organization_id"`
		}](ctx, tx, upsertObservation, pg.Args{"server": live.server, "key": key, "session": live.number, "body": body})
		if err != nil {
			return fmt.Errorf("store observation %s: %w", key, err)
		}
		if row.Owner == nil || row.Organization == nil {
			continue
		}
		if err := pg.Notify(ctx, tx, NoticeEnvironment, *row.Organization, *row.Owner); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) nowSynced(ctx context.Context, tx pgx.Tx, fence pg.Args) ([]uuid.UUID, error) {
	n, err := pg.Exec(ctx, tx, syncSession, fence)
	if err != nil {
		return nil, fmt.Errorf("mark session synced: %w", err)
	}
	if n == 0 {
		return nil, nil
	}
	owners, err := pg.Values[uuid.UUID](ctx, tx, ownersOfServer, fence)
	if err != nil {
		return nil, fmt.Errorf("find owners on server: %w", err)
	}
	return owners, pg.Notify(ctx, tx, NoticeServers, uuid.Nil, fence["server"].(uuid.UUID))
}

// acked takes in that an agent's gateway serves, or its planner holds, a revision.
func (s *Service) acked(ctx context.Context, live *session, a *agentv1.Applied) error {
	if a.GetEpoch().GetLineage() != live.epoch.GetLineage() {
		return nil
	}
	args := pg.Args{"server": live.server, "stream": a.GetStream(), "revision": int64(a.GetRevision()), "number": live.number}
	return s.DB.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := pg.Value[bool](ctx, tx, fenceSession, args); pg.None(err) {
			return errReplaced
		} else if err != nil {
			return fmt.Errorf("check session number: %w", err)
		}
		if a.GetStream() == agentv1.Stream_STREAM_ROUTES {
			// Owners first, the stream's row after: a planner takes these locks in the same order.
			owners, err := pg.Values[uuid.UUID](ctx, tx, ownersAcked, args)
			if err != nil {
				return fmt.Errorf("find owners of acknowledged routes: %w", err)
			}
			if err := s.Want(ctx, tx, owners...); err != nil {
				return err
			}
		}
		if _, err := pg.Exec(ctx, tx, ackStream, args); err != nil {
			return fmt.Errorf("store acknowledgement: %w", err)
		}
		return nil
	})
}

// differing lists by key what a report says otherwise than before.
func (l *session) differing(r *agentv1.Report) map[string]proto.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	changed := map[string]proto.Message{}
	for _, i := range r.GetInstances() {
		if !proto.Equal(l.statuses[i.GetInstanceId()], i) {
			changed["instance/"+i.GetInstanceId()] = i
		}
	}
	for _, k := range r.GetKeys() {
		if !proto.Equal(l.keys[k.GetKey()], k) {
			changed[k.GetKey()] = k
		}
	}
	return changed
}

func (l *session) remember(r *agentv1.Report) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.GetFull() {
		clear(l.statuses)
		clear(l.keys)
		l.synced = true
	}
	for _, i := range r.GetInstances() {
		l.statuses[i.GetInstanceId()] = i
	}
	for _, k := range r.GetKeys() {
		l.keys[k.GetKey()] = k
	}
	if r.GetServer() != nil {
		l.info = r.GetServer()
	}
}

// digestDiffers reports whether a heartbeat's digest is not that of what this session remembers.
func (l *session) digestDiffers(h *agentv1.Heartbeat) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*agentv1.InstanceStatus, 0, len(l.statuses))
	for _, i := range l.statuses {
		all = append(all, i)
	}
	return l.synced && string(agentv1.HashStatuses(all)) != string(h.GetDigest())
}

func sortedKeys(m map[string]proto.Message) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, strings.Compare)
	return keys
}

const upsertObservation = `
	insert into servers.observations (server_id, key, owner, session, body)
	values (@server, @key, (select owner from servers.entries where server_id = @server and stream = 1 and key = @key), @session, @body)
	on conflict (server_id, key) do update
	set owner = coalesce(excluded.owner, observations.owner), session = excluded.session, body = excluded.body, observed_at = now()
	returning owner, (select organization_id from servers.entries where server_id = @server and stream = 1 and key = @key) as organization_id`

const ownersOfKeys = `
	select distinct owner from servers.entries
	where server_id = @server and stream = 1 and key = any(@keys)`

const ownersOfServer = `
	select distinct owner from servers.entries
	where server_id = @server`
