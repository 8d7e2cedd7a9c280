package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"pandu/modules/agent/agentv1"
)

// Each is one thing on the wire that two readers could cut differently. Whatever is answered, the instance must never
// see what is hidden behind it as a request of its own, and see no framing that it could cut differently itself.
var smuggling = map[string]string{ //nolint:gochecknoglobals // a corpus
	"CL and TE":                 "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 44\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHIDDEN",
	"TE and CL":                 "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5\r\nhello\r\n0\r\n\r\nHIDDEN",
	"TE in HTTP/1.0":            "POST / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\nHIDDEN",
	"CL and TE in HTTP/1.0":     "POST / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHIDDEN",
	"two TE":                    "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\nHIDDEN",
	"TE list":                   "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\nHIDDEN",
	"TE identity":               "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\nHIDDEN",
	"TE with a tab":             "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\nHIDDEN",
	"TE with a vertical tab":    "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\nHIDDEN",
	"TE with a quoted value":    "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\nHIDDEN",
	"TE with a space in name":   "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\nHIDDEN",
	"TE with an underscore":     "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nTransfer_Encoding: chunked\r\n\r\n0\r\n\r\nHIDDEN",
	"TE after a fold":           "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nHIDDEN",
	"TE folded":                 "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\nHIDDEN",
	"TE dropped by Connection":  "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nConnection: Transfer-Encoding, keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHIDDEN",
	"CL dropped by Connection":  "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nConnection: Content-Length\r\n\r\nhelloHIDDEN",
	"two CL":                    "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\nHIDDEN",
	"CL list":                   "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0, 44\r\n\r\nHIDDEN",
	"CL with a plus":            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: +0\r\n\r\nHIDDEN",
	"CL negative":               "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: -1\r\n\r\nHIDDEN",
	"CL hexadecimal":            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0x0\r\n\r\nHIDDEN",
	"CL empty":                  "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length:\r\n\r\nHIDDEN",
	"CL too large":              "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 99999999999999999999\r\n\r\nHIDDEN",
	"CL on a GET":               "GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhelloHIDDEN",
	"chunk size with 0x":        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0x0\r\n\r\nHIDDEN",
	"chunk size negative":       "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\nHIDDEN",
	"chunk size overflows":      "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\nHIDDEN",
	"chunk ends with a bare LF": "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2;\nxx\r\n0\r\n\r\nHIDDEN",
	"chunk extension":           "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0;a=\"\r\n\r\nHIDDEN",
	"chunk without an end":      "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\nHIDDEN",
	"name with a NUL":           "GET / HTTP/1.1\r\nHost: a.test\r\nX\x00Y: z\r\n\r\nHIDDEN",
	"value with a bare CR":      "GET / HTTP/1.1\r\nHost: a.test\r\nX: y\rTransfer-Encoding: chunked\r\n\r\nHIDDEN",
	"two hosts":                 "GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\nHIDDEN",
	"no host":                   "GET / HTTP/1.1\r\n\r\nHIDDEN",
	"space before the colon":    "GET / HTTP/1.1\r\nHost : a.test\r\n\r\nHIDDEN",
	"CONNECT":                   "CONNECT a.test:80 HTTP/1.1\r\nHost: a.test\r\n\r\nHIDDEN",
	"body of a refused request": "POST / HTTP/1.1\r\nHost: nobody.test\r\nContent-Length: 500\r\n\r\nHIDDEN",
	"body of a stopped site":    "POST / HTTP/1.1\r\nHost: stopped.test\r\nContent-Length: 500\r\n\r\nHIDDEN",
	"upgrade that is none":      "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhelloHIDDEN",
}

// What is hidden is a request only behind the end that the other reader sees. Where both see the same end it is an
// honest second request; those cases are listed here.
var honest = map[string]bool{"CL dropped by Connection": true, "CL on a GET": true, "TE with an underscore": true, //nolint:gochecknoglobals // as above
	"upgrade that is none": true, "TE after a fold": true}

func TestNothingIsSmuggled(t *testing.T) {
	r := newRig(t)
	seen := &paths{}
	r.instance("a", rawBackend(t, seen))
	r.route(&agentv1.Route{Host: "a.test", InstanceIds: []string{"a"}, Path: "/"})
	r.route(&agentv1.Route{Host: "stopped.test", State: agentv1.Route_STATE_STOPPED})
	r.apply()
	t.Run("each", func(t *testing.T) {
		for name, wire := range smuggling {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				path := "/" + strings.ReplaceAll(name, " ", "-")
				answers := r.send(strings.ReplaceAll(wire, "HIDDEN", "GET "+path+" HTTP/1.1\r\nHost: a.test\r\n\r\n"))
				if hidden := seen.has(path); hidden != honest[name] {
					t.Errorf("the instance saw the second request: %v; client saw %q", hidden, answers)
				}
			})
		}
	})
	if bad := seen.ambiguous(); bad != "" {
		t.Errorf("the instance got %q", bad)
	}
}

// send returns what comes back until the connection is closed or nothing more comes: a body may want its rest. The
// client does not close its side, which would cancel its requests.
func (r *rig) send(wire string) string {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, wire)
	if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		r.t.Fatal(err)
	}
	answers, _ := io.ReadAll(conn) // ends with the connection or the deadline; both are fine
	return string(answers)
}

// rawBackend reads what comes over the wire with its own eyes: it notes each request's path and head.
func rawBackend(t *testing.T, seen *paths) string {
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
			serving.Go(func() { seen.serve(conn) })
		}
	})
	t.Cleanup(func() { _ = listener.Close(); serving.Wait() })
	return listener.Addr().String()
}

type paths struct {
	mu    sync.Mutex
	heads []string
}

func (p *paths) serve(conn net.Conn) {
	defer conn.Close()
	text := &strings.Builder{}
	reader := bufio.NewReader(io.TeeReader(conn, text))
	request, err := http.ReadRequest(reader)
	if err != nil {
		return
	}
	p.mu.Lock()
	head, _, _ := strings.Cut(text.String(), "\r\n\r\n")
	p.heads = append(p.heads, head)
	p.mu.Unlock()
	_, _ = io.Copy(io.Discard, request.Body)
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

func (p *paths) has(path string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.heads {
		if strings.HasPrefix(h, "GET "+path+" ") {
			return true
		}
	}
	return false
}

// ambiguous returns a head that frames its body in two ways.
func (p *paths) ambiguous() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.heads {
		low := strings.ToLower(h)
		if strings.Count(low, "\ncontent-length:")+strings.Count(low, "\ntransfer-encoding:") > 1 || strings.Contains(low, "\n ") {
			return h
		}
	}
	return ""
}
