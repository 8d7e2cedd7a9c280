// Package registry is an image registry on loopback for tests, in the place of the panel's own.
package registry

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pandu/tests/engine"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory" // the storage of this registry
	"github.com/moby/moby/client"
	"github.com/sirupsen/logrus"
)

// Registry serves until the test ends.
type Registry struct {
	Address string // 127.0.0.1:PORT
	engine  *engine.Engine
	down    atomic.Bool
	delay   atomic.Int64
}

// Start serves an empty registry.
func Start(t testing.TB, e *engine.Engine) *Registry {
	t.Helper()
	c := &configuration.Configuration{Storage: configuration.Storage{"inmemory": configuration.Parameters{}}}
	c.Log.AccessLog.Disabled = true
	c.Log.Level = "error"
	c.HTTP.Secret = "only for tests"
	logrus.SetOutput(io.Discard) // the registry's logger is the package's own and nobody else's here
	app := handlers.NewApp(context.WithoutCancel(t.Context()), c)
	r, over := &Registry{engine: e}, make(chan struct{})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if r.down.Load() {
			http.Error(w, "away", http.StatusServiceUnavailable)
			return
		}
		select {
		case <-q.Context().Done():
			return
		case <-over:
			return
		case <-time.After(time.Duration(r.delay.Load())):
		}
		app.ServeHTTP(w, q)
	}))
	s.Start()
	t.Cleanup(func() {
		close(over)
		s.Close()
	})
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	r.Address = "127.0.0.1:" + port
	return r
}

// SetDown makes the registry answer 503 to everything, or answer again.
func (r *Registry) SetDown(down bool) { r.down.Store(down) }

// SetDelay makes every answer wait.
func (r *Registry) SetDelay(d time.Duration) { r.delay.Store(int64(d)) }

// Push puts an image of the engine into a repository and returns its digest. The engine keeps no name of it.
func (r *Registry) Push(ctx context.Context, image, repository string) (digest string, err error) {
	name := r.Address + "/" + repository + ":test"
	if _, err := r.engine.Client.ImageTag(ctx, client.ImageTagOptions{Source: image, Target: name}); err != nil {
		return "", fmt.Errorf("tag image: %w", err)
	}
	p, err := r.engine.Client.ImagePush(ctx, name, client.ImagePushOptions{RegistryAuth: "e30="})
	if err != nil {
		return "", fmt.Errorf("push image: %w", err)
	}
	said, err := io.ReadAll(p)
	_ = p.Close()
	if err != nil {
		return "", fmt.Errorf("push image: %w", err)
	}
	_, rest, found := strings.Cut(string(said), "digest: sha256:")
	if !found || len(rest) < 64 {
		return "", fmt.Errorf("push image: no digest in %s", said)
	}
	digest = "sha256:" + rest[:64]
	for _, n := range []string{name, r.Address + "/" + repository + "@" + digest} {
		_, _ = r.engine.Client.ImageRemove(ctx, n, client.ImageRemoveOptions{})
	}
	return digest, nil
}
