package gateway

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pandu/modules/agent/agentv1"
)

// closedAddress is one that refuses connections.
func closedAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestRefusedConnectionsAreRetriedElsewhereAndEjected(t *testing.T) {
	r := newRig(t)
	var served atomic.Int64
	live := newBackend(t, http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
		served.Add(1)
		_, _ = io.Copy(w, in.Body)
	}))
	r.instance("live", live.Listener.Addr().String())
	r.instance("dead", closedAddress(t))
	r.route(&agentv1.Route{Host: "a.test", InstanceIds: []string{"dead", "live"}})
	r.apply()
	client := r.client()
	for range 40 {
		response, err := client.Post("http://a.test/", "text/plain", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != http.StatusOK || string(body) != "body" {
			t.Fatalf("got %d, %q", response.StatusCode, body)
		}
	}
	if n := served.Load(); n != 40 {
		t.Errorf("%d requests served, want each once", n)
	}
	dead := r.gateway.registry.backends["dead"]
	if n := dead.ejection.failures.Load(); n < 1 || n > 3 {
		t.Errorf("the dead instance was tried %d times in a moment", n)
	}
	if n := dead.inFlight.Load(); n != 0 {
		t.Errorf("%d in flight at the dead instance", n)
	}
}

// An instance that restarts refuses connections for a moment. A site with only that one waits a little.
func TestOnlyInstanceIsTriedAgain(t *testing.T) {
	r := newRig(t)
	address := closedAddress(t)
	r.instance("i", address)
	r.route(&agentv1.Route{Host: "a.test", InstanceIds: []string{"i"}})
	r.apply()
	body := make(chan string, 1)
	go func() { _, text := r.get("http://a.test/"); body <- text }()
	await(t, "first try", func() bool { return r.gateway.registry.backends["i"].ejection.failures.Load() == 1 })
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: says("back"), ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	if text := <-body; text != "back" {
		t.Errorf("got %q", text)
	}
	if response, _ := r.get("http://a.test/"); response.StatusCode != http.StatusOK {
		t.Errorf("got %d", response.StatusCode)
	}
}

func TestDeadSiteGets502(t *testing.T) {
	r := newRig(t)
	r.instance("i", closedAddress(t))
	r.route(&agentv1.Route{Host: "a.test", InstanceIds: []string{"i"}})
	r.apply()
	if response, _ := r.get("http://a.test/"); response.StatusCode != http.StatusBadGateway {
		t.Errorf("got %d", response.StatusCode)
	}
}

// What reached an instance is never sent twice when the method does not allow that.
func TestPostThatWasReceivedIsNotRepeated(t *testing.T) {
	r := newRig(t)
	var received atomic.Int64
	for _, id := range []string{"a", "b"} {
		server := newBackend(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			received.Add(1)
			panic(http.ErrAbortHandler)
		}))
		r.instance(id, server.Listener.Addr().String())
	}
	r.route(&agentv1.Route{Host: "a.test", InstanceIds: []string{"a", "b"}})
	r.apply()
	response, err := r.client().Post("http://a.test/", "text/plain", strings.NewReader("pay"))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusBadGateway || received.Load() != 1 {
		t.Errorf("got %d, received %d times", response.StatusCode, received.Load())
	}
}

// Application servers close kept connections whenever they like. A POST must not fail because of that: this one closes
// each right after its response, without having said so, which the gateway learns from the first one.
func TestPostOnConnectionsThatAreClosedSilently(t *testing.T) {
	r := newRig(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { answerOnce(conn) })
		}
	})
	t.Cleanup(func() { _ = listener.Close(); serving.Wait() })
	r.instance("i", listener.Addr().String())
	r.route(&agentv1.Route{Host: "a.test", InstanceIds: []string{"i"}})
	r.apply()
	client := r.client()
	r.get("http://a.test/")
	l := r.gateway.registry.backends["i"].target.Load().links
	await(t, "the instance is known to close", func() bool { return l.closesUntil.Load() != 0 })
	failed := 0
	for range 200 {
		response, err := client.Post("http://a.test/", "text/plain", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			failed++
		}
	}
	if failed > 0 {
		t.Errorf("%d of 200 requests failed", failed)
	}
}

