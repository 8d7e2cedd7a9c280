package servers

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	"pandu/modules/agent/agentv1"
	"pandu/modules/kit/pg"
	"pandu/modules/manager/audit"
	"pandu/modules/manager/identity"
)

// Observation is what a server said last about one key of an owner. Exactly one of Instance and Key is set.
type Observation struct {
	ServerID   uuid.UUID
	Instance   *agentv1.InstanceStatus
	Key        *agentv1.KeyStatus
	ObservedAt time.Time
}

// Observations reads what is known of the keys of owners, by key.
func (s *Service) Observations(ctx context.Context, q pg.Querier, owners ...uuid.UUID) (map[string]Observation, error) {
	rows, err := pg.All[struct {
		ServerID   uuid.UUID `db:"server_id"`
		Key        string    `db:"key"`
		Body       []byte    `db:"body"`
		ObservedAt time.Time `db:"observed_at"`
	}](ctx, q, selectObservations, pg.Args{"owners": owners})
	if err != nil {
		return nil, fmt.Errorf("read observations: %w", err)
	}
	all := make(map[string]Observation, len(rows))
	for _, row := range rows {
		o := Observation{ServerID: row.ServerID, ObservedAt: row.ObservedAt}
		var into proto.Message
		if strings.HasPrefix(row.Key, "instance/") {
			o.Instance = &agentv1.InstanceStatus{}
			into = o.Instance
		} else {
			o.Key = &agentv1.KeyStatus{}
			into = o.Key
		}
		if err := proto.Unmarshal(row.Body, into); err != nil {
			return nil, fmt.Errorf("read observation %s: %w", row.Key, err)
		}
		all[row.Key] = o
	}
	return all, nil
}

func (s *Service) recordJoin(ctx context.Context, tx pgx.Tx, server uuid.UUID) error {
	actor := identity.System(uuid.Nil, "join token")
	return audit.Record(ctx, tx, actor.Event("server.join", "server", server, "", nil))
}

const selectObservations = `
	select server_id, key, body, observed_at from servers.observations
	where owner = any(@owners)`
