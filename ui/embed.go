// Package ui serves the dashboard that is embedded into the binary.
//
// It knows files and nothing of the API. Without a dashboard inside (built without Node) it says so on a plain page; it
// never fails to build or to start for that reason.
package ui

import (
	"embed"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:embed all:dist
var dist embed.FS

// policy lets the page load only what is ours. Styles may be inline: the component library writes its variables that way.
const policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; " +
	"connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; manifest-src 'self'"

const (
	forever = "public, max-age=31536000, immutable"
	recheck = "no-cache"
)

// absent is what a navigation gets when the binary was built without Node.
const absent = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Pandu</title></head>
<body>
<h1>Pandu is running</h1>
<p>This binary was built without the dashboard. To build it, install Node.js 20.19 or newer, run <code>make ui</code> and build again.</p>
<p>The API under <code>/api/v1</code> and the <code>pandu</code> command line work without it.</p>
</body>
</html>
`

// Handler serves the dashboard: hashed files for ever, the page itself rechecked each time, and the page for every other
// address that a browser navigates to. Anything else is 404.
func Handler() http.Handler {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		panic("ui: " + err.Error()) // the pattern above guarantees the folder
	}
	return handler(files)
}

func handler(files fs.FS) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		header(w.Header())
		name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
		if servable(name) && serve(w, r, files, name) {
			return
		}
		if !navigates(r) {
			http.NotFound(w, r)
			return
		}
		if !serve(w, r, files, "index.html") {
			page(w, r, []byte(absent), "text/html; charset=utf-8")
		}
	})
}

func header(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
}

// servable says whether a name is a file of the dashboard's own: not what the build keeps beside it.
func servable(name string) bool {
	return name != "" && !strings.HasSuffix(name, ".gz") && !strings.HasPrefix(name, ".")
}

// navigates says whether a browser wants a page: its address bar asks for HTML, scripts and images do not. A path that
// names a file or the API is never a page, so that a missing one is not answered with HTML.
func navigates(r *http.Request) bool {
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		return false
	}
	return !strings.HasPrefix(r.URL.Path, "/assets/") && r.URL.Path != "/api" && !strings.HasPrefix(r.URL.Path, "/api/")
}

// serve writes a file, compressed when that was made at build time and the browser takes it; false when there is none.
func serve(w http.ResponseWriter, r *http.Request, files fs.FS, name string) bool {
	body, err := fs.ReadFile(files, name)
	if err != nil {
		return false
	}
	h := w.Header()
	h.Set("Vary", "Accept-Encoding")
	h.Set("Cache-Control", recheck)
	if strings.HasPrefix(name, "assets/") {
		h.Set("Cache-Control", forever)
	}
	if acceptsGzip(r.Header.Get("Accept-Encoding")) {
		if packed, err := fs.ReadFile(files, name+".gz"); err == nil {
			h.Set("Content-Encoding", "gzip")
			body = packed
		}
	}
	page(w, r, body, contentType(name))
	return true
}

func page(w http.ResponseWriter, r *http.Request, body []byte, kind string) {
	h := w.Header()
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", recheck)
	}
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) //nolint:gosec // a file of ours; the browser went away: nobody to tell
	}
}

// acceptsGzip reads Accept-Encoding; "gzip;q=0" refuses.
func acceptsGzip(accepted string) bool {
	for part := range strings.SplitSeq(accepted, ",") {
		coding, quality, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			q := strings.ReplaceAll(quality, " ", "")
			return q != "q=0" && q != "q=0.0" && q != "q=0.00" && q != "q=0.000"
		}
	}
	return false
}

// contentType knows the few kinds that a build makes; the machine's own table is not asked, it may be missing or wrong.
func contentType(name string) string {
	kinds := map[string]string{
		".css": "text/css; charset=utf-8", ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
		".json": "application/json", ".png": "image/png", ".svg": "image/svg+xml", ".woff2": "font/woff2",
	}
	if kind, ok := kinds[path.Ext(name)]; ok {
		return kind
	}
	return "application/octet-stream"
}
