package fileserver

import (
	"crypto/sha256"
	"encoding/base64"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"regexp"
	"strings"
	"sync"
	"time"
)

// types are those that every machine must agree on; images from scratch have no mime.types.
var types = map[string]string{
	".avif": "image/avif", ".css": "text/css; charset=utf-8", ".csv": "text/csv; charset=utf-8", ".gif": "image/gif",
	".htm": "text/html; charset=utf-8", ".html": "text/html; charset=utf-8", ".ico": "image/x-icon", ".jpeg": "image/jpeg",
	".jpg": "image/jpeg", ".js": "text/javascript; charset=utf-8", ".json": "application/json", ".map": "application/json",
	".md": "text/markdown; charset=utf-8", ".mjs": "text/javascript; charset=utf-8", ".mp3": "audio/mpeg", ".mp4": "video/mp4",
	".pdf": "application/pdf", ".png": "image/png", ".svg": "image/svg+xml", ".ttf": "font/ttf", ".txt": "text/plain; charset=utf-8",
	".wasm": "application/wasm", ".webm": "video/webm", ".webmanifest": "application/manifest+json", ".webp": "image/webp",
	".woff": "font/woff", ".woff2": "font/woff2", ".xml": "text/xml; charset=utf-8", ".zip": "application/zip",
}

// hashed is a name that bundlers make: a dot or dash, eight or more letters and digits, the ending.
var hashed = regexp.MustCompile(`[.-]([0-9A-Za-z_]{8,})\.[0-9a-z]+$`)

// cacheControl lets browsers keep what is named by its content for a year and makes them ask for everything else.
func cacheControl(name string) string {
	found := hashed.FindStringSubmatch(path.Base(name))
	if found != nil && strings.ContainsAny(found[1], "0123456789") && !strings.HasSuffix(name, ".html") {
		return "public, max-age=31536000, immutable"
	}
	return "no-cache"
}

// tags are entity tags by content, computed once per file. Times would not do: files of an image all have the same one.
type tags struct {
	mu    sync.Mutex
	known map[tagKey]string
}

type tagKey struct {
	name string
	size int64
	time time.Time
}

// maxTags bounds the memory of a site with very many files; beyond it tags are computed again.
const maxTags = 20_000

func newTags() *tags { return &tags{known: map[tagKey]string{}} }

// of is the tag of an open file, whose position is at its start before and after; empty when it cannot be read.
func (t *tags) of(f *os.File, info fs.FileInfo) string {
	key := tagKey{f.Name(), info.Size(), info.ModTime()}
	t.mu.Lock()
	tag := t.known[key]
	t.mu.Unlock()
	if tag != "" {
		return tag
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return ""
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return ""
	}
	tag = `"` + base64.RawURLEncoding.EncodeToString(hash.Sum(nil)[:15]) + `"`
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.known) < maxTags {
		t.known[key] = tag
	}
	return tag
}

// urlPath writes a path and query as a relative reference.
type urlPath struct{ path, query string }

func (u *urlPath) String() string { return (&url.URL{Path: u.path, RawQuery: u.query}).String() }
