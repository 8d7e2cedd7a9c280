package app

import (
	"context"
	"time"

	"github.com/google/uuid"

	"pandu/modules/manager/audit"
	"pandu/modules/manager/deployments"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/projects"
	"pandu/modules/manager/routing"
	"pandu/modules/manager/servers"
	"pandu/modules/manager/storage"
)

// rooms are the manager's rooms, wired in the order in which they may import one another.
type rooms struct {
	audit       *audit.Service
	identity    *identity.Service
	storage     *storage.Service
	servers     *servers.Service
	routing     *routing.Service
	projects    *projects.Service
	deployments *deployments.Service
}

// newRooms wires the rooms for every process that opens the database: creators call them as managers do.
func (p *Process) newRooms() (Service, error) {
	r := &p.rooms
	var err error
	r.audit = audit.New(p.db)
	r.identity, err = identity.New(identity.Deps{
		DB: p.db, Audit: r.audit, Log: p.log, MasterKey: p.key, PublicURL: p.cfg.PublicURL,
		Registration: identity.Registration(p.cfg.Registration), Now: time.Now,
	})
	if err != nil {
		return nil, err
	}
	if r.storage, err = storage.New(storage.Deps{DB: p.db, Identity: r.identity, Log: p.log, Dir: p.cfg.StorageDir()}); err != nil {
		return nil, err
	}
	r.servers = servers.New(servers.Deps{
		DB: p.db, Orders: p.orders, Log: p.log, Process: p.processes.ID(), Authority: r.identity.CA,
		Live: p.liveIDs, Peer: p.peerOf, AgentURL: p.cfg.Agents.Address,
	})
	r.routing = routing.New(routing.Deps{
		DB: p.db, AppsDomain: p.cfg.AppsDomain, PanelHost: p.cfg.PanelHost(), Secure: false, Port: p.cfg.Gateway.HTTPPort(),
		Ports: routing.PortRange{First: p.cfg.Gateway.ProjectPorts.First, Last: p.cfg.Gateway.ProjectPorts.Last},
	})
	r.projects = projects.New(projects.Deps{DB: p.db, Identity: r.identity, Routing: r.routing, Servers: r.servers})
	r.deployments = deployments.New(deployments.Deps{
		DB: p.db, Orders: p.orders, Log: p.log, Identity: r.identity, Storage: r.storage, Servers: r.servers,
		Routing: r.routing, Projects: r.projects,
	})
	p.ops.Show("sessions", func() any { return r.servers.Memory() })
	p.measure()
	return hooks{name: "rooms", start: p.prepareRooms}, nil
}

func (p *Process) prepareRooms(ctx context.Context) error {
	if err := p.rooms.identity.Prepare(ctx); err != nil {
		return err
	}
	if email := p.cfg.Admin.Email; email != "" {
		if err := p.rooms.identity.EnsureAdministrator(ctx, email, p.cfg.Admin.Password.Reveal()); err != nil {
			return err
		}
	}
	return p.rooms.storage.Claim(ctx, p.cfg.PeerAddress, p.cfg.DataShared, p.othersLive)
}

// othersLive reports whether a process with another data directory lives.
func (p *Process) othersLive(ctx context.Context) (bool, error) {
	live, err := p.processes.Live(ctx)
	if err != nil {
		return false, err
	}
	for _, l := range live {
		if l.DataID != p.processes.self.DataID {
			return true, nil
		}
	}
	return false, nil
}

func (p *Process) liveIDs(ctx context.Context) ([]uuid.UUID, error) {
	live, err := p.processes.Live(ctx)
	ids := make([]uuid.UUID, 0, len(live))
	for _, l := range live {
		ids = append(ids, l.ID)
	}
	return ids, err
}

func (p *Process) peerOf(ctx context.Context, process uuid.UUID) (string, error) {
	live, err := p.processes.Live(ctx)
	for _, l := range live {
		if l.ID == process {
			return l.PeerAddress, nil
		}
	}
	return "", err
}
