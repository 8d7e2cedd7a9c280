package routing

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
	"pandu/modules/manager/audit"
	"pandu/modules/manager/identity"
	"pandu/modules/spec"
)

// Kinds of hostname.
const (
	Auto   = "auto"   // ours, below the apps domain; made and removed with what it names
	Custom = "custom" // the tenant's own
)

// Domain is a hostname claimed by an environment.
type Domain struct {
	ID            uuid.UUID `json:"id" db:"id"`
	EnvironmentID uuid.UUID `json:"-" db:"environment_id"`
	Hostname      string    `json:"hostname" db:"hostname"`
	Service       string    `json:"service,omitempty" db:"service" doc:"empty: the public one"`
	Kind          string    `json:"kind" enum:"auto,custom" db:"kind"`
	URL           string    `json:"url" db:"-"`
	CreatedAt     time.Time `json:"created_at" db:"created_at"`
}

// maxDomains bounds the hostnames of one environment.
const maxDomains = 100

// AutoHost is the automatic hostname of a label.
func (s *Service) AutoHost(label string) string { return label + "." + s.AppsDomain }

// URL is where visitors find a hostname.
func (s *Service) URL(hostname string) string {
	scheme, usual := "http", 80
	if s.Secure {
		scheme, usual = "https", 443
	}
	if s.Port == 0 || s.Port == usual {
		return scheme + "://" + hostname
	}
	return scheme + "://" + net.JoinHostPort(hostname, strconv.Itoa(s.Port))
}

// ClaimAuto claims in tx the automatic hostname of a label for a service ("" for the public one). It is Conflict when
// somebody has it, also a tenant one may not see: names are global.
func (s *Service) ClaimAuto(ctx context.Context, tx pgx.Tx, actor identity.Actor, environment uuid.UUID, label, service string) error {
	_, err := s.claim(ctx, tx, actor, environment, s.AutoHost(label), service, Auto)
	return err
}

// Add claims a hostname of the tenant's own for an environment.
func (s *Service) Add(ctx context.Context, tx pgx.Tx, actor identity.Actor, environment uuid.UUID, hostname, service string) (Domain, error) {
	host, err := spec.Hostname(hostname)
	if err != nil {
		return Domain{}, err
	}
	if host == s.PanelHost || host == s.AppsDomain || strings.HasSuffix(host, "."+s.AppsDomain) {
		return Domain{}, fault.Newf(fault.Invalid, "hostname_ours", "%s belongs to this platform. Use a hostname of your own; the names below %s are given with projects.", host, s.AppsDomain).
			With("hostname", host)
	}
	count, err := pg.Value[int](ctx, tx, countDomains, pg.Args{"organization": actor.OrganizationID, "environment": environment})
	if err != nil {
		return Domain{}, fmt.Errorf("count domains: %w", err)
	}
	if count >= maxDomains {
		return Domain{}, fault.Newf(fault.Limit, "too_many_domains", "An environment has at most %d hostnames.", maxDomains)
	}
	d, err := s.claim(ctx, tx, actor, environment, host, service, Custom)
	if err != nil {
		return Domain{}, err
	}
	return d, audit.Record(ctx, tx, actor.Event("domain.add", "domain", d.ID, host, nil))
}

func (s *Service) claim(ctx context.Context, tx pgx.Tx, actor identity.Actor, environment uuid.UUID, host, service, kind string) (Domain, error) {
	row, err := pg.One[Domain](ctx, tx, insertHostname, pg.Args{
		"id": pg.NewID(), "organization": actor.OrganizationID, "environment": environment, "hostname": host, "service": service, "kind": kind,
	})
	if pg.None(err) { // somebody has it; not an error of the statement, so tx goes on
		return Domain{}, fault.Newf(fault.Conflict, "hostname_taken", "%s is taken. Choose another.", host).With("hostname", host)
	}
	if err != nil {
		return Domain{}, fmt.Errorf("claim hostname: %w", err)
	}
	row.URL = s.URL(row.Hostname)
	return row, nil
}

