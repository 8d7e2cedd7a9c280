package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/sirupsen/logrus"
)

// newProxy runs a proxy before upstream.
func newProxy(t *testing.T, dir string, upstream func() string, transport http.RoundTripper) *Service {
	t.Helper()
	s, err := New(Deps{Dir: dir, Transport: transport, Upstream: upstream, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

func fixed(url string) func() string { return func() string { return url } }

func call(t *testing.T, method, url, body string, headers ...string) (status int, header http.Header, text string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			request.Host = headers[i+1]
		}
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(data)
}

// TestRealRegistryOverTLS uploads a blob in the way Docker does and reads it back, through the proxy.
func TestRealRegistryOverTLS(t *testing.T) {
	config := &configuration.Configuration{Storage: configuration.Storage{"filesystem": {"rootdirectory": t.TempDir()}}}
	config.Catalog.MaxEntries, config.Log.AccessLog.Disabled = 10, true
	logrus.SetOutput(io.Discard)
	up := httptest.NewTLSServer(handlers.NewApp(context.Background(), config))
	defer up.Close()
	proxy := newProxy(t, t.TempDir(), fixed(up.URL), up.Client().Transport)
	base := "http://" + proxy.Address()
	if status, _, _ := call(t, http.MethodGet, base+"/v2/", ""); status != http.StatusOK {
		t.Fatalf("GET /v2/ = %d", status)
	}
	blob := strings.Repeat("layer", 100_000)
	hash := sha256.Sum256([]byte(blob))
	digest := "sha256:" + hex.EncodeToString(hash[:])
	status, header, _ := call(t, http.MethodPost, base+"/v2/acme/app/blobs/uploads/", "")
	location := header.Get("Location")
	if status != http.StatusAccepted || !strings.HasPrefix(location, "/v2/acme/app/") {
		t.Fatalf("POST = %d, Location %q", status, location)
	}
	status, header, _ = call(t, http.MethodPatch, base+location, blob[:1000], "Content-Type", "application/octet-stream")
	location = header.Get("Location")
	if status != http.StatusAccepted || !strings.HasPrefix(location, "/v2/acme/app/") {
		t.Fatalf("PATCH = %d, Location %q", status, location)
	}
	if status, _, text := call(t, http.MethodPut, base+location+"&digest="+digest, blob[1000:], "Content-Type", "application/octet-stream"); status != http.StatusCreated {
		t.Fatalf("PUT = %d %s", status, text)
	}
	if status, _, text := call(t, http.MethodGet, base+"/v2/acme/app/blobs/"+digest, ""); status != http.StatusOK || text != blob {
		t.Errorf("GET = %d with %d bytes", status, len(text))
	}
}

func TestOnlyTheRegistryAndOnlyThisMachine(t *testing.T) {
	var seen atomic.Value
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { seen.Store(r.Clone(context.Background())) }))
	defer up.Close()
	base := "http://" + newProxy(t, t.TempDir(), fixed(up.URL), http.DefaultTransport).Address()
	for path, want := range map[string]int{"/v2/": 200, "/v2/a/b/tags/list": 200, "/v2": 404, "/": 404, "/api/v1/projects": 404, "/v2/../api/v1": 404, "/v2/%2e%2e/api/v1": 404, "/v2/x/..": 404, "/v3/": 404} {
		if status, _, _ := call(t, http.MethodGet, base+path, ""); status != want {
			t.Errorf("GET %s = %d, want %d", path, status, want)
		}
	}
	if status, _, _ := call(t, http.MethodGet, base+"/v2/", "", "Host", "rebound.example.com"); status != http.StatusMisdirectedRequest {
		t.Errorf("foreign host = %d", status)
	}
	if status, _, _ := call(t, http.MethodGet, base+"/v2/", "", "Authorization", "Basic eA==", "Cookie", "a=b", "X-Forwarded-For", "6.6.6.6"); status != 200 {
		t.Fatalf("GET = %d", status)
	}
	got, _ := seen.Load().(*http.Request)
	if got.Header.Get("Authorization") != "" || got.Header.Get("Cookie") != "" || strings.Contains(got.Header.Get("X-Forwarded-For"), "6.6.6.6") {
		t.Errorf("passed on: %v", got.Header)
	}
}

func TestAwayIs503(t *testing.T) {
	proxy := newProxy(t, t.TempDir(), fixed("http://127.0.0.1:1"), http.DefaultTransport)
	for _, method := range []string{http.MethodPost, http.MethodGet} {
		status, header, text := call(t, method, "http://"+proxy.Address()+"/v2/x", "")
		if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" || !strings.Contains(text, "UNAVAILABLE") {
			t.Errorf("%s = %d %v %s", method, status, header, text)
		}
	}
	none := newProxy(t, t.TempDir(), fixed(""), http.DefaultTransport)
	if status, _, _ := call(t, http.MethodGet, "http://"+none.Address()+"/v2/", ""); status != http.StatusServiceUnavailable {
		t.Errorf("without a manager = %d", status)
	}
}

// flaky fails the first calls of each method.
type flaky struct {
	fail  int32
	calls atomic.Int32
}

func (f *flaky) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.calls.Add(1) <= f.fail {
		return nil, fmt.Errorf("connection reset")
	}
	return http.DefaultTransport.RoundTrip(r)
}

func TestRetriesOnlyWhatIsSafe(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer up.Close()
	for method, want := range map[string]int{http.MethodGet: 200, http.MethodHead: 200, http.MethodPost: 503, http.MethodPatch: 503, http.MethodPut: 503, http.MethodDelete: 503} {
		transport := &flaky{fail: 2}
		proxy := newProxy(t, t.TempDir(), fixed(up.URL), transport)
		body := ""
		if method != http.MethodGet && method != http.MethodHead {
			body = "x"
		}
		if status, _, _ := call(t, method, "http://"+proxy.Address()+"/v2/x", body); status != want {
			t.Errorf("%s = %d after %d calls, want %d", method, status, transport.calls.Load(), want)
		}
	}
}

// TestStreams sees the first part of an answer before the last was sent.
func TestStreams(t *testing.T) {
	release := make(chan struct{})
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
		<-release
		_, _ = io.WriteString(w, "last")
	}))
	defer up.Close()
	proxy := newProxy(t, t.TempDir(), fixed(up.URL), http.DefaultTransport)
	answer, err := http.Get("http://" + proxy.Address() + "/v2/x")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	part := make([]byte, 5)
	if _, err := io.ReadFull(answer.Body, part); err != nil || string(part) != "first" {
		t.Fatalf("read %q, %v", part, err)
	}
	close(release)
	if rest, err := io.ReadAll(answer.Body); err != nil || string(rest) != "last" {
		t.Errorf("read %q, %v", rest, err)
	}
}

func TestPortIsRemembered(t *testing.T) {
	dir := t.TempDir()
	first, err := New(Deps{Dir: dir, Logger: slog.Default()})
	if err != nil {
		t.Fatal(err)
	}
	address := first.Address()
	if host, _, _ := net.SplitHostPort(address); host != "127.0.0.1" {
		t.Errorf("address = %s", address)
	}
	if _, err := New(Deps{Dir: dir, Logger: slog.Default()}); err == nil {
		t.Error("a port in use was taken for another")
	}
	first.listener.Close()
	second, err := New(Deps{Dir: dir, Logger: slog.Default()})
	if err != nil {
		t.Fatal(err)
	}
	defer second.listener.Close()
	if second.Address() != address {
		t.Errorf("address = %s, then %s", address, second.Address())
	}
}
