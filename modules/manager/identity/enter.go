package identity

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"

	"github.com/labstack/echo/v4"

	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
)

const (
	organizationHeader = "Pandu-Organization"
	organizationQuery  = "organization"
	requestIDHeader    = "X-Request-Id"
)

var (
	errSignIn = fault.New(fault.Unauthorized, "sign_in_required", "Sign in first, or give a valid API token.")
	errOrigin = fault.New(fault.Denied, "cross_origin", "This request comes from another site and was refused.")
)

type requestIDKey struct{}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// enter lets the request through the door: who is it, may the page it comes from do this, in which organization, with
// which permission, and was the same already asked. Only then next runs, with the actor in the request's context.
func (d *Doors) enter(c echo.Context, door Door, next func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			if r == http.ErrAbortHandler { //nolint:errorlint // the value itself is the signal
				panic(r)
			}
			err = fmt.Errorf("panic behind door %s: %v\n%s", door.ID, r, debug.Stack())
		}
	}()
	id := pg.NewID().String()
	header := c.Response().Header()
	header.Set(requestIDHeader, id)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	r := c.Request()
	c.SetRequest(r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id)))

	actor, err := d.admit(c, door)
	if err != nil {
		return err
	}
	actor.RequestID, actor.Address = id, c.RealIP()
	c.SetRequest(c.Request().WithContext(WithActor(c.Request().Context(), actor)))
	if key := c.Request().Header.Get(idempotencyHeader); door.Creates && key != "" {
		return d.once(c, door, actor, key, next)
	}
	return next()
}

// admit answers who it is, or a fault.
func (d *Doors) admit(c echo.Context, door Door) (Actor, error) {
	r := c.Request()
	if r.Header.Get("Authorization") == "" && d.origin.Check(r) != nil {
		return Actor{}, errOrigin
	}
	return d.service.identify(r, door)
}

// identify makes the actor of a request and judges it against the door. What a remembered answer would refuse is asked
// of the database first: the right may be a second old. Behind a public door whoever is not known is
// nobody, and comes in.
func (s *Service) identify(r *http.Request, door Door) (Actor, error) {
	who, remembered, err := s.authenticate(r)
	if err == nil {
		var actor Actor
		if actor, err = door.actor(who, r); err == nil {
			return actor, nil
		}
		if remembered {
			if who, err = s.reload(r); err == nil {
				if actor, err = door.actor(who, r); err == nil {
					return actor, nil
				}
			}
		}
	}
	if kind := fault.KindOf(err); door.Public && (kind == fault.Unauthorized || kind == fault.NotFound) {
		return Actor{}, nil
	}
	return Actor{}, err
}

func (d Door) actor(who *principal, r *http.Request) (Actor, error) {
	a, err := who.actor(wantedOrganization(r))
	if err != nil {
		return Actor{}, err
	}
	return a, d.admits(a)
}

// admits judges an actor who is signed in.
func (d Door) admits(a Actor) error {
	switch {
	case d.Public, d.AnyMember:
		return nil
	case d.Operator && !a.Operator:
		return fault.New(fault.Denied, "operator_only", "Only operators of this installation may do this.")
	case d.Operator && d.Permission == "":
		return nil
	case !d.Operator && a.OrganizationID == uuidNil:
		return fault.New(fault.NotFound, "organization_not_found", "There is no such organization, or you are not a member of it.")
	}
	return a.Require(d.Permission)
}

func wantedOrganization(r *http.Request) string {
	if h := r.Header.Get(organizationHeader); h != "" {
		return h
	}
	if !strings.Contains(r.URL.RawQuery, organizationQuery) {
		return ""
	}
	return r.URL.Query().Get(organizationQuery)
}

// crossOrigin refuses unsafe requests that a browser sends from another site. The panel's own public address is
// trusted also where a proxy changes the Host header.
func crossOrigin(publicURL string) *http.CrossOriginProtection {
	p := http.NewCrossOriginProtection()
	if u, err := url.Parse(publicURL); err == nil {
		_ = p.AddTrustedOrigin(u.Scheme + "://" + u.Host) // New has checked it
	}
	return p
}
