// Package fault is the one error type with three doors: an HTTP status, a job's retry or cancel, an RPC code.
//
// A fault has a kind (what a machine does with it), a stable code with parameters (what the dashboard translates) and
// one English sentence that says what to do. It wraps the cause, which is logged once, at the door, and never shown.
package fault

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"connectrpc.com/connect"
)

// Kind decides what each door makes of a fault.
type Kind int

// The kinds. Internal is the zero value: an error nobody classified.
const (
	Internal     Kind = iota // 500, retried
	Invalid                  // 422, not retried: the input is wrong
	Denied                   // 403
	Unauthorized             // 401
	NotFound                 // 404, also for what one may not see
	Conflict                 // 409: the state does not allow it (now)
	Limit                    // 429: a quota, or too many at once
	TooLarge                 // 413
	Unavailable              // 503, retried: something we need is away for the moment
	Timeout                  // 504, retried
)

var names = map[Kind]string{
	Internal: "internal", Invalid: "invalid", Denied: "denied", Unauthorized: "unauthorized", NotFound: "not_found",
	Conflict: "conflict", Limit: "limit", TooLarge: "too_large", Unavailable: "unavailable", Timeout: "timeout",
}

func (k Kind) String() string { return names[k] }

// Error is a fault. Make one with New, refine it with the With methods (each returns a copy).
type Error struct {
	Kind       Kind
	Code       string            // stable, snake_case, e.g. "project_slug_taken"
	Message    string            // one English sentence for the person
	Parameters map[string]string // what the sentence is about, for translation
	Details    []Detail          // several places in one input
	RetryAfter time.Duration     // with Limit and Unavailable; 0: not said
	cause      error
}

// Detail points at one place of an input: a field, or file:line of an uploaded file.
type Detail struct {
	Location string `json:"location"`
	Message  string `json:"message"`
}

// New makes a fault. code is stable and snake_case; message is a sentence for the person.
func New(kind Kind, code, message string) *Error {
	return &Error{Kind: kind, Code: code, Message: message}
}

// Newf is New with a formatted message.
func Newf(kind Kind, code, format string, args ...any) *Error {
	return New(kind, code, fmt.Sprintf(format, args...))
}

// With returns a copy with one more parameter.
func (e *Error) With(key, value string) *Error {
	c := *e
	c.Parameters = maps.Clone(e.Parameters)
	if c.Parameters == nil {
		c.Parameters = map[string]string{}
	}
	c.Parameters[key] = value
	return &c
}

// At returns a copy with one more detail.
func (e *Error) At(location, message string) *Error {
	c := *e
	c.Details = append(append([]Detail(nil), e.Details...), Detail{location, message})
	return &c
}

// Because returns a copy that wraps cause. The cause is for the log only.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// After returns a copy that says when to try again.
func (e *Error) After(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

func (e *Error) Error() string {
	if e.cause != nil {
		return e.Message + ": " + e.cause.Error()
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.cause }

// Is makes errors.Is(err, fault.New(kind, code, "")) compare by kind and code.
func (e *Error) Is(target error) bool {
	var t *Error
	return errors.As(target, &t) && t.Kind == e.Kind && t.Code == e.Code
}

// From finds the fault in err, or makes an internal one around it. From(nil) is nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return New(Internal, "internal", "Something went wrong on our side. Try again; if it stays, look at the server's log.").Because(err)
}

// KindOf is the kind of the fault in err; Internal when there is none.
func KindOf(err error) Kind { return From(err).kind() }

func (e *Error) kind() Kind {
	if e == nil {
		return Internal
	}
	return e.Kind
}

// Passing reports whether trying again later may help, with nothing else changed.
func Passing(err error) bool {
	switch KindOf(err) {
	case Internal, Unavailable, Timeout, Limit:
		return true
	default:
		return false
	}
}

// Status is the HTTP status of a kind.
func (k Kind) Status() int {
	switch k {
	case Invalid:
		return http.StatusUnprocessableEntity
	case Denied:
		return http.StatusForbidden
	case Unauthorized:
		return http.StatusUnauthorized
	case NotFound:
		return http.StatusNotFound
	case Conflict:
		return http.StatusConflict
	case Limit:
		return http.StatusTooManyRequests
	case TooLarge:
		return http.StatusRequestEntityTooLarge
	case Unavailable:
		return http.StatusServiceUnavailable
	case Timeout:
		return http.StatusGatewayTimeout
	default:
		return http.StatusInternalServerError
	}
}

// RPC turns err into a Connect error with the fault's code as a header-safe message. RPC(nil) is nil.
func RPC(err error) error {
	if err == nil {
		return nil
	}
	e := From(err)
	code := connect.CodeInternal
	switch e.Kind {
	case Invalid, TooLarge:
		code = connect.CodeInvalidArgument
	case Denied:
		code = connect.CodePermissionDenied
	case Unauthorized:
		code = connect.CodeUnauthenticated
	case NotFound:
		code = connect.CodeNotFound
	case Conflict:
		code = connect.CodeFailedPrecondition
	case Limit:
		code = connect.CodeResourceExhausted
	case Unavailable:
		code = connect.CodeUnavailable
	case Timeout:
		code = connect.CodeDeadlineExceeded
	}
	return connect.NewError(code, errors.New(e.Message))
}
