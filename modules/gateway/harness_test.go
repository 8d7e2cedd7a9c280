package gateway

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"go.uber.org/goleak"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/agentv1/agentv1connect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a gateway with its files, driven as the agent drives it: by files and the unix socket.
type rig struct {
	t       *testing.T
	dir     string
	gateway *Gateway
	agent   agentv1connect.GatewayServiceClient
	address string // of the shared port
	table   *agentv1.RouteTable
	book    *agentv1.AddressBook
	stop    func() error
}

type option func(*Gateway)

func newRig(t *testing.T, options ...option) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), book: &agentv1.AddressBook{}}
	r.table = &agentv1.RouteTable{Epoch: &agentv1.Epoch{Number: 1, Lineage: "l"}}
	r.start(options...)
	return r
}

func (r *rig) start(options ...option) {
	r.t.Helper()
	g := New(Options{Dir: r.dir, HTTPAddress: "127.0.0.1:0", DrainTimeout: 5 * time.Second, Version: "test"})
	for _, o := range options {
		o(g)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	select {
	case <-g.Started():
	case err := <-ended:
		r.t.Fatalf("gateway ended: %v", err)
	}
	r.gateway = g
	if ports := g.Status().GetPorts(); len(ports) > 0 {
		r.address = fmt.Sprintf("127.0.0.1:%d", ports[0])
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(r.dir, agentv1.GatewaySocketFile))
	}}
	r.agent = agentv1connect.NewGatewayServiceClient(&http.Client{Transport: transport}, "http://gateway")
	stopped := false
	r.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		transport.CloseIdleConnections()
		cancel()
		return <-ended
	}
	r.t.Cleanup(func() {
		if err := r.stop(); err != nil {
			r.t.Errorf("run: %v", err)
		}
	})
}

// apply writes both files as the agent does and asks for them to be served.
func (r *rig) apply() *agentv1.GatewayStatus {
	r.t.Helper()
	status, err := r.tryApply()
	if err != nil {
		r.t.Fatalf("apply: %v", err)
	}
	if status.GetRevision() != r.table.GetRevision() || status.GetAddresses() != r.book.GetVersion() {
		r.t.Fatalf("apply: %v is not what was written", status)
	}
	return status
}

func (r *rig) tryApply() (*agentv1.GatewayStatus, error) {
	r.t.Helper()
	r.table.Revision++
	r.book.Version++
	r.write()
	response, err := r.agent.Apply(r.t.Context(), connect.NewRequest(&agentv1.ApplyRequest{}))
	if err != nil {
		return nil, err
	}
	return response.Msg, nil
}

func (r *rig) write() {
	r.t.Helper()
	if err := agentv1.WriteAddressBook(r.dir, r.book); err != nil {
		r.t.Fatal(err)
	}
	if err := agentv1.WriteRouteTable(r.dir, r.table); err != nil {
		r.t.Fatal(err)
	}
}

// route adds a set of its own for one route.
func (r *rig) route(route *agentv1.Route) *agentv1.Route {
	if route.GetState() == 0 {
		route.State = agentv1.Route_STATE_SERVING
	}
	r.table.Sets = append(r.table.Sets, &agentv1.RouteSet{
		EnvironmentId: fmt.Sprintf("env-%d", len(r.table.GetSets())), Routes: []*agentv1.Route{route},
	})
	return route
}

// instance puts a ready instance at the address of a server into the book.
func (r *rig) instance(id, hostPort string) *agentv1.Address {
	address := addressMessage(hostPort)
	address.InstanceId = id
	r.book.Addresses = append(r.book.Addresses, address)
	return address
}

func addressMessage(hostPort string) *agentv1.Address {
	at := netip.MustParseAddrPort(hostPort)
	return &agentv1.Address{InstanceId: "i", Ip: at.Addr().String(), Port: uint32(at.Port()), Ready: true}
}

// site serves handler at host through one instance.
func (r *rig) site(host string, handler http.Handler) *httptest.Server {
	r.t.Helper()
	server := newBackend(r.t, handler)
	r.instance(host, server.Listener.Addr().String())
	r.route(&agentv1.Route{Host: host, InstanceIds: []string{host}})
	r.apply()
	return server
}

// newBackend speaks HTTP/1.1 and HTTP/2 in clear, as an application may.
func newBackend(t *testing.T, handler http.Handler) *httptest.Server {
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server
}

// client reaches the gateway whatever the host of a URL is.
func (r *rig) client(change ...func(*http.Transport)) *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", r.address)
	}}
	for _, c := range change {
		c(transport)
	}
	r.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func http2Only(t *http.Transport) {
	t.Protocols = new(http.Protocols)
	t.Protocols.SetUnencryptedHTTP2(true)
}

func (r *rig) get(url string, headers ...string) (*http.Response, string) {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Add(headers[i], headers[i+1])
	}
	response, err := r.client().Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return response, string(body)
}

// await waits for a state, and fails with what it was when it does not come.
func await(t *testing.T, what string, reached func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !reached() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not reached", what)
		}
		time.Sleep(2 * time.Millisecond) //nolint:forbidigo // between two looks at a state
	}
}

func says(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
}

func mustContain(t *testing.T, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Fatalf("%q does not contain %q", text, part)
	}
}
