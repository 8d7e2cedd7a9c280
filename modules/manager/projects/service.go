package projects

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
	"pandu/modules/manager/identity"
	"pandu/modules/spec"
)

// Override is what people set for a service over what its source says. A nil field was not set.
type Override struct {
	Replicas *int         `json:"replicas,omitempty" minimum:"0" maximum:"100"`
	Memory   *int64       `json:"memory,omitempty" minimum:"16777216" doc:"bytes"`
	MilliCPU *int64       `json:"milli_cpu,omitempty" minimum:"10" doc:"thousandths of a core"`
	Port     *int         `json:"port,omitempty" minimum:"1" maximum:"65535"`
	Health   *spec.Health `json:"health,omitempty"`
	Public   *bool        `json:"public,omitempty"`
	Nonce    string       `json:"-"` // raised by restart
}

// Overrides reads what people set for the services of an environment, by service.
func (s *Service) Overrides(ctx context.Context, q pg.Querier, actor identity.Actor, environment uuid.UUID) (map[string]Override, error) {
	all, err := s.OverridesOf(ctx, q, actor, environment)
	if err != nil {
		return nil, err
	}
	if all[environment] == nil {
		return map[string]Override{}, nil
	}
	return all[environment], nil
}

// OverridesOf reads what people set for the services of environments, by environment and service.
func (s *Service) OverridesOf(ctx context.Context, q pg.Querier, actor identity.Actor, environments ...uuid.UUID) (map[uuid.UUID]map[string]Override, error) {
	rows, err := pg.All[overrideRow](ctx, q, selectOverrides, pg.Args{"organization": actor.OrganizationID, "environments": environments})
	if err != nil {
		return nil, fmt.Errorf("read service settings: %w", err)
	}
	all := map[uuid.UUID]map[string]Override{}
	for _, row := range rows {
		o := Override{Replicas: row.Replicas, Memory: row.Memory, MilliCPU: row.MilliCPU, Port: row.Port, Public: row.Public, Nonce: row.Nonce}
		if row.Health != nil {
			o.Health = &spec.Health{}
			if err := json.Unmarshal(row.Health, o.Health); err != nil {
				return nil, fmt.Errorf("read health check of %s: %w", row.Name, err)
			}
		}
		if all[row.EnvironmentID] == nil {
			all[row.EnvironmentID] = map[string]Override{}
		}
		all[row.EnvironmentID][row.Name] = o
	}
	return all, nil
}

// SetOverride stores in tx what people set for a service, as a whole.
func (s *Service) SetOverride(ctx context.Context, tx pgx.Tx, actor identity.Actor, environment uuid.UUID, service string, o Override) error {
	var health []byte
	if o.Health != nil {
		var err error
		if health, err = json.Marshal(o.Health); err != nil {
			return fmt.Errorf("render health check: %w", err)
		}
	}
	_, err := pg.Exec(ctx, tx, upsertOverride, pg.Args{
		"organization": actor.OrganizationID, "environment": environment, "name": service, "replicas": o.Replicas, "memory": o.Memory,
		"milli_cpu": o.MilliCPU, "port": o.Port, "health": health, "public": o.Public, "nonce": o.Nonce,
	})
	if err != nil {
		return fmt.Errorf("store service settings: %w", err)
	}
	return nil
}

// Check refuses settings that no service may have.
func (o Override) Check() error {
	switch {
	case o.Replicas != nil && (*o.Replicas < 0 || *o.Replicas > 100):
		return fault.New(fault.Invalid, "replicas_invalid", "A service has 0 to 100 replicas.").At("body.replicas", "0 to 100")
	case o.Port != nil && (*o.Port < 1 || *o.Port > 65535):
		return fault.New(fault.Invalid, "port_invalid", "A port is a number from 1 to 65535.").At("body.port", "1 to 65535")
	case o.Memory != nil && (*o.Memory < 16<<20 || *o.Memory > 1<<40):
		return fault.New(fault.Invalid, "memory_invalid", "A memory limit is at least 16 MiB.").At("body.memory", "bytes, at least 16777216")
	case o.MilliCPU != nil && (*o.MilliCPU < 10 || *o.MilliCPU > 1_000_000):
		return fault.New(fault.Invalid, "cpu_invalid", "A CPU limit is at least 10 thousandths of a core.").At("body.milli_cpu", "at least 10")
	}
	return nil
}

type overrideRow struct {
	EnvironmentID uuid.UUID `db:"environment_id"`
	Name          string    `db:"name"`
	Replicas      *int      `db:"replicas"`
	Memory        *int64    `db:"memory"`
	MilliCPU      *int64    `db:"milli_cpu"`
	Port          *int      `db:"port"`
	Health        []byte    `db:"health"`
	Public        *bool     `db:"public"`
	Nonce         string    `db:"nonce"`
}

const selectOverrides = `
	select environment_id, name, replicas, memory, milli_cpu, port, health, public, nonce from projects.services
	where organization_id = @organization and environment_id = any(@environments)`

const upsertOverride = `
	insert into projects.services (organization_id, environment_id, name, replicas, memory, milli_cpu, port, health, public, nonce)
	values (@organization, @environment, @name, @replicas, @memory, @milli_cpu, @port, @health, @public, @nonce)
	on conflict (environment_id, name) do update
	set replicas = excluded.replicas, memory = excluded.memory, milli_cpu = excluded.milli_cpu, port = excluded.port,
	    health = excluded.health, public = excluded.public, nonce = excluded.nonce, updated_at = now()`
