package servers

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/agent/agentv1"
	"pandu/modules/kit/fault"
	"pandu/modules/kit/jointoken"
	"pandu/modules/kit/pg"
	"pandu/modules/manager/audit"
	"pandu/modules/manager/identity"
)

// Server is a machine with an agent, as an operator sees it.
type Server struct {
	ID             uuid.UUID  `json:"id"`
	Name           string     `json:"name"`
	Status         string     `json:"status" enum:"pending,ready,unknown,failed"`
	Knowledge      string     `json:"knowledge" enum:"current,stale,never" doc:"whether what is said here is known to be true now"`
	LastSeenAt     *time.Time `json:"last_seen_at" doc:"since when it has been silent; null while it is connected or before it ever was"`
	Mode           string     `json:"mode" enum:"normal,observe,drain"`
	ModeReason     string     `json:"mode_reason,omitempty"`
	AgentVersion   string     `json:"agent_version"`
	EngineVersion  string     `json:"engine_version"`
	EngineError    string     `json:"engine_error,omitempty"`
	GatewayVersion string     `json:"gateway_version"`
	GatewayError   string     `json:"gateway_error,omitempty"`
	CPUs           int        `json:"cpus"`
	MemoryBytes    int64      `json:"memory_bytes"`
	DiskBytes      int64      `json:"disk_bytes"`
	DiskFreeBytes  int64      `json:"disk_free_bytes"`
	Instances      int        `json:"instances" doc:"how many it shall run"`
	CreatedAt      time.Time  `json:"created_at"`
}

// JoinTokenLife is how long a join token may wait to be used.
const JoinTokenLife = 30 * time.Minute

// List returns every server of the platform. For operators.
func (s *Service) List(ctx context.Context, actor identity.Actor) ([]Server, error) {
	if !actor.Operator {
		return nil, fault.New(fault.Denied, "operator_required", "Only an operator of this platform sees its servers.")
	}
	rows, err := pg.All[serverRow](ctx, s.DB.Pool, selectServers, nil)
	if err != nil {
		return nil, fmt.Errorf("list servers: %w", err)
	}
	list := make([]Server, 0, len(rows))
	for _, row := range rows {
		list = append(list, row.server())
	}
	return list, nil
}

// Add makes a server in the platform's own group and a join token for it. The token is returned once and never stored.
func (s *Service) Add(ctx context.Context, actor identity.Actor, name string) (Server, jointoken.Token, error) {
	var token jointoken.Token
	id := pg.NewID()
	if !actor.Operator {
		return Server{}, token, fault.New(fault.Denied, "operator_required", "Only an operator of this platform adds servers.")
	}
	if name == "" || len(name) > 63 {
		return Server{}, token, fault.New(fault.Invalid, "server_name_invalid", "A server's name has 1 to 63 characters.")
	}
	authority, err := s.Authority(ctx)
	if err != nil {
		return Server{}, token, err
	}
	token = jointoken.New(authority.Fingerprint())
	err = s.DB.InTx(ctx, func(tx pgx.Tx) error {
		group, err := s.platformGroup(ctx, tx)
		if err != nil {
			return err
		}
		_, err = pg.Exec(ctx, tx, insertServer, pg.Args{"id": id, "group": group, "name": name})
		if pg.Violates(err, "servers_name") {
			return fault.Newf(fault.Conflict, "server_name_taken", "There is a server named %q already.", name).With("name", name)
		}
		if err != nil {
			return fmt.Errorf("insert server: %w", err)
		}
		if err := s.storeToken(ctx, tx, id, token); err != nil {
			return err
		}
		return audit.Record(ctx, tx, actor.Event("server.add", "server", id, name, nil))
	})
	if err != nil {
		return Server{}, token, err
	}
	return Server{ID: id, Name: name, Status: "pending", Knowledge: "never", Mode: "normal", CreatedAt: time.Now()}, token, nil
}

// Rejoin makes a new join token for a server that exists: its disk or its certificate was lost.
func (s *Service) Rejoin(ctx context.Context, actor identity.Actor, name string) (jointoken.Token, error) {
	if !actor.Operator {
		return jointoken.Token{}, fault.New(fault.Denied, "operator_required", "Only an operator of this platform adds servers.")
	}
	authority, err := s.Authority(ctx)
	if err != nil {
		return jointoken.Token{}, err
	}
	token := jointoken.New(authority.Fingerprint())
	return token, s.DB.InTx(ctx, func(tx pgx.Tx) error {
		id, err := pg.Value[uuid.UUID](ctx, tx, selectServerByName, pg.Args{"name": name})
		if pg.None(err) {
			return fault.Newf(fault.NotFound, "server_not_found", "There is no server named %q.", name)
		}
		if err != nil {
			return fmt.Errorf("find server: %w", err)
		}
		if err := s.storeToken(ctx, tx, id, token); err != nil {
			return err
		}
		return audit.Record(ctx, tx, actor.Event("server.rejoin", "server", id, name, nil))
	})
}

