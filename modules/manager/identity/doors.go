package identity

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"
	"github.com/labstack/echo/v4"
)

// Prefix is the path below which every door of the API lies.
const Prefix = "/api/v1"

// Door is one HTTP door. Exactly one of Permission, Public, AnyMember and Operator says who may pass, except that an
// Operator door may name one of the operator's permissions as well.
type Door struct {
	ID          string // operation id in the OpenAPI text, e.g. list-projects
	Method      string
	Path        string // below Prefix, with {name} for parameters
	Summary     string // one sentence
	Description string
	Tag         string // the room, as the reader knows it: projects, deployments

	Permission Permission // in the request's organization
	Public     bool       // anyone, also without credentials
	AnyMember  bool       // anyone signed in, with or without an organization
	Operator   bool       // operators of the platform

	Status  int           // of success; 0: 200, or 204 without a body
	Creates bool          // honours Idempotency-Key
	MaxBody int64         // bytes of a JSON body; 0: 1 MiB
	Timeout time.Duration // of the handler; 0: 30 s. Raw doors have none
}

// pass is the word for who may pass, as routes.golden shows it.
func (d Door) pass() string {
	switch {
	case d.Public:
		return "public"
	case d.AnyMember:
		return "signed-in"
	case d.Operator && d.Permission != "":
		return "operator:" + string(d.Permission)
	case d.Operator:
		return "operator"
	default:
		return string(d.Permission)
	}
}

// Doors is the registry of every HTTP door below Prefix: it checks who comes in, hands the actor to the handler,
// answers in problem details and writes the OpenAPI text. A door that is not declared here does not exist.
type Doors struct {
	service *Service
	log     *slog.Logger
	echo    *echo.Echo
	group   *echo.Group
	api     huma.API
	doors   []Door
	origin  *http.CrossOriginProtection
	text    document

	streams    places
	renewEvery time.Duration // see streamRenew
}

// NewDoors makes the registry on e and declares this room's own doors. version is the program's, for the OpenAPI text.
// It sets the error handler of e, and makes e trust nobody's X-Forwarded-For unless e has an IPExtractor already.
func NewDoors(e *echo.Echo, s *Service, log *slog.Logger, version string) *Doors {
	d := &Doors{service: s, log: log, echo: e, group: e.Group(Prefix), origin: crossOrigin(s.publicURL), renewEvery: streamRenew}
	d.api = humaecho.NewV4WithGroup(e, d.group, d.humaConfig(version))
	if e.IPExtractor == nil {
		e.IPExtractor = echo.ExtractIPDirect()
	}
	e.HTTPErrorHandler = func(err error, c echo.Context) { d.Problem(c, err) }
	d.declareText()
	s.declare(d)
	return d
}

// Handle declares a door whose input and output are Go types: I has path, query and header fields and a Body, O a Body
// (and headers); see huma. The handler runs only for an actor that may pass and returns faults.
func Handle[I, O any](d *Doors, door Door, fn func(ctx context.Context, actor Actor, in *I) (*O, error)) {
	d.doors = append(d.doors, door)
	op := huma.Operation{
		OperationID: door.ID, Method: door.Method, Path: door.Path, Summary: door.Summary, Description: door.Description,
		Tags: []string{door.Tag}, DefaultStatus: door.Status, MaxBodyBytes: door.MaxBody,
		Security: security(door), Parameters: d.parameters(door), Middlewares: huma.Middlewares{d.guard(door)},
		Responses: map[string]*huma.Response{"default": d.problemResponse()},
	}
	timeout := door.Timeout
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	huma.Register(d.api, op, func(ctx context.Context, in *I) (*O, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		out, err := fn(ctx, ActorFrom(ctx), in)
		if err != nil {
			return nil, d.refuse(ctx, err)
		}
		return out, nil
	})
}

// guard is enter as a middleware of huma.
func (d *Doors) guard(door Door) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		c := humaecho.UnwrapV4(ctx)
		if err := d.enter(c, door, func() error { next(ctx); return nil }); err != nil {
			d.Problem(c, err)
		}
	}
}

// Raw declares a door with a handler of its own, for uploads, downloads and streams. request and response are for the
// OpenAPI text: nil for none, a string for a media type of bytes ("application/zip"), any other value for its JSON
// schema; fields of request tagged query or header are parameters.
func (d *Doors) Raw(door Door, request, response any, fn func(c echo.Context, actor Actor) error) {
	d.doors = append(d.doors, door)
	d.describe(door, request, response)
	d.group.Add(door.Method, echoPath(door.Path), func(c echo.Context) error {
		return d.enter(c, door, func() error { return fn(c, ActorFrom(c.Request().Context())) })
	})
}

// Check refuses a registry with a door that does not say who may pass, or a route below Prefix that is not a door.
func (d *Doors) Check() error {
	declared := map[string]bool{}
	for _, door := range d.doors {
		if err := door.check(); err != nil {
			return err
		}
		key := door.Method + " " + Prefix + echoPath(door.Path)
		if declared[key] {
			return fmt.Errorf("door %s is declared twice", key)
		}
		declared[key] = true
	}
	for _, r := range d.echo.Routes() {
		if strings.HasPrefix(r.Path, Prefix) && r.Method != echo.RouteNotFound && !declared[r.Method+" "+r.Path] {
			return fmt.Errorf("route %s %s is not declared as a door", r.Method, r.Path)
		}
	}
	return nil
}

func (d Door) check() error {
	count := 0
	for _, says := range []bool{d.Public, d.AnyMember, d.Operator, d.Permission != "" && !d.Operator} {
		if says {
			count++
		}
	}
	switch {
	case d.ID == "" || d.Method == "" || !strings.HasPrefix(d.Path, "/") || d.Summary == "" || d.Tag == "":
		return fmt.Errorf("door %s %s lacks an id, a method, a path, a summary or a tag", d.Method, d.Path)
	case count != 1:
		return fmt.Errorf("door %s must say once who may pass", d.ID)
	case d.Permission != "" && !d.Permission.Known():
		return fmt.Errorf("door %s asks for the unknown permission %s", d.ID, d.Permission)
	case d.Permission != "" && d.Permission.operator() != d.Operator:
		return fmt.Errorf("door %s: the operator's permissions and only they belong to operator doors", d.ID)
	}
	return nil
}

// Golden lists every door as METHOD PATH PERMISSION, sorted by path, for routes.golden.
func (d *Doors) Golden() []string {
	doors := slices.Clone(d.doors)
	slices.SortFunc(doors, func(a, b Door) int {
		return strings.Compare(a.Path+" "+a.Method, b.Path+" "+b.Method)
	})
	lines := make([]string, 0, len(doors))
	for _, door := range doors {
		lines = append(lines, door.Method+" "+Prefix+door.Path+" "+door.pass())
	}
	return lines
}

// List returns every declared door, in the order of declaration.
func (d *Doors) List() []Door { return slices.Clone(d.doors) }

func echoPath(path string) string { return strings.NewReplacer("{", ":", "}", "").Replace(path) }

// Body is the output of a door that answers with T.
type Body[T any] struct{ Body T }

// Reply makes a Body.
func Reply[T any](v T) *Body[T] { return &Body[T]{v} }

// NoContent is the output of a door that answers with 204.
type NoContent struct{}

type actorKey struct{}

// ActorFrom is the actor of the request; the zero Actor, who may do nothing, when the context is not of a request.
func ActorFrom(ctx context.Context) Actor {
	a, _ := ctx.Value(actorKey{}).(Actor)
	return a
}

// WithActor puts an actor into the context, for doors outside this registry and for tests.
func WithActor(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}
