// Package fileserver serves a folder of pages over HTTP, and nothing else.
//
// It is the program inside the image of a static site: small, without settings beyond a folder and a port, and with the
// things a good web server does: types, ranges, validators by content, compressed siblings (page.html.br, page.html.gz),
// a 404.html, index.html for folders but no listings, long caching for files whose name holds a hash of their content.
//
// It never leaves its folder (os.Root), never shows names that begin with a dot except .well-known, and writes nothing.
package fileserver

import (
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path"
	"strings"
	"time"
)

// Handler serves the files of one folder.
type Handler struct {
	root *os.Root
	tags *tags
}

// New opens the folder.
func New(dir string) (*Handler, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open site: %w", err)
	}
	return &Handler{root: root, tags: newTags()}, nil
}

// Close closes the folder.
func (h *Handler) Close() error {
	if err := h.root.Close(); err != nil {
		return fmt.Errorf("close site: %w", err)
	}
	return nil
}

// ServeHTTP answers GET and HEAD.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	clean := path.Clean("/" + r.URL.Path)
	name := strings.TrimPrefix(clean, "/")
	if name == "" {
		name = "."
	}
	if hidden(name) || !fs.ValidPath(name) {
		h.missing(w, r)
		return
	}
	info, err := h.root.Stat(name)
	switch {
	case err != nil:
		h.missing(w, r)
	case info.IsDir() && !strings.HasSuffix(r.URL.Path, "/"):
		redirect(w, r, clean+"/")
	case info.IsDir():
		h.file(w, r, path.Join(name, "index.html"))
	case strings.HasSuffix(r.URL.Path, "/"):
		redirect(w, r, clean)
	default:
		h.file(w, r, name)
	}
}

func hidden(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") && part != "." && part != ".well-known" {
			return true
		}
	}
	return false
}

// redirect stays on this host: a path that begins with two slashes would be another one, and clean paths have one.
func redirect(w http.ResponseWriter, r *http.Request, to string) {
	target := (&urlPath{path: to, query: r.URL.RawQuery}).String()
	w.Header().Set("Cache-Control", "no-cache")
	http.Redirect(w, r, target, http.StatusMovedPermanently)
}

// file serves one file, or its compressed sibling when the browser takes it.
func (h *Handler) file(w http.ResponseWriter, r *http.Request, name string) {
	f, info, err := h.open(name)
	if err != nil {
		h.missing(w, r)
		return
	}
	defer f.Close()
	header := w.Header()
	header.Set("Content-Type", contentType(name, f))
	header.Set("Cache-Control", cacheControl(name))
	if packed, encoding := h.packed(r, name, header); packed != nil {
		defer packed.Close()
		header.Set("Content-Encoding", encoding)
		f = packed
		if info, err = f.Stat(); err != nil {
			http.Error(w, "the file cannot be read", http.StatusInternalServerError)
			return
		}
	}
	if tag := h.tags.of(f, info); tag != "" {
		header.Set("ETag", tag)
	}
	http.ServeContent(w, r, "", time.Time{}, f)
}

// open opens a regular file.
func (h *Handler) open(name string) (*os.File, fs.FileInfo, error) {
	f, err := h.root.Open(name)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// packed opens the best compressed sibling. Vary is set whenever there is one, whatever this request takes.
func (h *Handler) packed(r *http.Request, name string, header http.Header) (*os.File, string) {
	for _, kind := range [...][2]string{{".br", "br"}, {".gz", "gzip"}} {
		f, _, err := h.open(name + kind[0])
		if err != nil {
			continue
		}
		header.Set("Vary", "Accept-Encoding")
		if accepts(r.Header.Get("Accept-Encoding"), kind[1]) {
			return f, kind[1]
		}
		f.Close()
	}
	return nil, ""
}

// accepts reads an Accept-Encoding header: named and not refused with q=0.
func accepts(header, encoding string) bool {
	for item := range strings.SplitSeq(header, ",") {
		name, parameters, _ := strings.Cut(item, ";")
		if strings.EqualFold(strings.TrimSpace(name), encoding) {
			q := strings.ReplaceAll(strings.ToLower(parameters), " ", "")
			return !strings.HasPrefix(q, "q=0") || strings.ContainsAny(q[3:], "123456789")
		}
	}
	return false
}

// missing answers 404 with the site's own page when it has one.
func (h *Handler) missing(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-cache")
	f, _, err := h.open("404.html")
	if err != nil {
		http.Error(w, "404 page not found", http.StatusNotFound)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusNotFound)
	if r.Method == http.MethodGet {
		_, _ = io.Copy(w, f) // the client left
	}
}

// contentType is that of the name's ending, else of the first bytes. Text is UTF-8.
func contentType(name string, f io.ReadSeeker) string {
	ending := strings.ToLower(path.Ext(name))
	if t := types[ending]; t != "" {
		return t
	}
	if t := mime.TypeByExtension(ending); t != "" {
		return t
	}
	var head [512]byte
	n, _ := io.ReadFull(f, head[:]) // a short file is a short head
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "application/octet-stream"
	}
	return http.DetectContentType(head[:n])
}
