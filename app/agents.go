package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/google/uuid"

	"pandu/modules/kit/fault"
	"pandu/modules/manager/deployments"
	"pandu/modules/manager/servers"
	"pandu/modules/manager/storage"
)

// agentsServer is where agents and other managers connect, over mutual TLS only.
type agentsServer struct {
	p        *Process
	http     *http.Server
	registry *storage.Registry
	bound    net.Addr
	ended    chan error
	cancel   context.CancelFunc
	routed   chan struct{}
}

// newAgentsServer serves the agents' doors and the registry.
func (p *Process) newAgentsServer() (Service, error) {
	p.agents = &agentsServer{p: p, ended: make(chan error, 1), routed: make(chan struct{})}
	return p.agents, nil
}

// Name is the name.
func (a *agentsServer) Name() string { return "agents" }

// Ended gives what the server ended with.
func (a *agentsServer) Ended() <-chan error { return a.ended }

// Start listens and begins to hand notifications on to the sessions.
func (a *agentsServer) Start(ctx context.Context) error {
	r := a.p.rooms
	authority, err := r.identity.CA(ctx)
	if err != nil {
		return err
	}
	if a.registry, err = r.storage.Registry(context.WithoutCancel(ctx), a.mayImage); err != nil {
		return err
	}
	mux := http.NewServeMux()
	r.servers.Mount(mux)
	r.deployments.Mount(mux)
	mux.Handle("/v2/", a.registry)
	a.http = &http.Server{
		Handler: r.servers.Identify(mux), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(a.p.log.Handler(), slog.LevelDebug), // a port scan is no news
	}
	var listening net.ListenConfig
	l, err := listening.Listen(ctx, "tcp", a.p.cfg.Agents.Listen)
	if err != nil {
		return fmt.Errorf("listen for agents: %w", err)
	}
	a.bound = l.Addr()
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a.cancel = cancel
	// Streams last as long as their sessions, so the drain ends them by their context.
	a.http.BaseContext = func(net.Listener) context.Context { return running }
	go a.route(running)
	go func() {
		if err := a.http.Serve(tls.NewListener(l, authority.ManagerConfig(nil))); !errors.Is(err, http.ErrServerClosed) {
			a.ended <- err
		}
	}()
	return nil
}

// Stop ends every session; agents go to another manager, or come back.
func (a *agentsServer) Stop(ctx context.Context) error {
	a.cancel()
	<-a.routed
	bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := a.http.Shutdown(bounded)
	if err != nil {
		err = a.http.Close()
	}
	return errors.Join(err, a.registry.Close())
}

// route hands what the database notifies of to whoever waits for it in this process.
func (a *agentsServer) route(ctx context.Context) {
	defer close(a.routed)
	sub := a.p.hub.Subscribe(servers.NoticeServer, deployments.NoticeBuild)
	defer sub.Close()
	r := a.p.rooms
	for {
		batch, err := sub.Next(ctx)
		if err != nil {
			return
		}
		if batch.Reset {
			r.servers.WakeAll()
			r.deployments.WakeBuilds(uuid.Nil)
		}
		for _, note := range batch.Notes {
			if note.Kind == servers.NoticeServer {
				r.servers.Wake(note.ID)
			} else {
				r.deployments.WakeBuilds(note.ID)
			}
		}
	}
}

// mayImage decides about one request to the registry: a server pushes only to the repository of a build that it holds,
// and pulls only what it shall run.
func (a *agentsServer) mayImage(r *http.Request, repository string, push bool, _ string) error {
	server, err := servers.Caller(r.Context())
	if err != nil {
		return err
	}
	ok, err := a.p.rooms.deployments.MayImage(r.Context(), server, repository, push)
	if err != nil {
		return err
	}
	if !ok {
		return fault.New(fault.NotFound, "image_not_found", "There is no such image for this server.")
	}
	return nil
}
