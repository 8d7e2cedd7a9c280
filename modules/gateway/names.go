package gateway

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"pandu/modules/agent/agentv1"
)

const (
	nameTTL        = 1    // seconds: a released instance is asked for no longer than that
	maxAnswers     = 64   // addresses in one answer
	dnsBuffer      = 4096 // bytes of a query over UDP
	dnsConnections = 64   // over TCP, per network
	internalSuffix = ".internal"
)

// network is an environment's bridge.
type network struct {
	environment string
	bridge      netip.Addr
	subnet      netip.Prefix
}

func readNetworks(book *agentv1.AddressBook) (map[netip.Addr]network, error) {
	networks := make(map[netip.Addr]network, len(book.GetNetworks()))
	for _, n := range book.GetNetworks() {
		bridge, err := netip.ParseAddr(n.GetBridgeIp())
		subnet, subnetErr := netip.ParsePrefix(n.GetSubnet())
		if err != nil || subnetErr != nil || !subnet.Contains(bridge) {
			return nil, invalidf("Network %q has the bridge %q in %q, which is none.", n.GetEnvironmentId(), n.GetBridgeIp(), n.GetSubnet())
		}
		if _, twice := networks[bridge]; twice {
			return nil, invalidf("Bridge %s belongs to two networks.", bridge)
		}
		networks[bridge] = network{n.GetEnvironmentId(), bridge, subnet}
	}
	return networks, nil
}

// nameServers answer, on every bridge, the names of the environment there. Used under the gateway's lock.
type nameServers struct {
	gateway *Gateway
	forward *forwarder
	wanted  map[netip.Addr]network
	open    map[netip.Addr]*nameServer
	failed  map[netip.Addr]error
}

func newNameServers(g *Gateway) *nameServers {
	return &nameServers{
		gateway: g, forward: newForwarder(g.options.DNSUpstreams),
		open: map[netip.Addr]*nameServer{}, failed: map[netip.Addr]error{},
	}
}

// reconcile opens and closes name servers. A bridge that is not there yet is noted and tried again at the next call.
func (s *nameServers) reconcile() {
	clear(s.failed)
	for bridge, n := range s.wanted {
		if o := s.open[bridge]; o != nil {
			o.network.Store(&n)
		} else if err := s.listen(n); err != nil {
			s.failed[bridge] = err
		}
	}
	for bridge, o := range s.open {
		if _, stays := s.wanted[bridge]; !stays {
			o.close()
			delete(s.open, bridge)
		}
	}
}

func (s *nameServers) listen(n network) error {
	address := net.JoinHostPort(n.bridge.String(), strconv.Itoa(s.gateway.dnsPort))
	packets, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	stream, err := net.Listen("tcp", address)
	if err != nil {
		return errors.Join(err, packets.Close())
	}
	o := &nameServer{gateway: s.gateway, forward: s.forward}
	o.ctx, o.cancel = context.WithCancel(context.Background())
	o.network.Store(&n)
	limited := &limitedListener{Listener: stream, slots: make(chan struct{}, dnsConnections), closed: make(chan struct{})}
	o.serve(&dns.Server{PacketConn: packets, UDPSize: dnsBuffer})
	o.serve(&dns.Server{Listener: limited})
	s.open[n.bridge] = o
	return nil
}

func (s *nameServers) close() {
	for bridge, o := range s.open {
		o.close()
		delete(s.open, bridge)
	}
}

func (s *nameServers) problems() []string {
	var problems []string
	for bridge, err := range s.failed {
		problems = append(problems, fmt.Sprintf("Names cannot be answered on bridge %s: %v.", bridge, err))
	}
	return problems
}

// nameServer serves one bridge, over UDP and TCP.
type nameServer struct {
	gateway *Gateway
	forward *forwarder
	network atomic.Pointer[network]
	servers []*dns.Server
	done    sync.WaitGroup
	ctx     context.Context //nolint:containedctx // ends the queries it forwards
	cancel  context.CancelFunc
}

