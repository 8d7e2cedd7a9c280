package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"pandu/modules/agent/agentv1"
)

func TestLargeHeadersAreRefused(t *testing.T) {
	r := newRig(t)
	r.site("a.test", says("hello"))
	if response, _ := r.get("http://a.test/", "X-Large", strings.Repeat("x", maxRequestHeaders+8<<10)); response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("got %d", response.StatusCode)
	}
	if response, _ := r.get("http://a.test/", "X-Large", strings.Repeat("x", maxRequestHeaders/2)); response.StatusCode != http.StatusOK {
		t.Errorf("got %d", response.StatusCode)
	}
}

// Visitors beyond the limit wait until somebody leaves; nobody is turned away.
func TestConnectionsAreBounded(t *testing.T) {
	r := newRig(t, func(g *Gateway) { g.options.MaxConnections = 2 })
	r.site("a.test", says("hello"))
	first, second := r.dial(), r.dial()
	for _, conn := range []io.ReadWriter{first, second} { // both are kept alive
		if answer := ask1(t, conn); answer.StatusCode != http.StatusOK {
			t.Fatalf("got %d", answer.StatusCode)
		}
	}
	third := r.dial()
	fmt.Fprint(third, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	if err := third.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := third.Read(make([]byte, 1)); err == nil {
		t.Fatalf("a third connection is served: %d bytes", n)
	}
	first.Close()
	if err := third.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(third), nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
}

func ask1(t *testing.T, conn io.ReadWriter) *http.Response {
	t.Helper()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, response.Body)
	response.Body.Close()
	return response
}

// Waiting for a ready instance is bounded in number: beyond it, requests are told at once.
func TestWaitingRequestsAreBounded(t *testing.T) {
	r := newRig(t, func(g *Gateway) {
		g.options.ReadyWait = time.Minute
		g.waiting.most = 1
	})
	address := r.instance("i", newBackend(t, says("hello")).Listener.Addr().String())
	address.Ready = false
	r.route(&agentv1.Route{Host: "a.test", InstanceIds: []string{"i"}})
	r.apply()
	body := make(chan string, 1)
	go func() { _, text := r.get("http://a.test/"); body <- text }()
	await(t, "one waits", func() bool { return r.gateway.waiting.n.Load() == 1 })
	if response, _ := r.get("http://a.test/"); response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %d", response.StatusCode)
	}
	address.Ready = true
	r.apply()
	if text := <-body; text != "hello" {
		t.Errorf("got %q", text)
	}
}

// An upload that an application wants to be asked for first, and hints before its answer.
func TestInformationalResponses(t *testing.T) {
	r := newRig(t)
	r.site("a.test", http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.Copy(w, in.Body)
	}))
	hints := ""
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		if code == http.StatusEarlyHints {
			hints = h.Get("Link")
		}
		return nil
	}}
	request, _ := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodPost, "http://a.test/", strings.NewReader("upload"))
	request.Header.Set("Expect", "100-continue")
	response, err := r.client(func(t *http.Transport) { t.ExpectContinueTimeout = 5 * time.Second }).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); string(body) != "upload" || !strings.Contains(hints, "style.css") {
		t.Errorf("got %q, hints %q", body, hints)
	}
}

// An application may refuse an upload without reading it.
func TestEarlyAnswerToALargeUpload(t *testing.T) {
	r := newRig(t)
	r.site("a.test", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	}))
	conn := r.dial()
	fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000000\r\n\r\nbegin")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("got %d", response.StatusCode)
	}
}

// A visitor who leaves is not waited for: the instance hears of it and can be drained.
func TestClientThatLeavesIsNotInFlight(t *testing.T) {
	r := newRig(t)
	arrived, left := make(chan struct{}, 2), make(chan struct{}, 2)
	r.site("a.test", http.HandlerFunc(func(_ http.ResponseWriter, in *http.Request) {
		arrived <- struct{}{}
		if _, err := io.Copy(io.Discard, in.Body); err == nil { // net/http watches the connection only after the body
			<-in.Context().Done()
		}
		left <- struct{}{}
	}))
	plain, upload := r.dial(), r.dial()
	fmt.Fprint(plain, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	fmt.Fprintf(upload, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n%s", strings.Repeat("x", 9000))
	<-arrived
	<-arrived
	if n := r.gateway.Status().GetInFlight()["a.test"]; n != 2 {
		t.Errorf("%d in flight, want 2", n)
	}
	plain.Close()
	upload.Close()
	<-left
	<-left
	await(t, "nothing in flight", func() bool { return len(r.gateway.Status().GetInFlight()) == 0 })
}