func (s *Service) storeToken(ctx context.Context, tx pgx.Tx, server uuid.UUID, token jointoken.Token) error {
	_, err := pg.Exec(ctx, tx, insertJoinToken, pg.Args{"hash": token.Hash(), "server": server, "life": JoinTokenLife})
	if err != nil {
		return fmt.Errorf("store join token: %w", err)
	}
	return nil
}

// platformGroup is the group of the platform's own shared servers, which every organization may use.
func (s *Service) platformGroup(ctx context.Context, tx pgx.Tx) (uuid.UUID, error) {
	if _, err := pg.Exec(ctx, tx, ensureGroup, pg.Args{"id": pg.NewID()}); err != nil {
		return uuid.Nil, fmt.Errorf("ensure default group: %w", err)
	}
	id, err := pg.Value[uuid.UUID](ctx, tx, selectDefaultGroup, nil)
	if err != nil {
		return uuid.Nil, fmt.Errorf("find default group: %w", err)
	}
	return id, nil
}

// GroupFor is the group where a new environment of an organization goes: its own or granted one, else the shared one.
func (s *Service) GroupFor(ctx context.Context, tx pgx.Tx, actor identity.Actor) (uuid.UUID, error) {
	id, err := pg.Value[uuid.UUID](ctx, tx, selectGroupFor, pg.Args{"organization": actor.OrganizationID})
	if pg.None(err) {
		return s.platformGroup(ctx, tx)
	}
	if err != nil {
		return uuid.Nil, fmt.Errorf("find group: %w", err)
	}
	return id, nil
}

// Place picks the server of a group with the fewest instances that has the capability and is known to be well.
func (s *Service) Place(ctx context.Context, q pg.Querier, group uuid.UUID, capability string) (uuid.UUID, error) {
	id, err := pg.Value[uuid.UUID](ctx, q, placeServer, pg.Args{"group": group, "capability": capability})
	if pg.None(err) {
		return uuid.Nil, fault.New(fault.Unavailable, "no_server", "No connected server can take this now. Check that an agent runs and that Docker answers there.").
			With("capability", capability)
	}
	if err != nil {
		return uuid.Nil, fmt.Errorf("place: %w", err)
	}
	return id, nil
}

// State is what is known of a server's session.
type State struct {
	Synced      bool // somebody may decide about this server
	SilentSince *time.Time
	Silent      time.Duration // by the database's clock
	Name        string
	process     uuid.UUID
}

// Unreachable reports whether the server has been silent for long enough to count as lost.
func (s State) Unreachable() bool { return s.Silent >= UnreachableAfter }

// Sessions reads the states of servers; one that never connected is missing.
func (s *Service) Sessions(ctx context.Context, q pg.Querier, servers ...uuid.UUID) (map[uuid.UUID]State, error) {
	rows, err := pg.All[sessionRow](ctx, q, selectSessions, pg.Args{"servers": servers})
	if err != nil {
		return nil, fmt.Errorf("read sessions: %w", err)
	}
	states := map[uuid.UUID]State{}
	for _, row := range rows {
		states[row.ServerID] = State{
			Synced:      row.Synced && row.SilentSince == nil && row.Mode != "observe",
			SilentSince: row.SilentSince, Silent: time.Duration(row.SilentFor * float64(time.Second)), Name: row.Name, process: row.ProcessID,
		}
	}
	return states, nil
}

// Acked is the newest revision of a server's routes that its gateway serves.
func (s *Service) Acked(ctx context.Context, q pg.Querier, server uuid.UUID, stream agentv1.Stream) (uint64, error) {
	rows, err := pg.All[streamRow](ctx, q, selectStreams, pg.Args{"server": server})
	if err != nil {
		return 0, fmt.Errorf("read streams: %w", err)
	}
	for _, row := range rows {
		if row.Stream == int16(stream) {
			return uint64(row.Acked), nil
		}
	}
	return 0, nil
}

