package managertest

import (
	"errors"
	"net"
	"sync"
	"testing"
)

// Proxy passes TCP on to a manager, as a load balancer does, and can fail like a network.
type Proxy struct {
	Address string

	listener net.Listener
	target   string
	work     sync.WaitGroup

	mu     sync.Mutex
	silent bool
	waken  *sync.Cond
	conns  map[net.Conn]bool
	closed bool
}

// StartProxy starts a proxy in front of target; it ends with the test.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Address: listener.Addr().String(), listener: listener, target: target, conns: map[net.Conn]bool{}}
	p.waken = sync.NewCond(&p.mu)
	p.work.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// SetSilent makes the proxy swallow every byte, in both directions, without closing anything: a partition.
func (p *Proxy) SetSilent(silent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = silent
	p.waken.Broadcast()
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed, p.silent = true, false
	p.waken.Broadcast()
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	_ = p.listener.Close()
	p.work.Wait()
}

func (p *Proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", p.target)
		if err != nil || !p.keep(near, far) {
			_ = near.Close()
			continue
		}
		p.work.Go(func() { p.pass(near, far) })
		p.work.Go(func() { p.pass(far, near) })
	}
}

func (p *Proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		for _, c := range conns {
			_ = c.Close()
		}
		return false
	}
	for _, c := range conns {
		p.conns[c] = true
	}
	return true
}

// pass keeps what arrives during silence and delivers it afterwards, as TCP would.
func (p *Proxy) pass(from, to net.Conn) {
	defer func() { _ = errors.Join(from.Close(), to.Close()) }()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		p.mu.Lock()
		for p.silent {
			p.waken.Wait()
		}
		p.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
