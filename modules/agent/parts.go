package agent

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"pandu/modules/agent/internal/backoff"
)

// parts are what runs, in the order in which it was started.
type parts struct {
	logger  *slog.Logger
	running []part
}

type part struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// start runs a part until stop, again after a failure. The end of ctx alone does not end it: stop does, in order.
func (p *parts) start(ctx context.Context, name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	one := part{cancel: cancel, done: make(chan struct{})}
	p.running = append(p.running, one)
	go func() {
		defer close(one.done)
		wait := &backoff.Backoff{}
		for {
			err := run(ctx)
			if ctx.Err() != nil {
				return
			}
			if err == nil {
				err = errors.New("it ended by itself")
			}
			pause := wait.Next()
			p.logger.Error("part of the agent failed", "part", name, "error", err, "retry_in", pause)
			if !backoff.Sleep(ctx, pause) {
				return
			}
		}
	}()
}

// stop ends the parts, the last one first, each before the one it may need.
func (p *parts) stop() {
	for _, one := range slices.Backward(p.running) {
		one.cancel()
		<-one.done
	}
	p.running = nil
}
