package gateway

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/coder/websocket"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/agentv1/agentv1connect"
)

func TestRoutesByHostPathAndState(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"web", "api", "wild", "deep"} {
		r.instance(name, newBackend(t, says(name)).Listener.Addr().String())
	}
	r.instance("silent", newBackend(t, says("silent")).Listener.Addr().String()).Ready = false
	set := func(routes ...*agentv1.Route) {
		r.table.Sets = append(r.table.Sets, &agentv1.RouteSet{EnvironmentId: fmt.Sprint(len(r.table.GetSets())), Routes: routes})
	}
	serving := agentv1.Route_STATE_SERVING
	set(
		&agentv1.Route{Host: "a.example.org", InstanceIds: []string{"web"}, State: serving},
		&agentv1.Route{Host: "a.example.org", Path: "/api", InstanceIds: []string{"api"}, State: serving},
		&agentv1.Route{Host: "a.example.org", Path: "/api/deep/", InstanceIds: []string{"deep"}, State: serving},
	)
	set(&agentv1.Route{Host: "*.example.org", InstanceIds: []string{"wild"}, State: serving})
	set(&agentv1.Route{Host: "stopped.example.com", InstanceIds: []string{"web"}, State: agentv1.Route_STATE_STOPPED})
	set(&agentv1.Route{Host: "starting.example.com", State: agentv1.Route_STATE_STARTING})
	set(&agentv1.Route{Host: "silent.example.com", InstanceIds: []string{"silent", "nowhere"}, State: serving})
	set(&agentv1.Route{Host: "only.example.com", Path: "/api", InstanceIds: []string{"api"}, State: serving})
	r.gateway.options.ReadyWait = 20 * time.Millisecond
	r.apply()

	for _, c := range []struct {
		url    string
		status int
		body   string
		retry  string
	}{
		{"http://a.example.org/", 200, "web", ""},
		{"http://A.Example.ORG./", 200, "web", ""},
		{"http://a.example.org:8080/x", 200, "web", ""},
		{"http://a.example.org/apix", 200, "web", ""},
		{"http://a.example.org/api", 200, "api", ""},
		{"http://a.example.org/api/x", 200, "api", ""},
		{"http://a.example.org/api/deep", 200, "api", ""},
		{"http://a.example.org/api/deep/x", 200, "deep", ""},
		{"http://b.example.org/", 200, "wild", ""},
		{"http://b.c.example.org/", 421, "no site", ""},
		{"http://example.org/", 421, "no site", ""},
		{"http://127.0.0.1/", 421, "no site", ""},
		{"http://[::1]/", 421, "no site", ""},
		{"http://unknown.example.com/", 421, "no site", ""},
		{"http://stopped.example.com/", 503, "is stopped", ""},
		{"http://starting.example.com/", 503, "is starting", "2"},
		{"http://silent.example.com/", 503, "not ready", "2"},
		{"http://only.example.com/api", 200, "api", ""},
		{"http://only.example.com/", 421, "no site", ""},
	} {
		response, body := r.get(c.url)
		if response.StatusCode != c.status || !strings.Contains(body, c.body) || response.Header.Get("Retry-After") != c.retry {
			t.Errorf("%s: got %d, %q, Retry-After %q", c.url, response.StatusCode, body, response.Header.Get("Retry-After"))
		}
	}
	response, body := r.get("http://stopped.example.com/", "Accept", "text/html")
	if response.Header.Get("Content-Type") != "text/html; charset=utf-8" || response.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("got headers %v", response.Header)
	}
	mustContain(t, body, "<h1>This site is stopped</h1>")
}

