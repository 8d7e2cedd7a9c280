package fileserver

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// site makes a folder of pages and a handler on it.
func site(t *testing.T, files map[string]string) *Handler {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
	}
	h, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

var pages = map[string]string{
	"index.html": "home", "404.html": "lost", "about.html": "about", "docs/index.html": "docs", "empty/file.txt": "file",
	"app.js": "plain", "app.js.gz": "gzipped", "app.js.br": "brotli", "assets/index-4f8a1c2d.js": "hashed", "assets/some-component.js": "not hashed",
	".env": "secret", "docs/.git/config": "secret", ".well-known/acme": "known", "unknown": "<html>", "page.html": "0123456789", "a b.txt": "space",
}

func ask(h http.Handler, method, target string, headers ...string) *http.Response {
	request := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestAnswers(t *testing.T) {
	h := site(t, pages)
	for _, test := range []struct {
		target, headers string
		status          int
		body            string
		want            string // "Header: value" that must be there
	}{
		{"/", "", 200, "home", "Content-Type: text/html; charset=utf-8"},
		{"/", "", 200, "home", "Cache-Control: no-cache"},
		{"/", "", 200, "home", "X-Content-Type-Options: nosniff"},
		{"/about.html", "", 200, "about", "Cache-Control: no-cache"},
		{"/a%20b.txt", "", 200, "space", "Content-Type: text/plain; charset=utf-8"},
		{"/docs", "", 301, "", "Location: /docs/"},
		{"/docs?a=1", "", 301, "", "Location: /docs/?a=1"},
		{"/docs/", "", 200, "docs", ""},
		{"/about.html/", "", 301, "", "Location: /about.html"},
		{"/empty/", "", 404, "lost", "Cache-Control: no-cache"},
		{"/nothing", "", 404, "lost", "Content-Type: text/html; charset=utf-8"},
		{"/.env", "", 404, "lost", ""},
		{"/docs/.git/config", "", 404, "lost", ""},
		{"/../../etc/passwd", "", 404, "lost", ""},
		{"/%2e%2e/%2e%2e/etc/passwd", "", 404, "lost", ""},
		{"/docs/..%2f..%2f..%2fetc/passwd", "", 404, "lost", ""},
		{"/about.html%00.txt", "", 404, "lost", ""},
		{"/.well-known/acme", "", 200, "known", ""},
		{"/unknown", "", 200, "<html>", "Content-Type: text/html; charset=utf-8"},
		{"/assets/index-4f8a1c2d.js", "", 200, "hashed", "Cache-Control: public, max-age=31536000, immutable"},
		{"/assets/some-component.js", "", 200, "not hashed", "Cache-Control: no-cache"},
		{"/app.js", "", 200, "plain", "Vary: Accept-Encoding"},
		{"/app.js", "gzip, deflate", 200, "gzipped", "Content-Encoding: gzip"},
		{"/app.js", "gzip, br;q=1.0", 200, "brotli", "Content-Type: text/javascript; charset=utf-8"},
		{"/app.js", "gzip;q=0, br;q=0.0", 200, "plain", ""},
	} {
		var headers []string
		if test.headers != "" {
			headers = []string{"Accept-Encoding", test.headers}
		}
		r := ask(h, http.MethodGet, test.target, headers...)
		name, value, _ := strings.Cut(test.want, ": ")
		if text := body(t, r); r.StatusCode != test.status || test.body != "" && text != test.body || r.Header.Get(name) != value {
			t.Errorf("GET %s (%s) = %d %q, %s %q, want %d %q %q", test.target, test.headers, r.StatusCode, text, name, r.Header.Get(name), test.status, test.body, value)
		}
	}
}

func TestRedirectStaysHere(t *testing.T) {
	h := site(t, map[string]string{"evil.example/index.html": "x", "404.html": "lost"})
	for _, target := range []string{"//evil.example", "///evil.example", `/\evil.example`, "/./evil.example"} {
		request := httptest.NewRequest(http.MethodGet, "http://site.test/", nil)
		request.URL.Path = target
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request)
		if to := w.Header().Get("Location"); to != "" && to != "/evil.example/" {
			t.Errorf("GET %s leads to %q", target, to)
		}
	}
}

func TestValidatorsAndRanges(t *testing.T) {
	h := site(t, pages)
	first := ask(h, http.MethodGet, "/page.html")
	tag := first.Header.Get("ETag")
	if tag == "" || first.Header.Get("Last-Modified") != "" {
		t.Errorf("ETag %q, Last-Modified %q", tag, first.Header.Get("Last-Modified"))
	}
	if r := ask(h, http.MethodGet, "/page.html", "If-None-Match", tag); r.StatusCode != http.StatusNotModified {
		t.Errorf("with the tag: %d", r.StatusCode)
	}
	if r := ask(h, http.MethodGet, "/page.html", "Range", "bytes=2-4"); r.StatusCode != http.StatusPartialContent || body(t, r) != "234" {
		t.Errorf("range: %d", r.StatusCode)
	}
	if r := ask(h, http.MethodHead, "/page.html"); r.StatusCode != 200 || r.Header.Get("Content-Length") != "10" || body(t, r) != "" {
		t.Errorf("HEAD: %d, %s bytes", r.StatusCode, r.Header.Get("Content-Length"))
	}
	other := site(t, map[string]string{"page.html": "9876543210"}) // the same name, size and time
	if r := ask(other, http.MethodGet, "/page.html", "If-None-Match", tag); r.StatusCode != 200 {
		t.Error("other content has the same tag")
	}
	if plain, packed := ask(h, http.MethodGet, "/app.js"), ask(h, http.MethodGet, "/app.js", "Accept-Encoding", "br"); plain.Header.Get("ETag") == packed.Header.Get("ETag") {
		t.Error("two encodings share a tag")
	}
	if r := ask(h, http.MethodPost, "/page.html"); r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") == "" {
		t.Errorf("POST: %d", r.StatusCode)
	}
}

func TestLinksMayNotLeave(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, target := range map[string]string{"out": outside, "up": "../../../etc/passwd", "in": "real.txt"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "real.txt"), []byte("real"), 0o644); err != nil {
		t.Fatal(err)
	}
	h, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for name, want := range map[string]int{"/out": 404, "/up": 404, "/in": 200} {
		if r := ask(h, http.MethodGet, name); r.StatusCode != want {
			t.Errorf("GET %s = %d, want %d", name, r.StatusCode, want)
		}
	}
}

// TestServeDrains stops the server while an answer is on its way: it arrives whole.
func TestServeDrains(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "big.bin"), make([]byte, 64<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, listener, dir) }()
	answer, err := http.Get("http://" + listener.Addr().String() + "/big.bin")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	cancel()
	if n, err := io.Copy(io.Discard, answer.Body); err != nil || n != 64<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := Main(t.Context(), []string{"fileserver", "--nonsense"}, ""); err == nil {
		t.Error("unknown arguments were taken")
	}
}
