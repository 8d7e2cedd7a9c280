package gateway

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	resolvConf      = "/etc/resolv.conf"
	resolvConfAge   = 10 * time.Second        // a laptop changes its network
	upstreamTimeout = 2 * time.Second         // for one try
	forwardTimeout  = 4500 * time.Millisecond // altogether; resolvers give up after 5 s
	maxForwards     = 256                     // at once, of all environments
)

// forwarder asks the machine's own resolvers for every name that is no service. It keeps nothing.
type forwarder struct {
	fixed []string
	slots limit

	mu    sync.Mutex
	read  time.Time // when resolv.conf was read last
	found []string
}

func newForwarder(fixed []string) *forwarder {
	return &forwarder{fixed: fixed, slots: limit{most: maxForwards}}
}

// answer forwards query over the transport it came by. What cannot be answered in time, and what is too much at once,
// gets SERVFAIL.
func (f *forwarder) answer(ctx context.Context, w dns.ResponseWriter, query *dns.Msg) {
	if !f.slots.enter() {
		reply(w, query, dns.RcodeServerFailure)
		return
	}
	defer f.slots.leave()
	ctx, cancel := context.WithTimeout(ctx, forwardTimeout)
	defer cancel()
	client := &dns.Client{Net: "udp", UDPSize: dnsBuffer, Timeout: upstreamTimeout}
	if _, tcp := w.RemoteAddr().(*net.TCPAddr); tcp {
		client.Net = "tcp"
	}
	for range 2 {
		for _, upstream := range f.upstreams() {
			if m := ask(ctx, client, upstream, query); m != nil {
				fit(w, query, m)
				_ = w.WriteMsg(m) // a client that left asks again
				return
			}
		}
	}
	reply(w, query, dns.RcodeServerFailure)
}

// ask sends under an id of our own: the client's would tell a forger what to guess.
func ask(ctx context.Context, client *dns.Client, upstream string, query *dns.Msg) *dns.Msg {
	if ctx.Err() != nil {
		return nil
	}
	sent := query.Copy()
	sent.Id = dns.Id()
	m, _, err := client.ExchangeContext(ctx, sent, upstream)
	if err != nil || m == nil {
		return nil
	}
	m.Id = query.Id
	return m
}

func (f *forwarder) upstreams() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.fixed) > 0 {
		return f.fixed
	}
	if now := time.Now(); now.Sub(f.read) > resolvConfAge {
		f.read = now
		if c, err := dns.ClientConfigFromFile(resolvConf); err == nil {
			f.found = withPort(c)
		}
	}
	return f.found
}

func withPort(c *dns.ClientConfig) []string {
	servers := make([]string, 0, len(c.Servers))
	for _, s := range c.Servers {
		servers = append(servers, net.JoinHostPort(s, c.Port))
	}
	return servers
}
