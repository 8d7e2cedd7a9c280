package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/google/uuid"
)

const (
	attempts    = 5
	mostAnswer  = 16 << 20         // bytes of an answer with JSON
	mostWait    = 30 * time.Second // a server that wants us to wait longer is told to the person
	firstWait   = time.Second      // then twice as long each time
	mostPages   = 200
	mostProblem = 1 << 20
)

// call sends a request, up to five times where that is safe: when it changes nothing, when its key makes the server do it
// once, or when it surely was not taken. out gets the answer's JSON; nil: there is none.
func (c *Client) call(ctx context.Context, r request, out any) error {
	body, err := encode(r.body)
	if err != nil {
		return err
	}
	key := ""
	if r.keyed {
		key = uuid.NewString()
	}
	return c.repeat(ctx, r.keyed || r.method == http.MethodGet || r.method == http.MethodDelete || r.method == http.MethodPut, func() error {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		req, err := c.build(ctx, r)
		if err != nil {
			return err
		}
		if body != nil {
			req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			req.Header.Set("Content-Type", "application/json")
		}
		if key != "" {
			req.Header.Set("Idempotency-Key", key)
		}
		return c.send(req, out)
	})
}

func encode(body any) ([]byte, error) {
	if body == nil {
		return nil, nil
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return text, nil
}

// send does one attempt and reads its answer.
func (c *Client) send(req *http.Request, out any) error {
	res, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	defer func() { _ = res.Body.Close() }() // read only
	if res.StatusCode >= 300 {
		return problemOf(res)
	}
	if out == nil {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, mostAnswer+1))
	if err != nil {
		return c.unreachable(err)
	}
	if len(text) > mostAnswer {
		return fmt.Errorf("the panel's answer is larger than %d MiB", mostAnswer>>20)
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("%s does not answer like a Pandu panel: %w", c.URL(), err)
	}
	return nil
}

// repeat runs attempt until it succeeds, fails for good, or five attempts are over.
func (c *Client) repeat(ctx context.Context, safe bool, attempt func() error) error {
	for n := 1; ; n++ {
		err := attempt()
		if err == nil || ctx.Err() != nil || n == attempts || c.o.Once || !again(err, safe) {
			return interrupted(ctx, err)
		}
		wait := backoff(n)
		var p *ProblemError
		if errors.As(err, &p) && p.RetryAfter > 0 {
			if p.RetryAfter > mostWait {
				return err
			}
			wait = p.RetryAfter
		}
		c.o.Waiting(wait, err)
		if err := c.o.Wait(ctx, wait); err != nil {
			return err
		}
	}
}

// interrupted prefers the reason why the caller gave up over what that did to the connection.
func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// backoff is how long to wait after the n-th attempt: 1, 2, 4, 8 s, give or take a quarter.
func backoff(n int) time.Duration {
	d := firstWait << (n - 1)
	return d*3/4 + rand.N(d/2)
}

// again reports whether another attempt may help and cannot harm.
func again(err error, safe bool) bool {
	var p *ProblemError
	if errors.As(err, &p) {
		switch p.Status {
		case http.StatusTooManyRequests, http.StatusServiceUnavailable: // refused before anything was done
			return p.Status == http.StatusServiceUnavailable || p.RetryAfter > 0
		case http.StatusBadGateway, http.StatusGatewayTimeout:
			return safe
		default:
			return p.Code == "idempotency_running"
		}
	}
	var u *UnreachableError
	if !errors.As(err, &u) {
		return false
	}
	var op *net.OpError
	return safe || errors.As(err, &op) && op.Op == "dial"
}

// All reads every page of a list.
func All[T any](page func(cursor string) ([]T, string, error)) ([]T, error) {
	list, cursor := []T{}, ""
	for range mostPages {
		items, next, err := page(cursor)
		if err != nil {
			return nil, err
		}
		if list = append(list, items...); next == "" || next == cursor {
			return list, nil
		}
		cursor = next
	}
	return list, nil
}
