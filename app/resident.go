package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"

	"pandu/modules/agent"
	"pandu/modules/gateway"
	"pandu/modules/kit/fault"
	"pandu/modules/kit/jointoken"
	"pandu/modules/manager/identity"
)

// newGateway serves visitors in this process. Beside it nothing of the program is needed.
func (p *Process) newGateway() (Service, error) {
	// Its heap is the route table, which lives long; collecting it sooner keeps many routes small.
	debug.SetGCPercent(50)
	g := gateway.New(gateway.Options{
		Dir: p.cfg.Gateway.Dir, HTTPAddress: p.cfg.Gateway.HTTPListen, TrustedProxies: p.cfg.Gateway.TrustedProxies,
		DrainTimeout: p.cfg.Drain.Timeout, Logger: p.log, Version: p.version,
	})
	p.ops.Show("gateway", func() any { return g.Status() })
	return newResident("gateway", g.Run), nil
}

// newAgent keeps this machine's Docker and gateway like the desired state.
func (p *Process) newAgent() (Service, error) {
	executable, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own program: %w", err)
	}
	a, err := agent.New(agent.Options{
		Managers: p.managers(), JoinToken: p.joinToken, Dir: filepath.Join(p.cfg.DataDir, "agent"), Docker: p.cfg.Agent.DockerHost,
		SubnetPool: p.cfg.Agent.SubnetPool, GatewayDir: p.cfg.Gateway.Dir, StartGateway: p.startsGateway(), GatewayEnv: p.gatewayEnv(),
		Executable: executable, BuildConcurrency: p.cfg.Agent.BuildConcurrency, Version: p.version, Logger: p.log,
	})
	if err != nil {
		return nil, err
	}
	p.ops.Show("agent", func() any { return a.State() })
	return newResident("agent", a.Run), nil
}

// startsGateway reports whether the agent starts a gateway when it finds none: where no other unit is there to do so.
// The process with the number 1 is a container's, whose gateway is another container; but when it is everything at once.
func (p *Process) startsGateway() bool {
	return p.mode.Empty() || (!p.mode.Resident(residentGate) && os.Getpid() != 1)
}

// gatewayEnv are the settings of a gateway that the agent starts. It has no ops port: ours would be taken.
func (p *Process) gatewayEnv() []string {
	return []string{
		"PANDU_DATA_DIR=" + p.cfg.DataDir, "PANDU_GATEWAY_DIR=" + p.cfg.Gateway.Dir, "PANDU_GATEWAY_HTTP_LISTEN=" + p.cfg.Gateway.HTTPListen,
		"PANDU_LOG_LEVEL=" + p.cfg.Log.Level, "PANDU_LOG_FORMAT=json", "PANDU_OPS_LISTEN=",
	}
}

// managers are whom the agent calls: this process itself when it is a manager.
func (p *Process) managers() []string {
	if len(p.cfg.Agent.Managers) > 0 || p.agents == nil {
		return p.cfg.Agent.Managers
	}
	_, port, err := net.SplitHostPort(p.agents.bound.String())
	if err != nil {
		return nil
	}
	return []string{net.JoinHostPort("127.0.0.1", port)}
}

// joinToken is what this machine joins with: the one in the settings, or in an all-in-one process one of its own making.
func (p *Process) joinToken(ctx context.Context) (string, error) {
	if !p.cfg.Agent.JoinToken.IsZero() || p.agents == nil {
		return p.cfg.Agent.JoinToken.Reveal(), nil
	}
	token, err := p.localToken(ctx)
	if err != nil {
		return "", err
	}
	return token.Encode(), nil
}

// localServer is the name of the machine that an all-in-one process runs on.
const localServer = "local"

func (p *Process) localToken(ctx context.Context) (jointoken.Token, error) {
	actor := identity.System([16]byte{}, "local agent")
	_, token, err := p.rooms.servers.Add(ctx, actor, localServer)
	if fault.KindOf(err) == fault.Conflict { // it joined before and lost its certificate
		return p.rooms.servers.Rejoin(ctx, actor, localServer)
	}
	return token, err
}

// resident is something that runs until its context ends, as a Service.
type resident struct {
	name   string
	run    func(ctx context.Context) error
	cancel context.CancelFunc
	done   chan struct{}
	ended  chan error
}

func newResident(name string, run func(ctx context.Context) error) *resident {
	return &resident{name: name, run: run, done: make(chan struct{}), ended: make(chan error, 1)}
}

// Name is the name.
func (r *resident) Name() string { return r.name }

// Ended gives what it ended with, when nobody had asked it to.
func (r *resident) Ended() <-chan error { return r.ended }

// Start runs it.
func (r *resident) Start(ctx context.Context) error {
	ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(r.done)
		if err := r.run(ctx); ctx.Err() == nil {
			r.ended <- errors.Join(errors.New("it ended by itself"), err)
		}
	}()
	return nil
}

// Stop ends it and waits.
func (r *resident) Stop(ctx context.Context) error {
	r.cancel()
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
