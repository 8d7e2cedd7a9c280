package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/labstack/echo/v4"

	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
)

const problemType = "application/problem+json"

// Problem is the body of every answer that is not a success (RFC 9457). code and parameters are stable: the dashboard
// translates them; detail is the same in English.
type Problem struct {
	Type       string            `json:"type" doc:"urn:pandu:problem: and the code."`
	Title      string            `json:"title" doc:"The words of the HTTP status."`
	Status     int               `json:"status"`
	Detail     string            `json:"detail" doc:"What happened and what to do, in English."`
	Code       string            `json:"code" doc:"Stable name of the problem."`
	Parameters map[string]string `json:"parameters,omitempty" doc:"What the detail is about."`
	Errors     []fault.Detail    `json:"errors,omitempty" nullable:"false" doc:"Places in the input."`
	RequestID  string            `json:"request_id,omitempty" doc:"To find this request in the server's log."`

	retryAfter time.Duration
}

// ContentType tells huma which media type a problem has.
func (p *Problem) ContentType(string) string { return problemType }

// GetStatus tells huma the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

func (p *Problem) Error() string { return p.Detail }

// GetHeaders tells huma the headers of the answer.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retryAfter.Seconds()))))
	}
	return h
}

func problemOf(f *fault.Error, requestID string) *Problem {
	status := f.Kind.Status()
	return &Problem{
		Type: "urn:pandu:problem:" + f.Code, Title: http.StatusText(status), Status: status, Detail: f.Message,
		Code: f.Code, Parameters: f.Parameters, Errors: f.Details, RequestID: requestID, retryAfter: f.RetryAfter,
	}
}

// refuse logs err once, if it is ours to mend, and turns it into the answer.
func (d *Doors) refuse(ctx context.Context, err error) *Problem {
	f := faultOf(ctx, err)
	id := requestID(ctx)
	switch f.Kind {
	case fault.Internal:
		d.log.ErrorContext(ctx, "request failed", "error", err, "request_id", id)
	case fault.Unavailable, fault.Timeout:
		d.log.WarnContext(ctx, "request could not be served", "error", err, "request_id", id)
	}
	return problemOf(f, id)
}

// faultOf finds the fault, and knows what a database that is away and a time that ran out mean.
func faultOf(ctx context.Context, err error) *fault.Error {
	f := fault.From(err)
	if f.Kind != fault.Internal {
		return f
	}
	var h *echo.HTTPError
	switch {
	case errors.As(err, &h):
		return ofStatus(h.Code)
	case pg.Away(err) || brokenConnection(err):
		return fault.New(fault.Unavailable, "database_away", "The database cannot be reached right now. Try again in a moment.").
			After(2 * time.Second).Because(err)
	case errors.Is(err, context.DeadlineExceeded) && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fault.New(fault.Timeout, "timeout", "This took too long and was given up. Try again in a moment.").Because(err)
	}
	return f
}

// brokenConnection: the database went away under a connection of the pool. Nothing else here talks over a network.
func brokenConnection(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &op) || pgconn.SafeToRetry(err)
}

// Problem answers with err, unless an answer has begun already.
func (d *Doors) Problem(c echo.Context, err error) {
	if c.Response().Committed {
		d.log.DebugContext(c.Request().Context(), "answer broken off", "error", err, "request_id", requestID(c.Request().Context()))
		return
	}
	var p *Problem
	if !errors.As(err, &p) {
		p = d.refuse(c.Request().Context(), err)
	}
	status := p.Status
	var h *echo.HTTPError
	if errors.As(err, &h) && h.Code >= 400 {
		status, p.Status, p.Title = h.Code, h.Code, http.StatusText(h.Code)
	}
	for k, v := range p.GetHeaders() {
		c.Response().Header()[k] = v
	}
	c.Response().Header().Set(echo.HeaderContentType, problemType)
	c.Response().WriteHeader(status)
	if c.Request().Method != http.MethodHead {
		_ = json.NewEncoder(c.Response()).Encode(p) // the client has gone
	}
}

// transform turns what huma itself refuses (a body that is not JSON, a field out of range) into a problem. The value
// that was refused is not sent back: it may be a secret.
func (d *Doors) transform(ctx huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	f := ofStatus(m.Status)
	for _, e := range m.Errors {
		f = f.At(e.Location, e.Message)
	}
	p := problemOf(f, requestID(humaecho.UnwrapV4(ctx).Request().Context()))
	p.Status, p.Title = m.Status, http.StatusText(m.Status)
	return p, nil
}

// ofStatus is the fault behind a status that echo or huma chose.
func ofStatus(status int) *fault.Error {
	switch status {
	case http.StatusUnprocessableEntity:
		return fault.New(fault.Invalid, "validation_failed", "Something in the request is not as it has to be; see errors.")
	case http.StatusBadRequest:
		return fault.New(fault.Invalid, "body_malformed", "The request's body could not be read.")
	case http.StatusRequestEntityTooLarge:
		return fault.New(fault.TooLarge, "body_too_large", "The request's body is too large.")
	case http.StatusNotFound:
		return fault.New(fault.NotFound, "not_found", "There is nothing at this address.")
	case http.StatusMethodNotAllowed:
		return fault.New(fault.Invalid, "method_not_allowed", "This address does not answer to this method.")
	case http.StatusUnauthorized:
		return errSignIn
	case http.StatusInternalServerError:
		return fault.From(errors.New("internal"))
	default:
		return fault.New(fault.Invalid, fmt.Sprintf("http_%d", status), http.StatusText(status)+".")
	}
}
