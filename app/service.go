package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Service is one thing that the process runs. Start returns when the service does its work, or with an error after it has
// undone what it began; ctx bounds the start only. Stop returns when nothing of it runs any more, or when ctx ends.
// Neither is called twice. A service may also be a readier or an ender.
type Service interface {
	Name() string
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
}

// readier is a service that may be running and of no use for the moment; its error says why.
type readier interface{ Ready() error }

// ender is a service that may end on its own. What it sends ends the process.
type ender interface{ Ended() <-chan error }

// row is a line of the table of services. Make is called when everything above has started; what it makes may be nil
// when there is nothing to start and stop.
type row struct {
	name string
	on   bool
	make func() (Service, error)
}

// group starts services in order and stops them in reverse.
type group struct {
	log   *slog.Logger
	ended chan error

	mu      sync.Mutex
	started []Service
}

// lastChance is what a service gets to stop when those before it have used up the time.
const lastChance = 3 * time.Second

func newGroup(log *slog.Logger) *group { return &group{log: log, ended: make(chan error, 1)} }

// start makes and starts one service after another. When one fails, those before it keep running: stop them.
func (g *group) start(ctx context.Context, rows []row) error {
	for _, r := range rows {
		if !r.on {
			continue
		}
		s, err := r.make()
		if err != nil {
			return fmt.Errorf("start %s: %w", r.name, err)
		}
		if s == nil {
			continue
		}
		began := time.Now()
		if err := s.Start(ctx); err != nil {
			return fmt.Errorf("start %s: %w", r.name, err)
		}
		g.log.Debug("service started", "service", s.Name(), "duration", time.Since(began))
		g.mu.Lock()
		g.started = append(g.started, s)
		g.mu.Unlock()
		g.watch(s)
	}
	return nil
}

// watch hands on the first unexpected end.
func (g *group) watch(s Service) {
	e, ok := s.(ender)
	if !ok {
		return
	}
	go func() {
		err, open := <-e.Ended()
		if !open {
			return
		}
		select {
		case g.ended <- fmt.Errorf("%s ended: %w", s.Name(), err):
		default:
		}
	}()
}

// services are those that run, in the order of their start.
func (g *group) services() []Service {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.started)
}

// stop stops what runs, the last started first. A service that does not stop in time does not keep the others from it.
func (g *group) stop(ctx context.Context) error {
	running := g.services()
	g.mu.Lock()
	g.started = nil
	g.mu.Unlock()
	var errs []error
	for _, s := range slices.Backward(running) {
		if err := g.stopOne(ctx, s); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", s.Name(), err))
		}
	}
	return errors.Join(errs...)
}

func (g *group) stopOne(ctx context.Context, s Service) error {
	began := time.Now()
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), lastChance)
		defer cancel()
	}
	err := s.Stop(ctx)
	g.log.Debug("service stopped", "service", s.Name(), "duration", time.Since(began))
	return err
}

// ready is nil when every service that can tell says so.
func ready(services []Service) error {
	var errs []error
	for _, s := range services {
		if r, ok := s.(readier); ok {
			if err := r.Ready(); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", s.Name(), err))
			}
		}
	}
	return errors.Join(errs...)
}

// hooks is a Service of a few functions, for things too small to be a type. Any of them may be nil.
type hooks struct {
	name  string
	start func(ctx context.Context) error
	stop  func(ctx context.Context) error
	ready func() error
}

// Name is the name.
func (h hooks) Name() string { return h.name }

// Start calls start.
func (h hooks) Start(ctx context.Context) error { return call(ctx, h.start) }

// Stop calls stop.
func (h hooks) Stop(ctx context.Context) error { return call(ctx, h.stop) }

// Ready calls ready.
func (h hooks) Ready() error {
	if h.ready == nil {
		return nil
	}
	return h.ready()
}

func call(ctx context.Context, fn func(context.Context) error) error {
	if fn == nil {
		return nil
	}
	return fn(ctx)
}
