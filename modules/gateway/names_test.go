package gateway

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"pandu/modules/agent/agentv1"
)

// upstream is a resolver that knows one name.
func upstream(t *testing.T) (string, *atomic.Int64) {
	t.Helper()
	var asked atomic.Int64
	packets, stream := bothAt(t)
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		asked.Add(1)
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Name == "outside.example." {
			record, _ := dns.NewRR("outside.example. 60 IN A 192.0.2.7")
			m.Answer = append(m.Answer, record)
			for len(m.Answer) < 100 && w.RemoteAddr().Network() == "tcp" {
				m.Answer = append(m.Answer, record)
			}
		} else {
			m.Rcode = dns.RcodeNameError
		}
		_ = w.WriteMsg(m)
	})
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: handler}, {Listener: stream, Handler: handler}} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() { _ = server.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { _ = server.Shutdown() })
	}
	return packets.LocalAddr().String(), &asked
}

// bothAt listens over UDP and TCP on the same port, which somebody else may hold for one of them.
func bothAt(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 50 {
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		stream, err := net.Listen("tcp", packets.LocalAddr().String())
		if err == nil {
			return packets, stream
		}
		packets.Close()
	}
	t.Fatal("no port is free for both")
	return nil, nil
}

func withNames(t *testing.T, upstreams ...string) option {
	packets, stream := bothAt(t)
	packets.Close()
	stream.Close()
	port := stream.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // a TCP listener
	return func(g *Gateway) {
		g.dnsPort, g.options.DNSUpstreams = port, upstreams
	}
}

func (r *rig) ask(network, bridge, name string, kind uint16) *dns.Msg {
	r.t.Helper()
	query := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
	client := &dns.Client{Net: network}
	answer, _, err := client.ExchangeContext(r.t.Context(), query, net.JoinHostPort(bridge, fmt.Sprint(r.gateway.dnsPort)))
	if err != nil {
		r.t.Fatalf("%s: %v", name, err)
	}
	return answer
}

func addressesOf(m *dns.Msg) []string {
	var found []string
	for _, record := range m.Answer {
		switch record := record.(type) {
		case *dns.A:
			found = append(found, record.A.String())
		case *dns.AAAA:
			found = append(found, record.AAAA.String())
		}
	}
	slices.Sort(found)
	return found
}

func namesRig(t *testing.T) (*rig, *atomic.Int64) {
	up, asked := upstream(t)
	r := newRig(t, withNames(t, up))
	r.instance("web-1", "10.9.0.2:80")
	r.instance("web-2", "10.9.0.3:80")
	r.instance("web-3", "10.9.0.4:80").Ready = false
	r.instance("db-1", "10.9.0.5:80").Ready = false
	r.instance("six-1", "[fd00::5]:80")
	r.instance("other-1", "10.8.0.2:80")
	r.table.Sets = []*agentv1.RouteSet{
		{EnvironmentId: "one", Names: []*agentv1.ServiceName{
			{Name: "Web", InstanceIds: []string{"web-1", "web-2", "web-3"}}, {Name: "db", InstanceIds: []string{"db-1"}},
			{Name: "six", InstanceIds: []string{"six-1"}}, {Name: "my_service", InstanceIds: []string{"web-1"}},
		}},
		{EnvironmentId: "two", Names: []*agentv1.ServiceName{{Name: "other", InstanceIds: []string{"other-1"}}}},
	}
	r.book.Networks = []*agentv1.Network{
		{EnvironmentId: "one", BridgeIp: "127.0.0.1", Subnet: "127.0.0.0/24"},
		{EnvironmentId: "two", BridgeIp: "127.0.1.1", Subnet: "127.0.1.0/24"},
	}
	r.apply()
	return r, asked
}