// What a request says about its origin is the gateway's word, whatever the client sent.
func TestHeadersAreWrittenFromScratch(t *testing.T) {
	r := newRig(t)
	r.site("a.test", http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
		for _, name := range slices.Sorted(maps.Keys(in.Header)) {
			fmt.Fprintf(w, "%s: %s\n", name, strings.Join(in.Header[name], "|"))
		}
		fmt.Fprintf(w, "host: %s\nuri: %s\n", in.Host, in.RequestURI)
	}))
	conn := r.dial()
	fmt.Fprintf(conn, "GET /a%%2Fb//c?x=1;y=%%zz&z HTTP/1.1\r\nHost: a.test:81\r\nConnection: close, X-Forwarded-Host, X-Drop\r\n"+
		"X-Drop: 1\r\nX-Keep: 1\r\nx_keep: 2\r\n"+
		"X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 6.6.6.7\r\nX_Forwarded_For: 6.6.6.8\r\nX-Forwarded_For: 6.6.6.9\r\nForwarded: for=6.6.6.6\r\n"+
		"X-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /evil\r\nX-Real-IP: 6.6.6.6\r\n"+
		"x_real_ip: 6.6.6.6\r\nTrue-Client-IP: 6.6.6.6\r\nCF-Connecting-IP: 6.6.6.6\r\nX-Request-ID: evil\r\nProxy: http://evil\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	id := response.Header.Get("X-Request-Id")
	if len(id) != 32 {
		t.Errorf("request id %q", id)
	}
	want := "X-Forwarded-For: 127.0.0.1\nX-Forwarded-Host: a.test:81\nX-Forwarded-Proto: http\nX-Keep: 1\nX-Real-Ip: 127.0.0.1\n" +
		"X-Request-Id: " + id + "\nX_keep: 2\nhost: a.test:81\nuri: /a%2Fb//c?x=1;y=%zz&z\n"
	if string(text) != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

func TestTrustedProxiesAreBelieved(t *testing.T) {
	r := newRig(t, func(g *Gateway) {
		g.trust = trust{[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}}
	})
	r.site("a.test", http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
		h := in.Header
		fmt.Fprintf(w, "%s/%s/%s/%s", h.Get("X-Forwarded-For"), h.Get("X-Real-Ip"), h.Get("X-Forwarded-Proto"), h.Get("X-Request-Id"))
	}))
	for _, c := range []struct{ chain, want string }{
		{"6.6.6.6, 8.8.8.8, 10.1.1.1", "8.8.8.8, 10.1.1.1, 127.0.0.1/8.8.8.8/https/id-1"},
		{"8.8.8.8", "8.8.8.8, 127.0.0.1/8.8.8.8/https/id-1"},
		{"8.8.8.8, nonsense, 10.1.1.1", "10.1.1.1, 127.0.0.1/10.1.1.1/https/id-1"},
		{"", "127.0.0.1/127.0.0.1/https/id-1"},
	} {
		_, body := r.get("http://a.test/", "X-Forwarded-For", c.chain, "X-Forwarded-Proto", "https", "X-Request-Id", "id-1")
		if body != c.want {
			t.Errorf("%q: got %q, want %q", c.chain, body, c.want)
		}
	}
}

func TestBodiesAndTrailersPassThrough(t *testing.T) {
	r := newRig(t)
	r.site("a.test", http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("Trailer", "X-Sum")
		n, err := io.Copy(w, in.Body)
		w.Header().Set("X-Sum", fmt.Sprint(n, err, in.Trailer.Get("X-Sent")))
	}))
	for name, change := range map[string]func(*http.Transport){"http/1.1": func(*http.Transport) {}, "http/2": http2Only} {
		body := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		request, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://a.test/", io.NopCloser(bytes.NewReader(body)))
		request.Trailer = http.Header{"X-Sent": {"end"}}
		response, err := r.client(change).Do(request)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s: got %d bytes, %v", name, len(got), err)
		}
		if sum := response.Trailer.Get("X-Sum"); sum != fmt.Sprint(len(body), nil, "end") {
			t.Errorf("%s: trailer %q", name, sum)
		}
	}
}

