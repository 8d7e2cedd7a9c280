package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	headerTimeout     = 10 * time.Second // for a request's header, from its first byte or the connection's start
	keepAliveTimeout  = 75 * time.Second // between requests of a visitor's connection
	maxRequestHeaders = 64 << 10         // in bytes
)

// ports are the listening sockets: the shared addresses and, on the same hosts, the ports of their own. reconcile and
// problems are used under the gateway's lock.
type ports struct {
	gateway *Gateway
	slots   chan struct{}   // one per visitor's connection
	base    context.Context //nolint:containedctx // of every request
	open    map[string]*opening
	failed  map[string]error
	servers sync.WaitGroup
}

type opening struct {
	listener net.Listener
	server   *http.Server
}

// newPorts takes the context of every request to come; its end cuts them off.
func newPorts(base context.Context, g *Gateway) *ports {
	return &ports{
		gateway: g, base: base, slots: make(chan struct{}, g.options.MaxConnections),
		open: map[string]*opening{}, failed: map[string]error{},
	}
}

// reconcile opens what t needs and is not open, and closes what it no longer needs. A port that cannot be opened is
// noted and tried again at the next call.
func (p *ports) reconcile(t *table) {
	wanted := p.wanted(t)
	clear(p.failed)
	for address, port := range wanted {
		if p.open[address] == nil {
			if err := p.listen(address, port); err != nil {
				p.failed[address] = err
			}
		}
	}
	for address, o := range p.open {
		if _, stays := wanted[address]; !stays {
			delete(p.open, address)
			p.retire(o)
		}
	}
}

// wanted maps addresses to the port by which the table knows them; 0 for the shared ones.
func (p *ports) wanted(t *table) map[string]uint16 {
	wanted := map[string]uint16{}
	for _, address := range p.gateway.shared {
		wanted[address] = 0
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			continue // listening says what is wrong with it
		}
		for port := range t.ports {
			own := net.JoinHostPort(host, strconv.Itoa(int(port)))
			if !slices.Contains(p.gateway.shared, own) {
				wanted[own] = port
			}
		}
	}
	return wanted
}

func (p *ports) listen(address string, port uint16) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	limited := &limitedListener{Listener: listener, slots: p.slots, closed: make(chan struct{})}
	o := &opening{listener: limited, server: p.newServer(port)}
	p.open[address] = o
	p.servers.Go(func() {
		if err := o.server.Serve(limited); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			p.gateway.logger.Error("listener ended", "address", address, "error", err)
		}
	})
	return nil
}

// newServer has no limit for whole requests or responses: streams, uploads and sockets last as long as they need.
func (p *ports) newServer(port uint16) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:                      &door{p.gateway, port},
		Protocols:                    &protocols,
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            headerTimeout,
		IdleTimeout:                  keepAliveTimeout,
		MaxHeaderBytes:               maxRequestHeaders,
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: 250, SendPingTimeout: time.Minute, WriteByteTimeout: time.Minute},
		BaseContext:                  func(net.Listener) context.Context { return p.base },
		ErrorLog:                     slog.NewLogLogger(p.gateway.logger.Handler(), slog.LevelDebug),
	}
}

// retire closes a port for new connections and lets the requests on it finish.
func (p *ports) retire(o *opening) {
	_ = o.listener.Close()
	p.servers.Go(func() { p.shutdown(p.base, o) })
}

// shutdown ends a server: gently while ctx lasts and the time to drain is not over, then at once.
func (p *ports) shutdown(ctx context.Context, o *opening) {
	ctx, cancel := context.WithTimeout(ctx, p.gateway.options.DrainTimeout)
	defer cancel()
	if err := o.server.Shutdown(ctx); err != nil {
		_ = o.server.Close()
	}
}

// stopAccepting closes every socket; the requests on their connections go on.
func (p *ports) stopAccepting() {
	for _, o := range p.open {
		_ = o.listener.Close()
	}
}

// drain ends every server and waits for it.
func (p *ports) drain(ctx context.Context) {
	for _, o := range p.open {
		p.servers.Go(func() { p.shutdown(ctx, o) })
	}
	p.servers.Wait()
}

// listening are the ports that are open, sorted.
func (p *ports) listening() []uint32 {
	var open []uint32
	for _, o := range p.open {
		if a, ok := o.listener.Addr().(*net.TCPAddr); ok {
			open = append(open, uint32(a.Port)) //nolint:gosec // a TCP port
		}
	}
	slices.Sort(open)
	return slices.Compact(open)
}

func (p *ports) problems() []string {
	var problems []string
	for address, err := range p.failed {
		problems = append(problems, fmt.Sprintf("Port %s cannot be opened: %v.", address, err))
	}
	slices.Sort(problems)
	return problems
}

// limitedListener takes a slot before it accepts, so that visitors beyond the limit wait in the kernel's queue instead
// of using up this process's file descriptors.
type limitedListener struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

// Accept waits for a slot, then for a connection.
func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: conn, slots: l.slots}, nil
}

// Close may be called more than once.
func (l *limitedListener) Close() error {
	err := net.ErrClosed
	l.once.Do(func() {
		close(l.closed)
		err = l.Listener.Close()
	})
	return err
}

type limitedConn struct {
	net.Conn
	slots chan struct{}
	once  sync.Once
}

// Close gives the slot back.
func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { <-c.slots })
	return err
}

// CloseWrite is what a tunnel needs to pass the end of one direction on.
func (c *limitedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