// serve returns once the server can be shut down.
func (o *nameServer) serve(server *dns.Server) {
	started := make(chan struct{})
	server.Handler, server.NotifyStartedFunc = o, func() { close(started) }
	server.IdleTimeout = func() time.Duration { return 8 * time.Second }
	o.servers = append(o.servers, server)
	o.done.Go(func() {
		if err := server.ActivateAndServe(); err != nil && !errors.Is(err, net.ErrClosed) {
			o.gateway.logger.Error("name server ended", "bridge", o.network.Load().bridge, "error", err)
		}
	})
	<-started
}

func (o *nameServer) close() {
	o.cancel()
	for _, server := range o.servers {
		_ = server.Shutdown() // only says that it was not started
	}
	o.done.Wait()
}

// ServeDNS answers one query.
func (o *nameServer) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	n := o.network.Load()
	if !n.subnet.Contains(remote(w.RemoteAddr())) || len(query.Question) != 1 {
		reply(w, query, dns.RcodeRefused)
		return
	}
	question := query.Question[0]
	name := strings.TrimSuffix(strings.ToLower(question.Name), ".")
	names := o.gateway.table.Load().names(n.environment)
	backends, known := names[name]
	if short, internal := strings.CutSuffix(name, internalSuffix); !known && internal {
		backends, known = names[short]
	}
	if !known || question.Qclass != dns.ClassINET {
		o.forward.answer(o.ctx, w, query)
		return
	}
	answerName(w, query, backends)
}

// answerName gives the addresses of the ready instances. Without any it says SERVFAIL, not NXDOMAIN: the name exists,
// it is only unreachable at the moment, and resolvers turn SERVFAIL into "temporary failure, try again", which clients
// retry and nobody caches. Other types of a known name, AAAA above all, are empty and final.
func answerName(w dns.ResponseWriter, query *dns.Msg, backends []*backend) {
	question := query.Question[0]
	if question.Qtype != dns.TypeA && question.Qtype != dns.TypeAAAA {
		reply(w, query, dns.RcodeSuccess)
		return
	}
	var records []dns.RR
	ready := false
	for _, b := range backends {
		if t := b.target.Load(); t != nil && t.ready {
			ready = true
			if record := recordOf(question, t.ip); record != nil {
				records = append(records, record)
			}
		}
	}
	if !ready && question.Qtype == dns.TypeA {
		reply(w, query, dns.RcodeServerFailure)
		return
	}
	rand.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	reply(w, query, dns.RcodeSuccess, records[:min(len(records), maxAnswers)]...)
}

func recordOf(question dns.Question, ip netip.Addr) dns.RR {
	header := dns.RR_Header{Name: question.Name, Rrtype: question.Qtype, Class: dns.ClassINET, Ttl: nameTTL}
	switch {
	case question.Qtype == dns.TypeA && ip.Is4():
		return &dns.A{Hdr: header, A: ip.AsSlice()}
	case question.Qtype == dns.TypeAAAA && ip.Is6():
		return &dns.AAAA{Hdr: header, AAAA: ip.AsSlice()}
	default:
		return nil
	}
}

func reply(w dns.ResponseWriter, query *dns.Msg, code int, records ...dns.RR) {
	m := new(dns.Msg).SetRcode(query, code)
	m.RecursionAvailable, m.Authoritative = true, code == dns.RcodeSuccess
	m.Answer = records
	fit(w, query, m)
	_ = w.WriteMsg(m) // a client that left asks again
}

// fit cuts an answer to what the client can take over UDP; it asks again over TCP.
func fit(w dns.ResponseWriter, query, m *dns.Msg) {
	if _, udp := w.RemoteAddr().(*net.UDPAddr); !udp {
		return
	}
	size := dns.MinMsgSize
	if opt := query.IsEdns0(); opt != nil {
		size = max(size, int(opt.UDPSize()))
	}
	m.Truncate(size)
}

func remote(a net.Addr) netip.Addr {
	var ip net.IP
	switch a := a.(type) {
	case *net.UDPAddr:
		ip = a.IP
	case *net.TCPAddr:
		ip = a.IP
	}
	address, _ := netip.AddrFromSlice(slices.Clone(ip))
	return address.Unmap()
}