// Remove gives a hostname of the tenant's own back.
func (s *Service) Remove(ctx context.Context, tx pgx.Tx, actor identity.Actor, environment, id uuid.UUID) error {
	host, err := pg.Value[string](ctx, tx, deleteHostname, pg.Args{"organization": actor.OrganizationID, "environment": environment, "id": id})
	if pg.None(err) {
		return fault.New(fault.NotFound, "domain_not_found", "There is no such hostname of your own here.")
	}
	if err != nil {
		return fmt.Errorf("delete hostname: %w", err)
	}
	return audit.Record(ctx, tx, actor.Event("domain.remove", "domain", id, host, nil))
}

// Release gives back in tx all that an environment holds: hostnames and port.
func (s *Service) Release(ctx context.Context, tx pgx.Tx, actor identity.Actor, environment uuid.UUID) error {
	args := pg.Args{"organization": actor.OrganizationID, "environment": environment}
	if _, err := pg.Exec(ctx, tx, releaseHostnames, args); err != nil {
		return fmt.Errorf("release hostnames: %w", err)
	}
	if _, err := pg.Exec(ctx, tx, deletePort, args); err != nil {
		return fmt.Errorf("release port: %w", err)
	}
	return nil
}

// ReleaseAuto gives back in tx the automatic hostnames of services that an environment no longer has.
func (s *Service) ReleaseAuto(ctx context.Context, tx pgx.Tx, actor identity.Actor, environment uuid.UUID, keep []string) error {
	_, err := pg.Exec(ctx, tx, releaseAuto, pg.Args{"organization": actor.OrganizationID, "environment": environment, "keep": append([]string{""}, keep...)})
	if err != nil {
		return fmt.Errorf("release automatic hostnames: %w", err)
	}
	return nil
}

// Domains lists the hostnames of environments, oldest first, by environment.
func (s *Service) Domains(ctx context.Context, q pg.Querier, actor identity.Actor, environments ...uuid.UUID) (map[uuid.UUID][]Domain, error) {
	rows, err := pg.All[Domain](ctx, q, selectHostnames, pg.Args{"organization": actor.OrganizationID, "environments": environments})
	if err != nil {
		return nil, fmt.Errorf("list domains: %w", err)
	}
	all := map[uuid.UUID][]Domain{}
	for _, d := range rows {
		d.URL = s.URL(d.Hostname)
		all[d.EnvironmentID] = append(all[d.EnvironmentID], d)
	}
	return all, nil
}

// Free reports whether nobody holds a hostname now. Only a claim decides.
func (s *Service) Free(ctx context.Context, hostname string) (bool, error) {
	taken, err := pg.Value[bool](ctx, s.DB.Pool, existsHostname, pg.Args{"hostname": hostname})
	if err != nil {
		return false, fmt.Errorf("look up hostname: %w", err)
	}
	return !taken, nil
}

// AllocatePort gives an environment a port of its own in its group; the one it has already stays.
func (s *Service) AllocatePort(ctx context.Context, tx pgx.Tx, actor identity.Actor, environment, group uuid.UUID) (int, error) {
	args := pg.Args{"group": group, "organization": actor.OrganizationID, "environment": environment, "first": s.Ports.First, "last": s.Ports.Last}
	// One at a time: all would look at the same gap, and only one of them would have it.
	if _, err := pg.Exec(ctx, tx, lockPorts, args); err != nil {
		return 0, fmt.Errorf("lock ports: %w", err)
	}
	port, err := pg.Value[int](ctx, tx, allocatePort, args)
	if pg.None(err) {
		return 0, fault.New(fault.Limit, "ports_used_up", "All ports for projects are in use. An operator can widen the range.")
	}
	if err != nil {
		return 0, fmt.Errorf("allocate port: %w", err)
	}
	return port, nil
}

// FreePort takes an environment's own port away.
func (s *Service) FreePort(ctx context.Context, tx pgx.Tx, actor identity.Actor, environment uuid.UUID) error {
	_, err := pg.Exec(ctx, tx, deletePort, pg.Args{"organization": actor.OrganizationID, "environment": environment})
	if err != nil {
		return fmt.Errorf("free port: %w", err)
	}
	return nil
}

// OwnPort is the port of an environment's own, 0 when it has none.
func (s *Service) OwnPort(ctx context.Context, q pg.Querier, actor identity.Actor, environment uuid.UUID) (int, error) {
	port, err := pg.Value[int](ctx, q, selectPort, pg.Args{"organization": actor.OrganizationID, "environment": environment})
	if pg.None(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read port: %w", err)
	}
	return port, nil
}
