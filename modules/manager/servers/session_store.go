package servers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/encoding/protojson"

	"pandu/modules/agent/agentv1"
	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
)

// open makes this process the holder of the server's session. It answers with a reason when the agent holds a history
// that this database did not issue, in which case nothing may be sent to it.
func (s *Service) open(ctx context.Context, server uuid.UUID, hello *agentv1.Hello) (number int64, epoch *agentv1.Epoch, observe string, err error) {
	err = s.DB.InTx(ctx, func(tx pgx.Tx) error {
		row, err := pg.One[struct {
			Mode   string `db:"mode"`
			Reason string `db:"mode_reason"`
		}](ctx, tx, lockServer, pg.Args{"server": server})
		if pg.None(err) {
			return fault.New(fault.Denied, "server_removed", "This server was removed. Join it again with a new token.")
		}
		if err != nil {
			return fmt.Errorf("lock server: %w", err)
		}
		epochs, err := pg.All[epochRow](ctx, tx, selectEpochs, nil)
		if err != nil {
			return fmt.Errorf("read epochs: %w", err)
		}
		issued, err := s.issued(ctx, tx, server)
		if err != nil {
			return err
		}
		epoch = &agentv1.Epoch{Number: uint64(epochs[0].Number), Lineage: epochs[0].Lineage.String()}
		if observe = foreign(hello, epochs, issued); observe == "" && row.Mode == "observe" {
			observe = row.Reason
		}
		if observe != "" && row.Mode != "observe" {
			if _, err := pg.Exec(ctx, tx, setMode, pg.Args{"server": server, "mode": "observe", "reason": observe}); err != nil {
				return fmt.Errorf("set observe mode: %w", err)
			}
		}
		info, err := protojson.Marshal(orEmptyInfo(hello.GetServer()))
		if err != nil {
			return fmt.Errorf("render server information: %w", err)
		}
		number, err = pg.Value[int64](ctx, tx, openSession, pg.Args{
			"server": server, "process": s.Process, "version": hello.GetAgentVersion(), "capabilities": orNone(hello.GetCapabilities()),
		})
		if err != nil {
			return fmt.Errorf("open session: %w", err)
		}
		if _, err := pg.Exec(ctx, tx, setInfo, pg.Args{"server": server, "info": info}); err != nil {
			return fmt.Errorf("store server information: %w", err)
		}
		return pg.Notify(ctx, tx, NoticeServers, uuid.Nil, server)
	})
	return number, epoch, observe, err
}

// NoticeServers tells browsers that a server's session changed.
const NoticeServers = "servers"

func orNone(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func orEmptyInfo(info *agentv1.ServerInfo) *agentv1.ServerInfo {
	if info == nil {
		return &agentv1.ServerInfo{}
	}
	return info
}

// foreign says why a history is not one that this database issued; empty when it is. epochs are newest first.
func foreign(hello *agentv1.Hello, epochs []epochRow, issued map[agentv1.Stream]uint64) string {
	held := hello.GetEpoch()
	if held.GetLineage() == "" {
		return ""
	}
	for i, e := range epochs {
		if e.Lineage.String() != held.GetLineage() {
			continue
		}
		if i > 0 {
			return "" // an older line of ours: it takes over the newest with a snapshot
		}
		for stream, revision := range hello.GetRevisions() {
			if have := issued[agentv1.Stream(stream)]; revision > have {
				return fmt.Sprintf("The agent holds revision %d of stream %d, but this database issued only %d. Was it restored from a backup?", revision, stream, have)
			}
		}
		return ""
	}
	return fmt.Sprintf("The agent holds a history (epoch %d, %s) that this database did not issue. Was it restored from a backup?", held.GetNumber(), held.GetLineage())
}

func (s *Service) issued(ctx context.Context, q pg.Querier, server uuid.UUID) (map[agentv1.Stream]uint64, error) {
	rows, err := pg.All[streamRow](ctx, q, selectStreams, pg.Args{"server": server})
	if err != nil {
		return nil, fmt.Errorf("read streams: %w", err)
	}
	issued := map[agentv1.Stream]uint64{}
	for _, row := range rows {
		issued[agentv1.Stream(row.Stream)] = uint64(row.Revision)
	}
	return issued, nil
}

// stored reads a whole stream with the revision it stands at, in one snapshot of the database.
func (s *Service) stored(ctx context.Context, server uuid.UUID, stream agentv1.Stream) (rows []entryRow, revision uint64, err error) {
	args := pg.Args{"server": server, "stream": stream, "after": int64(0)}
	err = pgx.BeginTxFunc(ctx, s.DB.Pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		n, err := pg.Value[int64](ctx, tx, selectStreamRevision, args)
		if err != nil {
			return err
		}
		revision = uint64(n)
		rows, err = pg.All[entryRow](ctx, tx, selectEntriesAfter, args)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read stream: %w", err)
	}
	return rows, revision, nil
}

func (s *Service) entriesAfter(ctx context.Context, server uuid.UUID, stream agentv1.Stream, after uint64) ([]entryRow, error) {
	rows, err := pg.All[entryRow](ctx, s.DB.Pool, selectEntriesAfter, pg.Args{"server": server, "stream": stream, "after": int64(after)})
	if err != nil {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	return rows, nil
}

// silence marks a session as silent, if it is still the server's.
func (s *Service) silence(ctx context.Context, live *session) error {
	return s.DB.InTx(ctx, func(tx pgx.Tx) error {
		n, err := pg.Exec(ctx, tx, silenceSession, pg.Args{"server": live.server, "number": live.number})
		if err != nil {
			return fmt.Errorf("mark session silent: %w", err)
		}
		if n == 0 {
			return nil
		}
		return pg.Notify(ctx, tx, NoticeServers, uuid.Nil, live.server)
	})
}

// SweepSessions marks the sessions of dead processes silent, and ends those of this process that others marked so.
// Every manager runs it every few seconds.
func (s *Service) SweepSessions(ctx context.Context) error {
	if err := s.endLost(ctx); err != nil {
		return err
	}
	alive, err := s.Live(ctx)
	if err != nil {
		return fmt.Errorf("list live processes: %w", err)
	}
	return s.DB.InTx(ctx, func(tx pgx.Tx) error {
		lost, err := pg.Values[uuid.UUID](ctx, tx, silenceDead, pg.Args{"alive": alive})
		if err != nil {
			return fmt.Errorf("mark sessions of dead processes silent: %w", err)
		}
		for _, server := range lost {
			if err := pg.Notify(ctx, tx, NoticeServers, uuid.Nil, server); err != nil {
				return err
			}
		}
		return nil
	})
}

// endLost ends the sessions that go on here although the database says otherwise: this process could not beat for a
// while and was taken for dead. Their agents come back and report anew, which is the only way to be believed again.
func (s *Service) endLost(ctx context.Context) error {
	here := s.held() // before the database is asked: what is here by now is there, too
	if len(here) == 0 {
		return nil
	}
	good, err := pg.Values[uuid.UUID](ctx, s.DB.Pool, selectHeard, pg.Args{"process": s.Process})
	if err != nil {
		return fmt.Errorf("read sessions of this process: %w", err)
	}
	for server, live := range here {
		if !slices.Contains(good, server) {
			live.end(errLost)
		}
	}
	return nil
}

func (s *Service) held() map[uuid.UUID]*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.sessions)
}