func TestNamesOfReadyInstances(t *testing.T) {
	r, asked := namesRig(t)
	for _, c := range []struct {
		name string
		kind uint16
		code int
		want string
	}{
		{"web", dns.TypeA, dns.RcodeSuccess, "10.9.0.2 10.9.0.3"},
		{"WEB.internal", dns.TypeA, dns.RcodeSuccess, "10.9.0.2 10.9.0.3"},
		{"my_service", dns.TypeA, dns.RcodeSuccess, "10.9.0.2"},
		{"web", dns.TypeAAAA, dns.RcodeSuccess, ""},
		{"web", dns.TypeMX, dns.RcodeSuccess, ""},
		{"six", dns.TypeA, dns.RcodeSuccess, ""},
		{"six", dns.TypeAAAA, dns.RcodeSuccess, "fd00::5"},
		{"db", dns.TypeA, dns.RcodeServerFailure, ""},
		{"db", dns.TypeAAAA, dns.RcodeSuccess, ""},
	} {
		for _, network := range []string{"udp", "tcp"} {
			m := r.ask(network, "127.0.0.1", c.name, c.kind)
			if got := strings.Join(addressesOf(m), " "); m.Rcode != c.code || got != c.want {
				t.Errorf("%s %s %s: got %s %q", network, c.name, dns.TypeToString[c.kind], dns.RcodeToString[m.Rcode], got)
			}
			for _, record := range m.Answer {
				if record.Header().Ttl > 2 {
					t.Errorf("%s: ttl %d", c.name, record.Header().Ttl)
				}
			}
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("upstream was asked %d times for our own names", n)
	}
	if m := r.ask("udp", "127.0.0.1", "other", dns.TypeA); m.Rcode != dns.RcodeNameError {
		t.Errorf("a name of another environment: got %v", m)
	}
}

func TestAnswersAreRotated(t *testing.T) {
	r, _ := namesRig(t)
	first := map[string]bool{}
	for range 50 {
		record, _ := r.ask("udp", "127.0.0.1", "web", dns.TypeA).Answer[0].(*dns.A)
		first[record.A.String()] = true
	}
	if len(first) != 2 {
		t.Errorf("always first: %v", first)
	}
}

func TestNamesFollowReadiness(t *testing.T) {
	r, _ := namesRig(t)
	r.book.Addresses[0].Ready, r.book.Addresses[2].Ready = false, true
	r.apply()
	if got := addressesOf(r.ask("udp", "127.0.0.1", "web", dns.TypeA)); !slices.Equal(got, []string{"10.9.0.3", "10.9.0.4"}) {
		t.Errorf("got %v", got)
	}
}

func TestOtherNamesAreForwarded(t *testing.T) {
	r, _ := namesRig(t)
	if m := r.ask("udp", "127.0.0.1", "outside.example", dns.TypeA); strings.Join(addressesOf(m), "") != "192.0.2.7" {
		t.Errorf("got %v", m)
	}
	if m := r.ask("tcp", "127.0.0.1", "outside.example", dns.TypeA); len(m.Answer) != 100 {
		t.Errorf("over tcp: %d answers", len(m.Answer))
	}
	if m := r.ask("udp", "127.0.0.1", "nothing.example", dns.TypeA); m.Rcode != dns.RcodeNameError {
		t.Errorf("got %v", m)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	r, asked := namesRig(t)
	for _, name := range []string{"other", "outside.example"} { // asked from 127.0.0.1, which is not in 127.0.1.0/24
		query := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)
		client := &dns.Client{Dialer: &net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}}}
		m, _, err := client.ExchangeContext(t.Context(), query, net.JoinHostPort("127.0.1.1", fmt.Sprint(r.gateway.dnsPort)))
		if err != nil || m.Rcode != dns.RcodeRefused {
			t.Errorf("%s: got %v, %v", name, m, err)
		}
	}
	if asked.Load() != 0 {
		t.Error("a stranger's query was forwarded")
	}
}

func TestUpstreamThatIsAwayIsPassedOver(t *testing.T) {
	up, _ := upstream(t)
	dead := closedAddress(t) // refuses at once over UDP as well
	r := newRig(t, withNames(t, dead, up))
	r.book.Networks = []*agentv1.Network{{EnvironmentId: "one", BridgeIp: "127.0.0.1", Subnet: "127.0.0.0/8"}}
	r.apply()
	if m := r.ask("udp", "127.0.0.1", "outside.example", dns.TypeA); len(m.Answer) != 1 {
		t.Errorf("got %v", m)
	}
	r = newRig(t, withNames(t, dead))
	r.book.Networks = []*agentv1.Network{{EnvironmentId: "one", BridgeIp: "127.0.0.1", Subnet: "127.0.0.0/8"}}
	r.apply()
	if m := r.ask("udp", "127.0.0.1", "outside.example", dns.TypeA); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("got %v", m)
	}
}

// A bridge appears after the book that names it: that is a problem until it does, and no longer.
func TestBridgeThatIsNotThereYet(t *testing.T) {
	r := newRig(t, withNames(t, "127.0.0.1:1"))
	taken, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.9:%d", r.gateway.dnsPort))
	if err != nil {
		t.Fatal(err)
	}
	r.instance("i", "10.9.0.2:80")
	r.table.Sets = []*agentv1.RouteSet{{EnvironmentId: "e", Names: []*agentv1.ServiceName{{Name: "web", InstanceIds: []string{"i"}}}}}
	r.book.Networks = []*agentv1.Network{
		{EnvironmentId: "e", BridgeIp: "127.0.0.9", Subnet: "127.0.0.0/8"}, {EnvironmentId: "x", BridgeIp: "203.0.113.1", Subnet: "203.0.113.0/24"},
	}
	problems := strings.Join(r.apply().GetProblems(), "\n")
	mustContain(t, problems, "bridge 203.0.113.1")
	mustContain(t, problems, "bridge 127.0.0.9")
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "bridge served", func() bool { return len(r.gateway.Status().GetProblems()) == 1 })
	if got := addressesOf(r.ask("udp", "127.0.0.9", "web", dns.TypeA)); len(got) != 1 {
		t.Errorf("got %v", got)
	}
	r.book.Networks = nil
	if problems := r.apply().GetProblems(); len(problems) != 0 {
		t.Errorf("got %v", problems)
	}
	again, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.9:%d", r.gateway.dnsPort))
	if err != nil {
		t.Fatalf("the name server of a removed network still listens: %v", err)
	}
	again.Close()
}