// A kept connection that was closed meanwhile is found out before the request is sent on it.
func TestStaleLinkSendsNothing(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := (&links{}).dial(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	l, ok := conn.(*link)
	if !ok {
		t.Fatalf("got %T", conn)
	}
	other, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	l.look.Store(true)
	if n, err := l.Write([]byte("x")); n != 1 || err != nil {
		t.Fatalf("open: got %d, %v", n, err)
	}
	if _, err := io.ReadFull(other, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	other.Close()
	await(t, "end arrived", l.ended)
	l.look.Store(true)
	if n, err := l.Write([]byte("x")); n != 0 || !errors.Is(err, errStale) || l.written.Load() != 1 {
		t.Fatalf("closed: got %d, %v", n, err)
	}
}

func answerOnce(conn net.Conn) {
	defer conn.Close()
	request, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, request.Body)
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
}

func TestReplay(t *testing.T) {
	long := strings.Repeat("x", replayLimit+1)
	for _, c := range []struct {
		name   string
		body   string
		taken  int64 // by the first reading
		repeat bool
	}{
		{"nothing read", long, 0, true},
		{"a little read", long, 100, true},
		{"small and read", "small", 5, true},
		{"all that is kept", long, replayLimit, true},
		{"more than is kept", long, replayLimit + 1, false},
	} {
		r := newReplay(io.NopCloser(strings.NewReader(c.body)))
		first, err := r.again()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, first, c.taken); err != nil {
			t.Fatal(err)
		}
		second, err := r.again()
		if !c.repeat {
			if !errors.Is(err, errReplay) {
				t.Errorf("%s: got %v", c.name, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if text, err := io.ReadAll(second); string(text) != c.body || err != nil {
			t.Errorf("%s: got %d bytes, %v", c.name, len(text), err)
		}
		if _, err := first.Read(make([]byte, 1)); !errors.Is(err, http.ErrBodyReadAfterClose) {
			t.Errorf("%s: the first reading goes on: %v", c.name, err)
		}
	}
}

func TestPickPrefersTheIdleAndAvoidsTheEjected(t *testing.T) {
	now := time.Unix(1000, 0)
	backends := make([]*backend, 3)
	for i := range backends {
		backends[i] = &backend{}
		backends[i].target.Store(&target{ready: true, port: 80})
	}
	at := &route{backends: backends}
	backends[0].inFlight.Store(2)
	backends[1].inFlight.Store(1)
	backends[2].inFlight.Store(1)
	seen := map[*backend]int{}
	for range 200 {
		seen[pick(at, nil, now)]++
	}
	if seen[backends[0]] != 0 || seen[backends[1]] < 50 || seen[backends[2]] < 50 {
		t.Errorf("got %v", seen)
	}
	backends[1].ejection.failed(now)
	if pick(at, backends[2], now) != backends[0] {
		t.Error("an ejected instance is preferred to a busy one")
	}
	if pick(at, backends[2], now.Add(maxEjection)) != backends[1] {
		t.Error("an ejection does not end")
	}
	backends[0].target.Store(&target{port: 80})
	if pick(at, backends[2], now) != backends[1] {
		t.Error("an ejection made the site unavailable")
	}
	backends[1].left.Store(true)
	backends[2].target.Store(nil)
	if b := pick(at, nil, now); b != nil {
		t.Errorf("got %v", b)
	}
}

func TestEjectionIsBounded(t *testing.T) {
	var e ejection
	now := time.Unix(1000, 0)
	last := time.Duration(0)
	for range 50 {
		e.failed(now)
		d := time.Duration(e.until.Load() - now.UnixNano())
		if d < last || d > maxEjection {
			t.Fatalf("%v after %v", d, last)
		}
		last = d
	}
	if last != maxEjection {
		t.Errorf("got %v", last)
	}
	if e.succeeded(); e.active(now) {
		t.Error("still active after a success")
	}
}
