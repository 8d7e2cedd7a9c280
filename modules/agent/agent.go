// Package agent is the role on a server: it keeps Docker and the gateway like the desired state, reports what really
// is, builds images and hands out logs.
//
// It dials out to a manager and listens on nothing but loopback. Desired state is on its own disk, so it needs nobody to
// go on after a restart; starting and stopping it touches no container and no visitor. This package only puts the parts
// together: identity (who we are), ledger (what was asked for), link (the session), converge (Docker), gatewayctl (the
// gateway), registry, builds and logs. It decides nothing itself and reads no settings.
package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/agentv1/agentv1connect"
	"pandu/modules/agent/converge"
	"pandu/modules/agent/internal/gatewayctl"
	"pandu/modules/agent/internal/identity"
	"pandu/modules/agent/internal/ledger"
	"pandu/modules/agent/internal/link"
	"pandu/modules/agent/internal/logs"
	"pandu/modules/kit/run"
)

// Options are what an agent has to be told. Managers, Dir, Docker, GatewayDir and Executable are required.
type Options struct {
	Managers         []string                                  // host:port of the managers
	JoinToken        func(ctx context.Context) (string, error) // asked while there is no valid certificate; "" : none; nil: never
	Dir              string                                    // everything the agent keeps
	Docker           string                                    // address of the Engine, unix:///var/run/docker.sock
	SubnetPool       netip.Prefix                              // of the environments' networks; zero: converge's default
	GatewayDir       string                                    // shared with the gateway
	StartGateway     bool                                      // start one, detached, when none answers
	GatewayEnv       []string                                  // "NAME=value" for a gateway we start, beside WORKER_MODE=gateway
	Executable       string                                    // our own program, absolute: the gateway and the file server of static sites
	RegistryPort     int                                       // on loopback; 0: a free one, chosen once
	BuildConcurrency int                                       // images built at once; 0: 1
	Version          string
	Now              func() time.Time // zero: time.Now
	Logger           *slog.Logger     // nil: nothing is logged
}

// Agent is made by New and run once by Run.
type Agent struct {
	options  Options
	identity *identity.Identity
	ledger   *ledger.Ledger
	gateway  *gatewayctl.Control
	link     *link.Link
	bulk     *link.Bulk
	machine  *machine
	server   chan struct{} // the gateway's state changed

	// Made once the server's id is known.
	engine    io.Closer // the converger's connection to Docker
	converger atomic.Pointer[converge.Converger]
	logs      atomic.Pointer[logs.Service]
}

// New opens what the agent keeps in its directory; nothing runs before Run. The error is ledger.ErrInUse when another
// agent has the directory. An Agent that is not run must be closed.
func New(o Options) (*Agent, error) {
	if o.Dir == "" || o.Docker == "" || o.GatewayDir == "" || !filepath.IsAbs(o.Executable) {
		return nil, errors.New("agent needs a directory, a Docker address, a gateway directory and its own absolute path")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Agent{options: o, machine: newMachine(o.Dir, o.SubnetPool), server: make(chan struct{}, 1)}
	var err error
	a.identity, err = identity.Open(identity.Deps{
		Dir: filepath.Join(o.Dir, "identity"), Addresses: o.Managers, Token: o.JoinToken, Now: o.Now, Logger: o.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("open agent: %w", err)
	}
	if a.ledger, err = ledger.Open(filepath.Join(o.Dir, "ledger"), o.Logger); err != nil {
		return nil, fmt.Errorf("open agent: %w", err)
	}
	if err := a.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open agent: %w", err), a.ledger.Close())
	}
	return a, nil
}

func (a *Agent) open() (err error) {
	o := a.options
	a.gateway, err = gatewayctl.New(gatewayctl.Deps{
		Dir: o.GatewayDir, Start: a.gatewayCommand(), Logger: o.Logger,
		Served: func(epoch *agentv1.Epoch, revision uint64) {
			a.link.Applied(agentv1.Stream_STREAM_ROUTES, epoch, revision)
		},
		Changed: func() { notify(a.server) },
	})
	if err != nil {
		return err
	}
	a.link, err = link.New(link.Deps{
		Addresses: o.Managers, TLS: a.identity.TLS(), Ledger: a.ledger, Version: o.Version,
		Capabilities: []string{"run", "build", "gateway"}, Server: a.serverInfo, Statuses: a.statuses, Desired: a.desired,
		Logs: a.readLog, Logger: o.Logger,
	})
	if err != nil {
		return err
	}
	a.bulk = a.link.Transport()
	return nil
}

// gatewayCommand is how a gateway is started; nil where somebody else does.
func (a *Agent) gatewayCommand() *run.Command {
	if !a.options.StartGateway {
		return nil
	}
	return &run.Command{
		Path: a.options.Executable, Args: []string{"serve"}, Env: append([]string{"WORKER_MODE=gateway"}, a.options.GatewayEnv...),
	}
}

// Close gives the directory back. Run does so by itself.
func (a *Agent) Close() error {
	err := a.ledger.Close()
	if a.engine != nil {
		err = errors.Join(err, a.engine.Close())
	}
	return err
}

// StopGateway ends the gateway of this machine that serves from a directory, and returns its process id, 0 when none
// runs. The agent would start another one, so it is stopped first.
func StopGateway(ctx context.Context, dir string) (pid int, err error) {
	return gatewayctl.Stop(ctx, dir)
}

// desired hands a stream that changed to whoever carries it out. A stream of which nothing was ever accepted (a new
// server, or a ledger that was put aside) is not an empty one: nobody hears of it.
func (a *Agent) desired(stream agentv1.Stream) {
	entries, head := a.ledger.Entries(stream), a.ledger.Head(stream)
	if head.Epoch.GetNumber() == 0 {
		return
	}
	if stream == agentv1.Stream_STREAM_ROUTES {
		a.gateway.SetRoutes(head.Epoch, head.Revision, entries)
		return
	}
	if c := a.converger.Load(); c != nil {
		c.SetDesired(entries)
	}
}

func (a *Agent) statuses() ([]*agentv1.InstanceStatus, []*agentv1.KeyStatus) {
	if c := a.converger.Load(); c != nil {
		return c.Statuses()
	}
	return nil, nil
}

func (a *Agent) readLog(ctx context.Context, req *agentv1.LogRequest, send func(*agentv1.LogChunk) error) error {
	store := a.logs.Load()
	if store == nil {
		return errors.New("logs are not open yet")
	}
	return store.Read(ctx, req, send)
}

const maxMessage = 4 << 20 // bytes

func (a *Agent) client() (connect.HTTPClient, string, connect.ClientOption) {
	return &http.Client{Transport: a.bulk}, "https://manager", connect.WithReadMaxBytes(maxMessage)
}

// variables fetches the variables of an instance; they are kept nowhere.
func (a *Agent) variables(ctx context.Context, instanceID string) (map[string]string, error) {
	client := agentv1connect.NewSecretServiceClient(a.client())
	res, err := client.Variables(ctx, connect.NewRequest(&agentv1.VariablesRequest{InstanceId: instanceID}))
	if err != nil {
		return nil, fmt.Errorf("fetch variables: %w", err)
	}
	return res.Msg.GetVariables(), nil
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
