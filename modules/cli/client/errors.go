package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ProblemError is a panel's refusal: its problem (RFC 9457) as it was sent.
type ProblemError struct {
	Problem
	RetryAfter time.Duration // 0: not said
	Raw        []byte        // the problem's JSON; nil when the answer had none
}

func (e *ProblemError) Error() string { return e.Detail }

// UnreachableError says that nobody answered, or the answer broke off.
type UnreachableError struct {
	URL string
	Err error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("%s cannot be reached: %v", e.URL, e.Err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// unreachable drops what net/http puts before the cause: method and URL, which the person knows.
func (c *Client) unreachable(err error) error {
	var outer interface{ Unwrap() error }
	if text := err.Error(); errors.As(err, &outer) && strings.Contains(text, c.base.Host) && outer.Unwrap() != nil {
		err = outer.Unwrap()
	}
	return &UnreachableError{URL: c.URL(), Err: err}
}

// problemOf reads a refusal. One that is no problem comes from something between us and the panel.
func problemOf(res *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(res.Body, mostProblem)) // what was read has to do
	e := &ProblemError{RetryAfter: retryAfter(res)}
	if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind == "application/problem+json" && json.Unmarshal(text, &e.Problem) == nil {
		e.Raw = text
	}
	if e.Status = int64(res.StatusCode); e.Detail != "" {
		return e
	}
	e.Code, e.Title = "http_"+strconv.Itoa(res.StatusCode), http.StatusText(res.StatusCode)
	e.Detail = fmt.Sprintf("%s answered %d %s, and not as a Pandu panel does. Check the address.", res.Request.URL.Host, res.StatusCode, e.Title)
	if to := res.Header.Get("Location"); res.StatusCode < 400 && to != "" {
		e.Detail = fmt.Sprintf("%s points to %s. Use that address if you trust it.", res.Request.URL.Host, to)
	}
	return e
}

func retryAfter(res *http.Response) time.Duration {
	seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
	if err != nil || seconds < 0 || seconds > 86400 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
