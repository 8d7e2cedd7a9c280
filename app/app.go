// Package app puts the program together: it is the one place that knows which services a process runs and in which order.
//
// It starts them in the order of one table, stops them in reverse, answers for their health on the ops port, and keeps
// what belongs to no room: the process's own row, the HTTP server, the queue client. It decides nothing about projects,
// servers or people, and nothing below it ever asks for the mode.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"

	"pandu/config"
	"pandu/jobs"
	"pandu/modules/creator/builds"
	"pandu/modules/creator/rollouts"
	"pandu/modules/kit/pg"
	"pandu/modules/kit/secret"
)

// Options are what the command line knows and the settings do not.
type Options struct {
	Version string // of this binary
	Log     *slog.Logger
	UI      http.Handler // the dashboard; nil: none
}

// Process is one running Pandu. Fields below the line are set by the services, each before the next one is made.
type Process struct {
	cfg     *config.Config
	mode    Mode
	version string
	log     *slog.Logger
	ui      http.Handler
	group   *group
	ops     *Ops
	state   atomic.Int32
	up      chan struct{}

	dsn       secret.String // of the database, also when it is the private one
	key       secret.Key    // the master key
	db        *pg.DB
	hub       *pg.Hub
	processes *Processes
	orders    *jobs.Orders
	workers   *river.Workers       // every kind of work; nil: this binary has none
	periodic  []*river.PeriodicJob // what ticks on the leader
	panel     *echo.Echo           // rooms add their doors to it
	rooms     rooms
	rollouts  *rollouts.Rollouts
	builds    *builds.Builds
	agents    *agentsServer
	requests  *prometheus.HistogramVec

	opsServer, panelServer *server
}

const (
	stateStarting = iota
	stateReady
	stateDraining
)

// New reads the mode and refuses what cannot work, before anything starts.
func New(cfg *config.Config, o Options) (*Process, error) {
	mode, err := ParseMode(cfg.WorkerMode, jobs.Keys())
	if err != nil {
		return nil, err
	}
	if mode.Database() && !mode.Empty() && cfg.DatabaseURL.IsZero() {
		return nil, fmt.Errorf("WORKER_MODE=%s needs a database and DATABASE_URL is not set: "+
			"set it to the database that all processes share (a private one exists only with an empty WORKER_MODE)", mode)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &Process{cfg: cfg, mode: mode, version: o.Version, log: o.Log, ui: o.UI, group: newGroup(o.Log), dsn: cfg.DatabaseURL, up: make(chan struct{})}
	p.ops = newOps(p)
	return p, nil
}

// table is every service of the process in the order of their start. This is the only place that asks for the mode.
func (p *Process) table() []row {
	m := p.mode
	return []row{
		{"data directory", true, p.newDataDir},
		{"ops server", p.cfg.Ops.Listen != "", p.newOpsServer},
		{"private PostgreSQL", m.Database() && p.dsn.IsZero(), p.newPrivateDatabase},
		{"master key", m.Database(), p.newMasterKey},
		{"database", m.Database(), p.newDatabase},
		{"notifications", m.Database(), p.newNotifications},
		{"process row", m.Database(), p.newProcesses},
		{"queue", m.Database(), p.newQueue},
		{"rooms", m.Database(), p.newRooms},
		{"creators", m.Database(), p.newCreators},
		{"workers", m.Jobs(), p.newWorkers},
		{"sweeps", m.Database(), p.newSweeps},
		{"agents", m.Serving(""), p.newAgentsServer},
		{"gateway", m.Resident(residentGate) && !m.Empty(), p.newGateway}, // with an empty mode the agent starts one that outlives us
		{"agent", m.Resident(residentAgent), p.newAgent},
		{"panel", m.Serving(""), p.newPanel},
	}
}

// Run starts a process from its settings and runs it until ctx ends.
func Run(ctx context.Context, cfg *config.Config, o Options) error {
	p, err := New(cfg, o)
	if err != nil {
		return err
	}
	return p.Run(ctx)
}

// Run starts everything, waits until ctx ends or a service ends on its own, and stops everything. A drain that takes
// longer than the settings allow is cut short and is no error.
func (p *Process) Run(ctx context.Context) error {
	began := time.Now()
	err := p.group.start(ctx, p.table())
	if err != nil && ctx.Err() != nil {
		err = nil // told to stop while starting
	} else if err == nil {
		p.state.Store(stateReady)
		close(p.up)
		p.log.Info("pandu is ready", "mode", p.mode.String(), "version", p.version, "duration", time.Since(began), "url", p.cfg.PublicURL)
		err = p.wait(ctx)
	}
	p.state.Store(stateDraining)
	return errors.Join(err, p.stop(ctx, p.cfg.Drain.Timeout))
}

// wait returns nil when ctx ends, after the delay that load balancers need to notice.
func (p *Process) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		p.state.Store(stateDraining)
		p.log.Info("stopping", "delay", p.cfg.Drain.Delay, "timeout", p.cfg.Drain.Timeout)
		select {
		case <-time.After(p.cfg.Drain.Delay):
			return nil
		case err := <-p.group.ended:
			return err
		}
	case err := <-p.group.ended:
		return err
	}
}

func (p *Process) stop(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	return p.group.stop(ctx)
}

// Up is closed when every service has started.
func (p *Process) Up() <-chan struct{} { return p.up }

// Ready is nil when the process has started, is not stopping, and every service is of use.
func (p *Process) Ready() error {
	switch p.state.Load() {
	case stateStarting:
		return errors.New("starting")
	case stateDraining:
		return errors.New("stopping")
	}
	return ready(p.group.services())
}
