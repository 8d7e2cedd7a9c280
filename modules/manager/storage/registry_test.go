package storage_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"pandu/modules/kit/fault"
	"pandu/modules/manager/storage"
)

type registry struct {
	r      *room
	server *httptest.Server
	mu     sync.Mutex
	asked  []string
	refuse func(repository string, push bool, digest string) error
}

func newRegistry(t *testing.T) *registry {
	t.Helper()
	g := &registry{r: newRoom(t), refuse: func(string, bool, string) error { return nil }}
	var _ storage.Authorizer = g.authorize
	handler, err := g.r.storage.Registry(context.Background(), g.authorize)
	must(t, err)
	g.server = httptest.NewServer(handler)
	t.Cleanup(func() {
		g.server.Close()
		must(t, handler.Close())
	})
	return g
}

func (g *registry) authorize(_ *http.Request, repository string, push bool, digest string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, fmt.Sprintf("%s %v %.15s", repository, push, digest))
	return g.refuse(repository, push, digest)
}

func (g *registry) do(method, path string, body []byte, header ...string) *http.Response {
	g.r.t.Helper()
	url := path
	if strings.HasPrefix(path, "/") {
		url = g.server.URL + path
	}
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	must(g.r.t, err)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := g.server.Client().Do(req)
	must(g.r.t, err)
	g.r.t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

func digestOf(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

// push uploads a blob in two steps, as docker does, and returns its digest.
func (g *registry) push(repository string, blob []byte) string {
	g.r.t.Helper()
	res := g.do(http.MethodPost, "/v2/"+repository+"/blobs/uploads/", nil)
	g.status(res, http.StatusAccepted)
	location := res.Header.Get("Location")
	if !strings.HasPrefix(location, "/v2/") {
		g.r.t.Fatalf("location %q is not relative", location)
	}
	res = g.do(http.MethodPatch, location, blob, "Content-Type", "application/octet-stream")
	g.status(res, http.StatusAccepted)
	res = g.do(http.MethodPut, res.Header.Get("Location")+"&digest="+digestOf(blob), nil)
	g.status(res, http.StatusCreated)
	return digestOf(blob)
}

func (g *registry) pushImage(repository string) (manifest string, layer string) {
	g.r.t.Helper()
	config, body := []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`), []byte("layer of "+repository)
	configDigest := g.push(repository, config)
	layer = g.push(repository, body)
	text := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":%d}]}`,
		configDigest, len(config), layer, len(body))
	res := g.do(http.MethodPut, "/v2/"+repository+"/manifests/latest", []byte(text), "Content-Type", "application/vnd.oci.image.manifest.v1+json")
	g.status(res, http.StatusCreated)
	return digestOf([]byte(text)), layer
}

func (g *registry) status(res *http.Response, want int) {
	g.r.t.Helper()
	if res.StatusCode != want {
		body, _ := io.ReadAll(res.Body)
		g.r.t.Fatalf("%s %s: status %d, want %d: %s", res.Request.Method, res.Request.URL, res.StatusCode, want, body)
	}
}

func TestPushAndPull(t *testing.T) {
	g := newRegistry(t)
	manifest, layer := g.pushImage("p1/web")
	res := g.do(http.MethodGet, "/v2/p1/web/manifests/"+manifest, nil, "Accept", "application/vnd.oci.image.manifest.v1+json")
	g.status(res, http.StatusOK)
	if res.Header.Get("Docker-Content-Digest") != manifest {
		t.Fatalf("digest %q", res.Header.Get("Docker-Content-Digest"))
	}
	res = g.do(http.MethodGet, "/v2/p1/web/blobs/"+layer, nil)
	g.status(res, http.StatusOK)
	if body, _ := io.ReadAll(res.Body); string(body) != "layer of p1/web" {
		t.Fatalf("layer %q", body)
	}
	if n := g.r.count("select count(*) from storage.repository_blobs where repository = 'p1/web'"); n != 3 {
		t.Fatalf("%d blobs are recorded", n)
	}
	if n := g.r.count("select size from storage.blobs where digest = $1", layer); n != len("layer of p1/web") {
		t.Fatalf("recorded with %d bytes", n)
	}
	if n := g.r.count("select count(*) from storage.repository_blobs where manifest and digest = $1", manifest); n != 1 {
		t.Fatal("the manifest is not recorded as one")
	}
	_, err := g.r.db.Pool.Exec(context.Background(), "update storage.blobs set last_seen_at = now() - interval '20 hours'")
	must(t, err)
	g.status(g.do(http.MethodHead, "/v2/p1/web/blobs/"+layer, nil), http.StatusOK)
	if n := g.r.count("select count(*) from storage.blobs where last_seen_at > now() - interval '1 minute'"); n != 1 {
		t.Fatalf("asking renewed %d blobs", n)
	}
	must(t, g.r.storage.DeleteRepository(context.Background(), "p1/web"))
	g.status(g.do(http.MethodGet, "/v2/p1/web/manifests/"+manifest, nil), http.StatusNotFound)
	if n := g.r.count("select count(*) from storage.repository_blobs"); n != 0 {
		t.Fatalf("%d links are left", n)
	}
	if n := g.r.count("select count(*) from storage.blobs"); n != 3 {
		t.Fatalf("%d blobs are known to the collector", n)
	}
}

// One repository's bytes are not reachable through another, neither by asking nor by mounting.
func TestRepositoriesAreApart(t *testing.T) {
	g := newRegistry(t)
	manifest, layer := g.pushImage("victim/web")
	for _, path := range []string{"/blobs/" + layer, "/manifests/" + manifest} {
		g.status(g.do(http.MethodGet, "/v2/thief/web"+path, nil), http.StatusNotFound)
		g.status(g.do(http.MethodHead, "/v2/thief/web"+path, nil), http.StatusNotFound)
	}
	mount := "mount=" + layer + "&from=victim/web"
	g.status(g.do(http.MethodPost, "/v2/thief/web/blobs/uploads/?"+mount, nil), http.StatusAccepted)
	g.status(g.do(http.MethodPost, "/v2/thief/web/blobs/uploads/", []byte(mount), "Content-Type", "application/x-www-form-urlencoded"), http.StatusAccepted)
	g.status(g.do(http.MethodGet, "/v2/thief/web/blobs/"+layer, nil), http.StatusNotFound)
	g.pushImage("victim/web/below")
	must(t, g.r.storage.DeleteRepository(context.Background(), "victim/web"))
	if n := g.r.count("select count(*) from storage.repository_blobs where repository = 'victim/web/below'"); n != 3 {
		t.Fatalf("deleting a repository took one below its name: %d links are left", n)
	}
	_, below := digestOf(nil), digestOf([]byte("layer of victim/web/below"))
	g.status(g.do(http.MethodGet, "/v2/victim/web/below/blobs/"+below, nil), http.StatusOK)
}

func TestRegistryAsksBeforeEverything(t *testing.T) {
	g := newRegistry(t)
	manifest, layer := g.pushImage("p1/web")
	for kind, want := range map[fault.Kind]int{
		fault.Unauthorized: http.StatusUnauthorized, fault.Denied: http.StatusForbidden, fault.NotFound: http.StatusNotFound,
		fault.Internal: http.StatusInternalServerError, fault.Unavailable: http.StatusServiceUnavailable,
	} {
		g.refuse = func(string, bool, string) error { return fault.New(kind, "x", "No.") }
		for _, request := range [][2]string{
			{http.MethodGet, "/v2/"}, {http.MethodGet, "/v2/p1/web/manifests/" + manifest}, {http.MethodHead, "/v2/p1/web/blobs/" + layer},
			{http.MethodPut, "/v2/p1/web/manifests/latest"}, {http.MethodPost, "/v2/p1/web/blobs/uploads/"}, {http.MethodPatch, "/v2/p1/web/blobs/uploads/some-id"},
		} {
			g.status(g.do(request[0], request[1], nil), want)
		}
	}
	g.refuse = func(repository string, push bool, digest string) error {
		if repository != "p1/web" || push || digest != manifest {
			return fault.New(fault.Denied, "x", "No.")
		}
		return nil
	}
	g.status(g.do(http.MethodGet, "/v2/p1/web/manifests/"+manifest, nil, "Accept", "application/vnd.oci.image.manifest.v1+json"), http.StatusOK)
	g.status(g.do(http.MethodGet, "/v2/p1/web/manifests/latest", nil), http.StatusForbidden)
}

func TestRegistryOffersNothingElse(t *testing.T) {
	g := newRegistry(t)
	manifest, layer := g.pushImage("p1/web")
	g.asked = nil
	for _, request := range [][2]string{
		{http.MethodGet, "/v2/_catalog"}, {http.MethodGet, "/v2/p1/web/tags/list"}, {http.MethodDelete, "/v2/p1/web/manifests/" + manifest},
		{http.MethodDelete, "/v2/p1/web/blobs/" + layer}, {http.MethodGet, "/v2"}, {http.MethodGet, "/v1/x"}, {http.MethodGet, "/"},
		{http.MethodGet, "/v2/p1/../p2/web/blobs/" + layer}, {http.MethodGet, "/v2/p1%2fweb/blobs/" + layer}, {http.MethodGet, "/v2/P1/web/blobs/" + layer},
		{http.MethodGet, "/v2/p1/web/blobs/sha256:abc"}, {http.MethodGet, "/v2/p1/web/blobs/sha512:" + strings.Repeat("a", 128)}, {http.MethodGet, "/v2//web/blobs/" + layer},
		{http.MethodPost, "/v2/p1/web/blobs/uploads/?digest=nonsense"}, {http.MethodPut, "/v2/p1/web/blobs/" + layer}, {http.MethodGet, "/v2/p1/web/referrers/" + manifest},
	} {
		if res := g.do(request[0], request[1], nil); res.StatusCode != http.StatusNotFound && res.StatusCode != http.StatusMovedPermanently {
			t.Errorf("%s %s: status %d", request[0], request[1], res.StatusCode)
		}
	}
	if len(g.asked) != 0 {
		t.Fatalf("asked about %v", g.asked)
	}
}

func TestWrongDigestIsRefused(t *testing.T) {
	g := newRegistry(t)
	res := g.do(http.MethodPost, "/v2/p1/web/blobs/uploads/", nil)
	res = g.do(http.MethodPatch, res.Header.Get("Location"), []byte("bytes"), "Content-Type", "application/octet-stream")
	res = g.do(http.MethodPut, res.Header.Get("Location")+"&digest="+digestOf([]byte("other bytes")), nil)
	g.status(res, http.StatusBadRequest)
	if n := g.r.count("select count(*) from storage.blobs"); n != 0 {
		t.Fatalf("%d blobs are recorded", n)
	}
}
