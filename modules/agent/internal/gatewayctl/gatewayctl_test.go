package gatewayctl

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"pandu/modules/agent/agentv1"
	"pandu/modules/gateway"
	"pandu/modules/kit/run"
)

// TestMain lets the test binary be the gateway that is started.
func TestMain(m *testing.M) {
	if dir := os.Getenv("GATEWAYCTL_TEST_DIR"); dir != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := serve(ctx, dir, os.Getenv("GATEWAYCTL_TEST_ADDRESS")); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func serve(ctx context.Context, dir, address string) error {
	return gateway.New(gateway.Options{Dir: dir, HTTPAddress: address, DrainTimeout: time.Second, Version: "test"}).Run(ctx)
}

var epoch = &agentv1.Epoch{Number: 1, Lineage: "one"}

type rig struct {
	*Control
	dir    string
	served chan uint64
	stop   func()
}

func begin(t *testing.T, dir string, start *run.Command) *rig {
	t.Helper()
	r := &rig{dir: dir, served: make(chan uint64, 1024)}
	c, err := New(Deps{
		Dir: dir, Start: start, Check: 20 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
		Served: func(_ *agentv1.Epoch, revision uint64) { r.served <- revision },
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Control = c
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// real runs the real gateway in this process and returns its address and how to stop it.
func real(t *testing.T, dir string) (address string, stop func()) {
	t.Helper()
	address = freeAddress(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, dir, address) }()
	stop = func() {
		cancel()
		if err, ok := <-ended; ok && err != nil {
			t.Error(err)
		}
		close(ended)
	}
	return address, stop
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func routeEntries(t *testing.T, host, instance string) []*agentv1.Entry {
	t.Helper()
	body, err := proto.Marshal(&agentv1.RouteSet{EnvironmentId: "e", OrganizationId: "o", Routes: []*agentv1.Route{{
		Host: host, Path: "/", Service: "web", InstanceIds: []string{instance}, State: agentv1.Route_STATE_SERVING,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return []*agentv1.Entry{
		{Key: "routes/e", Revision: 1, Body: body},
		{Key: "routes/gone", Revision: 1, Tombstone: true, Cause: "delete"},
	}
}

func (r *rig) waitServed(t *testing.T, revision uint64) {
	t.Helper()
	deadline := time.After(15 * time.Second)
	for {
		select {
		case got := <-r.served:
			if got == revision {
				return
			}
		case <-deadline:
			t.Fatalf("revision %d is not served: %+v", revision, r.State())
		}
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(15 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("%s: state was not reached", what)
		case <-tick.C:
		}
	}
}

func get(t *testing.T, address, host string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return 0, ""
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(body)
}

func addressOf(t *testing.T, s *httptest.Server, instance string) []*agentv1.Address {
	t.Helper()
	at := netip.MustParseAddrPort(strings.TrimPrefix(s.URL, "http://"))
	return []*agentv1.Address{{InstanceId: instance, Ip: at.Addr().String(), Port: uint32(at.Port()), Ready: true}}
}

func TestRoutesAreServedBeforeTheyAreAcknowledged(t *testing.T) {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ahoy") }))
	defer site.Close()
	dir := t.TempDir()
	r := begin(t, dir, nil)
	r.SetAddresses(addressOf(t, site, "i1"), nil)
	r.SetRoutes(epoch, 4, routeEntries(t, "hello.localhost", "i1"))
	waitFor(t, "no gateway", func() bool { return strings.Contains(r.State().Error, "no gateway answers") })
	select {
	case revision := <-r.served:
		t.Fatalf("revision %d was acknowledged without a gateway", revision)
	default:
	}
	address, stop := real(t, dir)
	defer stop()
	r.waitServed(t, 4)
	if status, body := get(t, address, "hello.localhost"); status != 200 || body != "ahoy" {
		t.Errorf("site answers %d %q", status, body)
	}
	if n, err := r.InFlight(t.Context(), "i1"); err != nil || n != 0 {
		t.Errorf("in flight %d, %v", n, err)
	}
	r.SetRoutes(epoch, 5, routeEntries(t, "moved.localhost", "i1"))
	r.waitServed(t, 5)
	if status, _ := get(t, address, "hello.localhost"); status != http.StatusMisdirectedRequest {
		t.Errorf("the old name answers %d", status)
	}
}

func TestARestartedAgentEmptiesNothing(t *testing.T) {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ahoy") }))
	defer site.Close()
	dir := t.TempDir()
	address, stop := real(t, dir)
	defer stop()
	before := begin(t, dir, nil)
	before.SetAddresses(addressOf(t, site, "i1"), nil)
	before.SetRoutes(epoch, 4, routeEntries(t, "hello.localhost", "i1"))
	before.waitServed(t, 4)
	book, err := agentv1.ReadAddressBook(dir)
	if err != nil {
		t.Fatal(err)
	}
	after := begin(t, dir, nil)
	after.SetRoutes(&agentv1.Epoch{}, 0, nil) // a ledger that holds nothing yet
	waitFor(t, "status", func() bool { return after.State().Status != nil })
	after.SetRoutes(epoch, 4, routeEntries(t, "hello.localhost", "i1"))
	after.waitServed(t, 4)
	if status, body := get(t, address, "hello.localhost"); status != 200 || body != "ahoy" {
		t.Errorf("site answers %d %q", status, body)
	}
	if again, err := agentv1.ReadAddressBook(dir); err != nil || again.GetVersion() != book.GetVersion() {
		t.Errorf("address book went from version %d to %d, %v", book.GetVersion(), again.GetVersion(), err)
	}
	after.SetAddresses(addressOf(t, site, "i1"), nil) // the same
	after.SetAddresses(nil, []*agentv1.Network{{EnvironmentId: "e", BridgeIp: "127.0.0.1", Subnet: "127.0.0.0/24"}})
	waitFor(t, "new address book", func() bool {
		again, err := agentv1.ReadAddressBook(dir)
		return err == nil && again.GetVersion() == book.GetVersion()+1
	})
}

func TestRefusedTableIsNotAcknowledged(t *testing.T) {
	dir := t.TempDir()
	_, stop := real(t, dir)
	defer stop()
	r := begin(t, dir, nil)
	r.SetRoutes(epoch, 9, nil)
	r.waitServed(t, 9)
	r.SetRoutes(epoch, 8, nil)
	waitFor(t, "refusal", func() bool { return strings.Contains(r.State().Error, "revision 8") })
	if status := r.State().Status; status.GetRevision() != 9 {
		t.Errorf("status is %v", status)
	}
}

func TestStartsAGatewayAndAdoptsIt(t *testing.T) {
	dir, address := t.TempDir(), freeAddress(t)
	start := &run.Command{Path: os.Args[0], Env: []string{"GATEWAYCTL_TEST_DIR=" + dir, "GATEWAYCTL_TEST_ADDRESS=" + address}}
	first := begin(t, dir, start)
	first.SetRoutes(epoch, 1, nil)
	first.waitServed(t, 1)
	pid := first.State().Status.GetPid()
	second := begin(t, dir, start)
	second.SetRoutes(epoch, 1, nil)
	second.waitServed(t, 1)
	if adopted := second.State().Status.GetPid(); adopted != pid {
		t.Errorf("gateway %d was not adopted, there is %d", pid, adopted)
	}
	if session, _, _ := syscall.Syscall(syscall.SYS_GETSID, uintptr(pid), 0, 0); strconv.Itoa(int(session)) != strconv.Itoa(int(pid)) {
		t.Errorf("gateway %d is in session %d: it would end with us", pid, session)
	}
	second.stop()
	if err := syscall.Kill(int(pid), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "another gateway", func() bool {
		status := first.State().Status
		return status.GetPid() != pid && first.State().Error == ""
	})
	first.stop() // or it would start the next one
	last := int(first.State().Status.GetPid())
	if err := syscall.Kill(last, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "end of the gateway", func() bool { return syscall.Kill(last, 0) == syscall.ESRCH })
}