// joinCommand is what an operator runs on a new server.
func (s *Service) joinCommand(token jointoken.Token) string {
	return "docker run -d --name pandu-agent --restart unless-stopped --network host --pid host --privileged " +
		"-v /var/run/docker.sock:/var/run/docker.sock -v /var/lib/pandu:/var/lib/pandu " +
		"-e WORKER_MODE=agent,gateway -e PANDU_AGENT_MANAGERS=" + s.AgentURL + " -e PANDU_AGENT_JOIN_TOKEN=" + token.Encode() + " pandu"
}

type serverRow struct {
	ID          uuid.UUID  `db:"id"`
	Name        string     `db:"name"`
	Mode        string     `db:"mode"`
	ModeReason  string     `db:"mode_reason"`
	Info        []byte     `db:"info"`
	CreatedAt   time.Time  `db:"created_at"`
	Version     *string    `db:"version"`
	Synced      *bool      `db:"synced"`
	SilentSince *time.Time `db:"silent_since"`
	Instances   int        `db:"instances"`
}

func (row serverRow) server() Server {
	var info struct {
		EngineVersion  string `json:"engineVersion"`
		EngineError    string `json:"engineError"`
		GatewayVersion string `json:"gatewayVersion"`
		GatewayError   string `json:"gatewayError"`
		CPUs           int    `json:"cpus"`
		MemoryBytes    int64  `json:"memoryBytes,string"`
		DiskBytes      int64  `json:"diskBytes,string"`
		DiskFreeBytes  int64  `json:"diskFreeBytes,string"`
	}
	_ = json.Unmarshal(row.Info, &info) // protojson of agentv1.ServerInfo; fields of a newer agent are left out
	v := Server{
		ID: row.ID, Name: row.Name, Mode: row.Mode, ModeReason: row.ModeReason, CreatedAt: row.CreatedAt, Instances: row.Instances,
		EngineVersion: info.EngineVersion, EngineError: info.EngineError, GatewayVersion: info.GatewayVersion, GatewayError: info.GatewayError,
		CPUs: info.CPUs, MemoryBytes: info.MemoryBytes, DiskBytes: info.DiskBytes, DiskFreeBytes: info.DiskFreeBytes,
		Status: "pending", Knowledge: "never",
	}
	if row.Version == nil {
		return v
	}
	v.AgentVersion = *row.Version
	switch {
	case row.SilentSince != nil:
		v.Status, v.Knowledge, v.LastSeenAt = "unknown", "stale", row.SilentSince
	case info.EngineError != "":
		v.Status, v.Knowledge = "failed", "current"
	case *row.Synced:
		v.Status, v.Knowledge = "ready", "current"
	}
	return v
}

const selectServers = `
	select s.id, s.name, s.mode, s.mode_reason, s.info, s.created_at, n.version, n.synced, n.silent_since,
	       (select count(*) from servers.entries e
	        where e.server_id = s.id and e.stream = 1 and not e.tombstone and e.key like 'instance/%')::int as instances
	from servers.servers s
	left join servers.sessions n on n.server_id = s.id
	where s.deleted_at is null
	order by s.name
	limit 5000`

const selectServerByName = `
	select id from servers.servers
	where name = @name and deleted_at is null
	order by created_at limit 1`

const insertServer = `
	insert into servers.servers (id, group_id, name)
	values (@id, @group, @name)`

const insertJoinToken = `
	insert into servers.join_tokens (hash, server_id, expires_at)
	values (@hash, @server, now() + @life::interval)`

const ensureGroup = `
	insert into servers.groups (id, name, everyone) values (@id, 'default', true)
	on conflict (name) where organization_id is null do nothing`

const selectDefaultGroup = `
	select id from servers.groups
	where organization_id is null and name = 'default'`

const selectGroupFor = `
	select g.id from servers.groups g
	left join servers.grants a on a.group_id = g.id and a.organization_id = @organization
	where g.organization_id = @organization or a.group_id is not null or g.everyone
	order by g.organization_id is not null desc, a.group_id is not null desc, g.created_at
	limit 1`

const placeServer = `
	select s.id from servers.servers s
	join servers.sessions n on n.server_id = s.id
	where s.group_id = @group and s.deleted_at is null and s.mode = 'normal' and n.synced and n.silent_since is null
	  and @capability = any(n.capabilities)
	order by (select count(*) from servers.entries e where e.server_id = s.id and e.stream = 1 and not e.tombstone), s.id
	limit 1`