func TestServerSentEventsComeAtOnce(t *testing.T) {
	r := newRig(t)
	next := make(chan string)
	r.site("a.test", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Content-Length", "15") // a known length must not make it wait either
		for event := range next {
			_, _ = io.WriteString(w, event)
			_ = http.NewResponseController(w).Flush()
		}
	}))
	go func() { next <- "data: 1\n" }()
	response, err := r.client().Get("http://a.test/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewReader(response.Body)
	if line, err := lines.ReadString('\n'); line != "data: 1\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	next <- "data:2\n"
	if line, _ := lines.ReadString('\n'); line != "data:2\n" {
		t.Fatalf("got %q", line)
	}
	close(next)
}

func TestWebSocket(t *testing.T) {
	r := newRig(t)
	r.site("a.test", http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
		c, err := websocket.Accept(w, in, nil)
		if err != nil {
			return
		}
		for {
			kind, data, err := c.Read(in.Context())
			if err != nil || c.Write(in.Context(), kind, data) != nil {
				return
			}
		}
	}))
	c, response, err := websocket.Dial(t.Context(), "ws://a.test/", &websocket.DialOptions{HTTPClient: r.client()})
	if err != nil {
		t.Fatal(err)
	}
	if response.Header.Get("X-Request-Id") == "" {
		t.Error("no request id")
	}
	for _, text := range []string{"one", "two"} {
		if err := c.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, data, err := c.Read(t.Context()); string(data) != text {
			t.Fatalf("got %q, %v", data, err)
		}
	}
	if n := r.gateway.Status().GetInFlight()["a.test"]; n != 1 {
		t.Errorf("%d in flight, want 1", n)
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	await(t, "nothing in flight", func() bool { return len(r.gateway.Status().GetInFlight()) == 0 })
}

// echoSession answers every heartbeat with its digest as a request id.
type echoSession struct {
	agentv1connect.UnimplementedSessionServiceHandler
}

func (echoSession) Session(_ context.Context, s *connect.BidiStream[agentv1.AgentMessage, agentv1.ManagerMessage]) error {
	for {
		m, err := s.Receive()
		if err != nil {
			return connect.NewError(connect.CodeAborted, fmt.Errorf("the end"))
		}
		id := string(m.GetHeartbeat().GetDigest())
		answer := &agentv1.ManagerMessage{Message: &agentv1.ManagerMessage_Request{Request: &agentv1.Request{Id: id}}}
		if err := s.Send(answer); err != nil {
			return err
		}
	}
}

func TestGRPCInBothDirections(t *testing.T) {
	r := newRig(t)
	mux := http.NewServeMux()
	mux.Handle(agentv1connect.NewSessionServiceHandler(echoSession{}))
	r.site("a.test", mux)
	stream := agentv1connect.NewSessionServiceClient(r.client(http2Only), "http://a.test", connect.WithGRPC()).Session(t.Context())
	for _, word := range []string{"one", "two"} {
		beat := &agentv1.AgentMessage{Message: &agentv1.AgentMessage_Heartbeat{Heartbeat: &agentv1.Heartbeat{Digest: []byte(word)}}}
		if err := stream.Send(beat); err != nil {
			t.Fatal(err)
		}
		answer, err := stream.Receive()
		if err != nil || answer.GetRequest().GetId() != word {
			t.Fatalf("got %v, %v", answer, err)
		}
	}
	if err := stream.CloseRequest(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Receive(); connect.CodeOf(err) != connect.CodeAborted {
		t.Fatalf("the status in the trailers is lost: %v", err)
	}
	if err := stream.CloseResponse(); err != nil {
		t.Fatal(err)
	}
}

func TestInstanceThatBreaksOffOrIsSlow(t *testing.T) {
	r := newRig(t, func(g *Gateway) { g.registry.responseTimeout = 50 * time.Millisecond })
	release := make(chan struct{})
	defer close(release)
	r.site("slow.test", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	r.site("broken.test", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	if response, body := r.get("http://slow.test/"); response.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("slow: got %d, %q", response.StatusCode, body)
	}
	if response, body := r.get("http://broken.test/"); response.StatusCode != http.StatusBadGateway {
		t.Errorf("broken: got %d, %q", response.StatusCode, body)
	}
}

func (r *rig) dial() net.Conn {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		r.t.Fatal(err)
	}
	return conn
}
