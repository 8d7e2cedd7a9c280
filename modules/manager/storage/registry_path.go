package storage

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
)

// What a request to the registry is about.
type registryKind int

const (
	kindBase registryKind = iota // GET /v2/
	kindManifest
	kindBlob
	kindUpload // begin, continue, finish or give up an upload
)

// registryRequest is what the path and method of a request say.
type registryRequest struct {
	kind       registryKind
	method     string
	repository string
	digest     string
	push       bool
}

// repositoryName is the path grammar of the distribution specification, bounded.
var repositoryName = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)

// blobDigest: SHA-256 is what every builder uses; nothing else is stored.
var blobDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

var tagName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

var uploadName = regexp.MustCompile(`^[A-Za-z0-9_=-]{1,128}$`)

// parseRegistry knows the requests that we serve; every other one is not ok. It reads the decoded path that the router
// behind it reads, and refuses paths with anything encoded in them, so that the two cannot disagree.
func parseRegistry(r *http.Request) (registryRequest, bool) {
	q := registryRequest{method: r.Method}
	if r.URL.RawPath != "" || strings.Contains(r.URL.Path, "//") || strings.Contains(r.URL.Path, "/.") {
		return q, false
	}
	if r.URL.Path == "/v2/" {
		return q, r.Method == http.MethodGet || r.Method == http.MethodHead
	}
	rest, ok := strings.CutPrefix(r.URL.Path, "/v2/")
	if !ok || len(rest) > 500 {
		return q, false
	}
	if i := strings.LastIndex(rest, "/blobs/uploads/"); i > 0 {
		return q.upload(r, rest[:i], rest[i+len("/blobs/uploads/"):])
	}
	if i := strings.LastIndex(rest, "/blobs/"); i > 0 {
		return q.blob(rest[:i], rest[i+len("/blobs/"):])
	}
	if i := strings.LastIndex(rest, "/manifests/"); i > 0 {
		return q.manifest(rest[:i], rest[i+len("/manifests/"):])
	}
	return q, false
}

func (q registryRequest) upload(r *http.Request, repository, id string) (registryRequest, bool) {
	q.kind, q.repository, q.push = kindUpload, repository, true
	if given := r.URL.Query().Get("digest"); given != "" {
		q.digest = given
		if !blobDigest.MatchString(given) {
			return q, false
		}
	}
	switch r.Method {
	case http.MethodPost:
		return q, id == "" && repositoryName.MatchString(repository)
	case http.MethodGet, http.MethodHead, http.MethodPatch, http.MethodPut, http.MethodDelete:
		return q, uploadName.MatchString(id) && repositoryName.MatchString(repository)
	}
	return q, false
}

func (q registryRequest) blob(repository, reference string) (registryRequest, bool) {
	q.kind, q.repository, q.digest = kindBlob, repository, reference
	reads := q.method == http.MethodGet || q.method == http.MethodHead
	return q, reads && blobDigest.MatchString(reference) && repositoryName.MatchString(repository)
}

func (q registryRequest) manifest(repository, reference string) (registryRequest, bool) {
	q.kind, q.repository, q.push = kindManifest, repository, q.method == http.MethodPut
	if blobDigest.MatchString(reference) {
		q.digest = reference
	} else if !tagName.MatchString(reference) {
		return q, false
	}
	known := q.push || q.method == http.MethodGet || q.method == http.MethodHead
	return q, known && repositoryName.MatchString(repository)
}

// withoutMount takes from the beginning of an upload the wish to mount a blob of another repository, also where it
// stands in a form: the client then simply uploads.
func withoutMount(r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	query := r.URL.Query()
	query.Del("mount")
	query.Del("from")
	r.URL.RawQuery = query.Encode()
	r.RequestURI = r.URL.RequestURI()
	if t := r.Header.Get("Content-Type"); t != "" && !strings.HasPrefix(t, "application/octet-stream") {
		r.Header.Set("Content-Type", "application/octet-stream")
	}
	return r
}

// registryError answers in the form that registry clients read.
func registryError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}}) // the client has gone
}

// statusWriter keeps the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