// errLost ends a session that others took for dead.
var errLost = errors.New("the session was taken for dead")

type epochRow struct {
	Number  int64     `db:"number"`
	Lineage uuid.UUID `db:"lineage"`
}

type streamRow struct {
	Stream   int16 `db:"stream"`
	Revision int64 `db:"revision"`
	Acked    int64 `db:"acked"`
}

type sessionRow struct {
	ServerID     uuid.UUID  `db:"server_id"`
	ProcessID    uuid.UUID  `db:"process_id"`
	Number       int64      `db:"number"`
	Synced       bool       `db:"synced"`
	ConnectedAt  time.Time  `db:"connected_at"`
	SilentSince  *time.Time `db:"silent_since"`
	SilentFor    float64    `db:"silent_for"` // seconds, by the database's clock
	Version      string     `db:"version"`
	Capabilities []string   `db:"capabilities"`
	Mode         string     `db:"mode"`
	Name         string     `db:"name"`
}

const lockServer = `
	select mode, mode_reason from servers.servers
	where id = @server and deleted_at is null
	for update`

const setMode = `
	update servers.servers set mode = @mode, mode_reason = @reason
	where id = @server`

const setInfo = `
	update servers.servers set info = @info
	where id = @server`

const selectEpochs = `
	select number, lineage from servers.epochs
	order by number desc limit 100`

const openSession = `
	insert into servers.sessions (server_id, process_id, number, version, capabilities)
	values (@server, @process, 1, @version, @capabilities)
	on conflict (server_id) do update
	set process_id = excluded.process_id, number = sessions.number + 1, synced = false, connected_at = now(), silent_since = null,
	    version = excluded.version, capabilities = excluded.capabilities
	returning number`

const silenceSession = `
	update servers.sessions set silent_since = now(), synced = false
	where server_id = @server and number = @number and silent_since is null`

const selectHeard = `
	select server_id from servers.sessions
	where process_id = @process and silent_since is null`

const silenceDead = `
	update servers.sessions set silent_since = now(), synced = false
	where silent_since is null and process_id <> all(@alive)
	returning server_id`

const fenceSession = `
	select synced from servers.sessions
	where server_id = @server and number = @number
	for share`

const syncSession = `
	update servers.sessions set synced = true, silent_since = null
	where server_id = @server and number = @number and not synced`

const selectSessions = `
	select n.server_id, n.process_id, n.number, n.synced, n.connected_at, n.silent_since,
	       coalesce(extract(epoch from now() - n.silent_since), 0)::float8 as silent_for, n.version, n.capabilities, s.mode, s.name
	from servers.sessions n
	join servers.servers s on s.id = n.server_id
	where n.server_id = any(@servers)`
