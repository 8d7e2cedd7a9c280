// Package gateway is the reverse proxy on a server and the name server of the environments there.
//
// What it serves lies in two files that the agent writes beside it (modules/agent/agentv1, gateway.proto). It needs
// nobody else: it starts from the files alone and outlives agent, manager and database. It judges the files before it
// serves them and keeps what it served last when they are worse.
//
// It never talks to a manager, a database or Docker, starts no process, decides nothing about instances, and holds no
// request back for the log's sake. It owns the directory's gateway.sock, gateway.lock, access.log* and served-*.pb.
package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httputil"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options say where a gateway finds its files and listens. Only Dir and HTTPAddress are required.
type Options struct {
	Dir             string         // holds routes.pb, addresses.pb, gateway.sock, access.log; made when missing
	HTTPAddress     string         // the shared port, ":80"; several with commas. Ports of their own open on the same hosts
	DNSUpstreams    []string       // "192.0.2.1:53"; empty: those of /etc/resolv.conf
	TrustedProxies  []netip.Prefix // peers whose X-Forwarded-* and X-Request-Id count
	DrainTimeout    time.Duration  // for requests when the gateway ends or a port closes; 0: 25 s
	ReadyWait       time.Duration  // how long a request may wait for a ready instance; 0: 2 s
	ResponseTimeout time.Duration  // until an instance begins to answer; 0: 5 min
	MaxConnections  int            // of visitors, on all ports together; 0: 20,000
	AccessLog       AccessLog
	Logger          *slog.Logger // nil: nothing is logged
	Version         string
}

const (
	maxWaiting    = 4096        // requests that wait for a ready instance
	retryInterval = time.Second // between tries to open what could not be opened
	cutTimeout    = 5 * time.Second
)

// Gateway is made by New and run once by Run.
type Gateway struct {
	options Options
	shared  []string // the addresses of the shared ports
	logger  *slog.Logger
	now     func() time.Time
	dnsPort int // 53, but in tests

	table   atomic.Pointer[table]
	proxy   *httputil.ReverseProxy
	trust   trust
	changes *changes
	active  *activity
	waiting limit
	access  *accessLog
	started chan struct{}

	mu       sync.Mutex // everything below; Apply holds it from the first read to the last socket
	compiler *compiler
	registry *registry
	book     uint64                 // version served
	loaded   map[string]os.FileInfo // by file, what is served
	refused  map[string]error       // by file, why it is not served
	ports    *ports                 // nil until Run
	names    *nameServers           // nil until Run
	ended    bool
}

// New makes a gateway; it touches nothing yet.
func New(o Options) *Gateway {
	o = withDefaults(o)
	g := &Gateway{
		options: o, shared: addresses(o.HTTPAddress), logger: o.Logger, now: time.Now, dnsPort: 53,
		proxy: newProxy(o.Logger), trust: trust{o.TrustedProxies}, changes: newChanges(), active: newActivity(),
		waiting: limit{most: maxWaiting}, access: newAccessLog(o.Dir, o.AccessLog, o.Logger), started: make(chan struct{}),
		registry: newRegistry(o.ResponseTimeout), loaded: map[string]os.FileInfo{}, refused: map[string]error{},
	}
	g.compiler = newCompiler(g.registry)
	g.table.Store(emptyTable())
	return g
}

func withDefaults(o Options) Options {
	o.DrainTimeout = cmp.Or(o.DrainTimeout, 25*time.Second)
	o.ReadyWait = cmp.Or(o.ReadyWait, 2*time.Second)
	o.ResponseTimeout = cmp.Or(o.ResponseTimeout, 5*time.Minute)
	o.MaxConnections = cmp.Or(o.MaxConnections, 20_000)
	o.AccessLog.MaxBytes = cmp.Or(o.AccessLog.MaxBytes, defaultLogBytes)
	o.AccessLog.Files = cmp.Or(o.AccessLog.Files, defaultLogFiles)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	return o
}

func addresses(list string) []string {
	var addresses []string
	for a := range strings.SplitSeq(list, ",") {
		if a = strings.TrimSpace(a); a != "" {
			addresses = append(addresses, a)
		}
	}
	return addresses
}

// Started is closed once Run serves what was on disk.
func (g *Gateway) Started() <-chan struct{} { return g.started }

// Run serves until ctx ends, then drains: it closes every socket, lets requests finish for up to DrainTimeout and cuts
// the rest. The directory is free for the next gateway as soon as the sockets are closed. The error is a
// fault.Conflict when another gateway runs in the directory. A port that cannot be opened is no error: it is a
// problem in the status, and tried again.
func (g *Gateway) Run(ctx context.Context) error {
	if err := os.MkdirAll(g.options.Dir, 0o700); err != nil {
		return fmt.Errorf("make gateway directory: %w", err)
	}
	held, err := lock(g.options.Dir)
	if err != nil {
		return err
	}
	defer held.Close()
	base, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	go g.access.run()
	defer g.access.close()
	g.begin(base)
	control, err := g.openControl()
	if err == nil {
		close(g.started)
		g.keepOpening(ctx)
		err = control.close()
	}
	return errors.Join(err, g.end(held, cut))
}

// begin serves what is on disk.
func (g *Gateway) begin(base context.Context) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ports = newPorts(base, g)
	g.names = newNameServers(g)
	g.restore()
	g.reconcile()
	t := g.table.Load()
	g.logger.Info("gateway started", "revision", t.revision, "routes", t.routes, "ports", g.ports.listening())
}

// keepOpening tries again what could not be opened, until ctx ends: a port that another process had, the address of a
// bridge that is not there yet.
func (g *Gateway) keepOpening(ctx context.Context) {
	tick := time.NewTicker(retryInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			g.retry()
		}
	}
}

func (g *Gateway) retry() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.registry.sweep()
	if len(g.ports.failed) > 0 || len(g.names.failed) > 0 {
		g.reconcile()
	}
}

// reconcile makes the open sockets those that table and address book want.
func (g *Gateway) reconcile() {
	g.ports.reconcile(g.table.Load())
	g.names.reconcile()
}

// end drains. The lock is given back early, so that a successor serves while the last requests finish here.
func (g *Gateway) end(held *os.File, cut context.CancelFunc) error {
	g.mu.Lock()
	g.ended = true
	g.ports.stopAccepting()
	g.names.close()
	g.mu.Unlock()
	err := held.Close()

	ctx, cancel := context.WithTimeout(context.Background(), g.options.DrainTimeout)
	defer cancel()
	g.ports.drain(ctx)
	g.active.wait(ctx) // upgraded connections, which the servers do not wait for
	cut()
	ctx, cancel = context.WithTimeout(context.Background(), cutTimeout)
	defer cancel()
	g.active.wait(ctx)
	g.closeIdle()
	g.logger.Info("gateway stopped")
	return err
}

func (g *Gateway) closeIdle() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, b := range g.registry.backends {
		b.closeIdle()
	}
}
