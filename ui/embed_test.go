package ui

import (
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

const html = "text/html,application/xhtml+xml,*/*;q=0.8"

func built() fs.FS {
	return fstest.MapFS{
		".keep":                 {},
		".vite/manifest.json":   {Data: []byte("{}")},
		"index.html":            {Data: []byte("<!doctype html>page")},
		"index.html.gz":         {Data: []byte("packed page")},
		"assets/app-1a2b.js":    {Data: []byte("code()")},
		"assets/app-1a2b.js.gz": {Data: []byte("packed code")},
		"assets/app-1a2b.css":   {Data: []byte("body{}")},
	}
}

func get(t *testing.T, files fs.FS, method, target string, headers map[string]string) (*http.Response, string) {
	t.Helper()
	request := httptest.NewRequest(method, target, nil)
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	recorder := httptest.NewRecorder()
	handler(files).ServeHTTP(recorder, request)
	answer := recorder.Result()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

func TestHandler(t *testing.T) {
	cases := map[string]struct {
		method, target, accept, encoding string
		status                           int
		body, cache, packed              string
	}{
		"the page":                       {"GET", "/", html, "", 200, "<!doctype html>page", recheck, ""},
		"the page packed":                {"GET", "/", html, "gzip, br", 200, "packed page", recheck, "gzip"},
		"gzip refused":                   {"GET", "/", html, "gzip;q=0", 200, "<!doctype html>page", recheck, ""},
		"a file for ever":                {"GET", "/assets/app-1a2b.js", "*/*", "", 200, "code()", forever, ""},
		"a file packed":                  {"GET", "/assets/app-1a2b.js", "*/*", "br, gzip", 200, "packed code", forever, "gzip"},
		"a file that was not packed":     {"GET", "/assets/app-1a2b.css", "*/*", "gzip", 200, "body{}", forever, ""},
		"an address inside":              {"GET", "/projects/shop/logs", html, "", 200, "<!doctype html>page", recheck, ""},
		"an address with a dot":          {"GET", "/projects/shop.v2", html, "", 200, "<!doctype html>page", recheck, ""},
		"only the head":                  {"HEAD", "/projects/shop", html, "", 200, "", recheck, ""},
		"a fetch is no navigation":       {"GET", "/projects/shop", "application/json", "", 404, "", "", ""},
		"a missing file is no page":      {"GET", "/assets/old-9f9f.js", html, "", 404, "", "", ""},
		"the API is no page":             {"GET", "/api/v1/nothing", html, "", 404, "", "", ""},
		"what is kept beside is no file": {"GET", "/assets/app-1a2b.js.gz", "*/*", "", 404, "", "", ""},
		"hidden files":                   {"GET", "/.vite/manifest.json", "*/*", "", 404, "", "", ""},
		"out of the folder":              {"GET", "/../embed.go", "*/*", "", 404, "", "", ""},
		"a folder":                       {"GET", "/assets", "*/*", "", 404, "", "", ""},
		"no writing":                     {"POST", "/", html, "", 405, "", "", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			answer, body := get(t, built(), c.method, c.target, map[string]string{"Accept": c.accept, "Accept-Encoding": c.encoding})
			if answer.StatusCode != c.status {
				t.Fatalf("status %d, want %d", answer.StatusCode, c.status)
			}
			if c.status != http.StatusOK {
				return
			}
			if body != c.body {
				t.Errorf("body %q, want %q", body, c.body)
			}
			if got := answer.Header.Get("Cache-Control"); got != c.cache {
				t.Errorf("Cache-Control %q, want %q", got, c.cache)
			}
			if got := answer.Header.Get("Content-Encoding"); got != c.packed {
				t.Errorf("Content-Encoding %q, want %q", got, c.packed)
			}
			if answer.Header.Get("Vary") != "Accept-Encoding" {
				t.Error("Vary does not name Accept-Encoding")
			}
		})
	}
}

func TestHandlerForbidsInlineScript(t *testing.T) {
	answer, _ := get(t, built(), "GET", "/", map[string]string{"Accept": html})
	script := ""
	for part := range strings.SplitSeq(answer.Header.Get("Content-Security-Policy"), ";") {
		if strings.HasPrefix(strings.TrimSpace(part), "script-src") {
			script = part
		}
	}
	if strings.TrimSpace(script) != "script-src 'self'" {
		t.Errorf("script-src is %q", script)
	}
}

func TestHandlerWithoutADashboard(t *testing.T) {
	empty := fstest.MapFS{".keep": {}}
	answer, body := get(t, empty, "GET", "/projects", map[string]string{"Accept": html})
	if answer.StatusCode != http.StatusOK || !strings.Contains(body, "make ui") {
		t.Errorf("got %d %q", answer.StatusCode, body)
	}
	if answer, _ := get(t, empty, "GET", "/assets/x.js", map[string]string{"Accept": "*/*"}); answer.StatusCode != http.StatusNotFound {
		t.Errorf("a file got %d, want 404", answer.StatusCode)
	}
}

func TestEmbeddedFolderIsThere(t *testing.T) {
	recorder := httptest.NewRecorder()
	request := httptest.NewRequest("GET", "/", nil)
	request.Header.Set("Accept", html)
	Handler().ServeHTTP(recorder, request)
	if recorder.Code != http.StatusOK {
		t.Errorf("got %d", recorder.Code)
	}
}
