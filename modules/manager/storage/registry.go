package storage

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem" // the driver named below
	"github.com/google/uuid"
	"github.com/sirupsen/logrus"

	"pandu/modules/kit/fault"
)

// Authorizer says whether the request may push to (or else pull from) a repository. digest is what it asks for, a
// manifest's or a layer's; "" when the request names none (an upload in progress, a tag). nil lets it pass; a fault of
// kind Unauthorized, Denied or NotFound is answered as such.
type Authorizer func(r *http.Request, repository string, push bool, digest string) error

// Registry is the panel's own image registry, an http.Handler for /v2/. Close it after the server has stopped.
type Registry struct {
	service   *Service
	log       *slog.Logger
	authorize Authorizer
	app       *handlers.App
}

// Registry makes the registry on this service's directory. There is one repository per thing that is built; nothing is
// shared between repositories except bytes on disk: no mounts, no catalogue, no deleting over HTTP.
func (s *Service) Registry(ctx context.Context, authorize Authorizer) (*Registry, error) {
	secret, err := s.identity.Digest(ctx, s.db.Pool, uuid.Nil, []byte("registry upload state"))
	if err != nil {
		return nil, fmt.Errorf("make registry secret: %w", err)
	}
	redirectLogs(s.log)
	app, err := newApp(ctx, s.registryDir(), secret)
	if err != nil {
		return nil, err
	}
	return &Registry{service: s, log: s.log, authorize: authorize, app: app}, nil
}

// newApp makes distribution's handler, which panics where others return an error.
func newApp(ctx context.Context, dir, secret string) (app *handlers.App, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("start registry: %v", r)
		}
	}()
	c := &configuration.Configuration{Storage: configuration.Storage{
		"filesystem": configuration.Parameters{"rootdirectory": dir, "maxthreads": 100},
		"delete":     configuration.Parameters{"enabled": false},
		"redirect":   configuration.Parameters{"disable": true},
		"maintenance": configuration.Parameters{"uploadpurging": map[any]any{
			"enabled": true, "age": "24h", "interval": "1h", "dryrun": false,
		}},
	}}
	c.HTTP.Secret, c.HTTP.RelativeURLs = secret, true
	c.Log.AccessLog.Disabled = true
	c.Catalog.MaxEntries = 1
	// The handler outlives the context of its making: Close ends it.
	return handlers.NewApp(context.WithoutCancel(ctx), c), nil
}

// Close stops what runs beside the requests.
func (g *Registry) Close() error { return g.app.Shutdown() }

// ServeHTTP judges a request by its path before distribution sees it, and remembers what was pushed or asked for.
func (g *Registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	want, ok := parseRegistry(r)
	if !ok {
		registryError(w, http.StatusNotFound, "UNSUPPORTED", "This registry does not offer that.")
		return
	}
	if err := g.authorize(r, want.repository, want.push, want.digest); err != nil {
		g.refuse(w, r, err)
		return
	}
	if want.kind == kindUpload {
		r = withoutMount(r)
	}
	seen := &statusWriter{ResponseWriter: w}
	g.app.ServeHTTP(seen, r)
	if err := g.service.remember(context.WithoutCancel(r.Context()), want, seen); err != nil {
		g.log.ErrorContext(r.Context(), "pushed or pulled image not recorded", "repository", want.repository, "error", err)
	}
}

func (g *Registry) refuse(w http.ResponseWriter, r *http.Request, err error) {
	f := fault.From(err)
	switch f.Kind {
	case fault.Unauthorized:
		w.Header().Set("WWW-Authenticate", `Basic realm="pandu"`)
		registryError(w, http.StatusUnauthorized, "UNAUTHORIZED", f.Message)
	case fault.Denied:
		registryError(w, http.StatusForbidden, "DENIED", f.Message)
	case fault.NotFound:
		registryError(w, http.StatusNotFound, "NAME_UNKNOWN", f.Message)
	case fault.Unavailable, fault.Timeout:
		registryError(w, http.StatusServiceUnavailable, "UNAVAILABLE", f.Message)
	default:
		g.log.ErrorContext(r.Context(), "registry request failed", "error", err)
		registryError(w, f.Kind.Status(), "UNKNOWN", f.Message)
	}
}

// redirectLogs sends what distribution logs, through a global logger, to ours: warnings and worse.
func redirectLogs(log *slog.Logger) {
	l := logrus.StandardLogger()
	l.SetOutput(io.Discard)
	l.SetLevel(logrus.WarnLevel)
	l.ReplaceHooks(logrus.LevelHooks{})
	l.AddHook(slogHook{log})
}

type slogHook struct{ log *slog.Logger }

func (slogHook) Levels() []logrus.Level {
	return []logrus.Level{logrus.WarnLevel, logrus.ErrorLevel, logrus.FatalLevel, logrus.PanicLevel}
}

func (h slogHook) Fire(e *logrus.Entry) error {
	level := slog.LevelError
	switch {
	case e.Message == "response completed with error":
		level = slog.LevelDebug // also what is merely not there yet, which every push asks for first
	case e.Level == logrus.WarnLevel:
		level = slog.LevelWarn
	}
	h.log.Log(context.Background(), level, "registry", "message", e.Message)
	return nil
}
