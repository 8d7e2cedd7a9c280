package agent

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/agentv1/agentv1connect"
	"pandu/modules/agent/converge"
	"pandu/modules/agent/internal/backoff"
	"pandu/modules/agent/internal/builds"
	"pandu/modules/agent/internal/link"
	"pandu/modules/agent/internal/logs"
	"pandu/modules/agent/internal/registry"
)

// Run starts every part in order and keeps it running until ctx ends, then stops them in reverse. A part that fails is
// started again, with growing pauses; the others go on meanwhile. Containers and gateway are left as they are.
func (a *Agent) Run(ctx context.Context) error {
	parts := &parts{logger: a.options.Logger}
	// What was asked for last is served before anybody can be asked again.
	a.desired(agentv1.Stream_STREAM_ROUTES)
	parts.start(ctx, "gateway control", a.gateway.Run)
	parts.start(ctx, "identity", a.identity.Run)
	select {
	case <-ctx.Done():
	case <-a.identity.Joined():
		a.work(ctx, parts)
		<-ctx.Done()
	}
	parts.stop()
	a.bulk.CloseIdleConnections()
	return a.Close()
}

// work starts what needs the server's id. It returns early when ctx ends.
func (a *Agent) work(ctx context.Context, parts *parts) {
	proxy := retry(ctx, a, "registry", a.openRegistry)
	if proxy == nil {
		return
	}
	parts.start(ctx, "registry", proxy.Run)
	converger := retry(ctx, a, "converge", func() (*converge.Converger, error) { return a.openConverger(proxy.Address()) })
	if converger == nil {
		return
	}
	a.desired(agentv1.Stream_STREAM_INSTANCES)
	parts.start(ctx, "converge", converger.Run)
	parts.start(ctx, "news", func(ctx context.Context) error { return a.passNews(ctx, converger) })
	parts.start(ctx, "link", a.link.Run)
	store := retry(ctx, a, "logs", a.openLogs)
	if store == nil {
		return
	}
	parts.start(ctx, "logs", store.Run)
	builder := retry(ctx, a, "builds", func() (*builds.Service, error) { return a.openBuilds(store, proxy.Address()) })
	if builder == nil {
		return
	}
	parts.start(ctx, "builds", builder.Run)
}

// retry opens a part until it succeeds: a full disk or a taken port is no reason to let go of the rest. nil: ctx ended.
func retry[T any](ctx context.Context, a *Agent, name string, open func() (*T, error)) *T {
	wait := &backoff.Backoff{}
	for {
		opened, err := open()
		if err == nil {
			return opened
		}
		a.options.Logger.ErrorContext(ctx, "part of the agent cannot be opened", "part", name, "error", err)
		if !wait.Wait(ctx) {
			return nil
		}
	}
}

func (a *Agent) openRegistry() (*registry.Service, error) {
	return registry.New(registry.Deps{
		Dir: filepath.Join(a.options.Dir, "registry"), Port: a.options.RegistryPort, Transport: a.bulk,
		Upstream: func() string { return "https://" + a.bulk.Address() }, Logger: a.options.Logger,
	})
}

func (a *Agent) openConverger(registryAddress string) (*converge.Converger, error) {
	engine, err := converge.Open(a.options.Docker)
	if err != nil {
		return nil, err
	}
	c, err := converge.New(converge.Deps{
		Docker: engine, ServerID: a.identity.ServerID(), Dir: filepath.Join(a.options.Dir, "converge"), Pool: a.options.SubnetPool,
		Registry: registryAddress, Secrets: a.variables, InFlight: a.gateway.InFlight, Logger: a.options.Logger, Now: a.options.Now,
	})
	if err != nil {
		return nil, errors.Join(err, engine.Close())
	}
	a.engine = engine
	a.converger.Store(c)
	return c, nil
}

func (a *Agent) openLogs() (*logs.Service, error) {
	store, err := logs.New(logs.Deps{
		Docker: a.options.Docker, Server: a.identity.ServerID(), Dir: filepath.Join(a.options.Dir, "logs"),
		Logger: a.options.Logger, Now: a.options.Now,
	})
	if err == nil {
		a.logs.Store(store)
	}
	return store, err
}

func (a *Agent) openBuilds(store *logs.Service, registryAddress string) (*builds.Service, error) {
	return builds.New(builds.Deps{
		Docker: a.options.Docker, Client: agentv1connect.NewBuildServiceClient(a.client()),
		Secrets: agentv1connect.NewSecretServiceClient(a.client()), Logs: store, Registry: registryAddress,
		Dir: filepath.Join(a.options.Dir, "builds"), Concurrency: a.options.BuildConcurrency, Self: a.options.Executable,
		Logger: a.options.Logger, Now: a.options.Now,
	})
}

// forgetAfter is how long a tombstone that was carried out is still reported as gone.
const forgetAfter = 10 * time.Minute

// passNews tells link and gateway what the others found out.
func (a *Agent) passNews(ctx context.Context, c *converge.Converger) error {
	tidy := time.NewTicker(time.Minute)
	defer tidy.Stop()
	gone := map[string]time.Time{}
	// A crash may have come between a change and its way to the gateway. An empty beginning proves nothing.
	if addresses, networks := c.Addresses(); len(addresses) > 0 {
		a.gateway.SetAddresses(addresses, networks)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.Changed():
			a.link.Changed()
		case <-c.AddressesChanged():
			a.gateway.SetAddresses(c.Addresses())
			a.link.Changed()
		case <-a.server:
			a.link.Changed()
		case <-a.identity.Renewed():
			a.bulk.CloseIdleConnections()
		case <-tidy.C:
			if a.link.State().Phase == link.Connected {
				a.forget(gone)
			}
		}
	}
}

// forget drops tombstones that were carried out and reported for long enough, so that the ledger does not grow with
// every deployment. gone holds since when each is known to be.
func (a *Agent) forget(gone map[string]time.Time) {
	now := a.options.Now()
	var old []string
	here := map[string]bool{}
	for _, key := range a.carriedOut() {
		here[key] = true
		if since, known := gone[key]; !known {
			gone[key] = now
		} else if now.Sub(since) > forgetAfter {
			old = append(old, key)
		}
	}
	for key := range gone {
		if !here[key] {
			delete(gone, key)
		}
	}
	if len(old) > 0 {
		a.ledger.CarriedOut(agentv1.Stream_STREAM_INSTANCES, old...)
		a.desired(agentv1.Stream_STREAM_INSTANCES)
	}
}

func (a *Agent) carriedOut() []string {
	var keys []string
	instances, others := a.statuses()
	for _, s := range instances {
		if s.GetState() == agentv1.InstanceState_INSTANCE_STATE_GONE {
			keys = append(keys, "instance/"+s.GetInstanceId())
		}
	}
	for _, s := range others {
		if s.GetState() == agentv1.KeyStatus_STATE_GONE {
			keys = append(keys, s.GetKey())
		}
	}
	return keys
}
