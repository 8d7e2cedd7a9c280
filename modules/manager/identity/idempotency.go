package identity

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
)

const (
	idempotencyHeader = "Idempotency-Key"
	// idempotencyBody bounds the body that is compared; doors that create take JSON.
	idempotencyBody = 1 << 20
	// idempotencyStale is after how long a request that never answered is taken for dead: longer than any door runs.
	idempotencyStale = 2 * time.Minute
)

var (
	errKeyRunning = fault.New(fault.Conflict, "idempotency_running", "The first request with this Idempotency-Key is still being worked on.").
			After(time.Second)
	errKeyReused = fault.New(fault.Invalid, "idempotency_mismatch", "This Idempotency-Key was used for another request. Use a new one.")
	errKeyLost   = fault.New(fault.Conflict, "idempotency_unknown",
		"The first request with this Idempotency-Key was carried out, but its answer was lost. Look at the list before you try with a new key.")
)

// answered is what is kept of a request with a key.
type answered struct {
	Mine        bool              `db:"mine"` // inserted just now
	RequestHash []byte            `db:"request_hash"`
	RequestID   string            `db:"request_id"`
	Status      *int              `db:"status"`
	Headers     map[string]string `db:"headers"`
	Response    []byte            `db:"response"`
	Stale       bool              `db:"stale"`
}

// once runs next for the first request with this key, and gives its answer to every later one with the same body.
// Failures of ours (5xx) and 429 are not kept: trying again is what they ask for.
func (d *Doors) once(c echo.Context, door Door, a Actor, key string, next func() error) error {
	if len(key) > 255 {
		return fault.New(fault.Invalid, "idempotency_key", "An Idempotency-Key has 1 to 255 characters.").At("header."+idempotencyHeader, "too long")
	}
	hash, err := requestHash(c, door, a)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	who := string(a.Kind) + ":" + a.ID.String()
	before, err := d.service.claimKey(ctx, who, key, hash, a.RequestID)
	if err != nil {
		return err
	}
	if !before.Mine {
		return d.again(c, who, key, before, hash)
	}
	rec := &recorder{ResponseWriter: c.Response().Writer}
	c.Response().Writer = rec
	// The answer is written through while it is recorded. Whatever happens to the client's connection, the outcome is kept.
	kept := context.WithoutCancel(ctx)
	defer func() {
		if !d.keep(kept, who, key, a.RequestID, rec) {
			d.log.WarnContext(kept, "answer to idempotent request not kept", "request_id", a.RequestID)
		}
	}()
	if err := next(); err != nil {
		d.Problem(c, err)
	}
	return nil
}

// keep stores a recorded answer, or forgets the key so that the request may be tried again.
func (d *Doors) keep(ctx context.Context, who, key, requestID string, rec *recorder) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if rec.status == 0 || rec.status >= 500 || rec.status == http.StatusTooManyRequests {
		return d.service.releaseKey(ctx, who, key, requestID) == nil
	}
	headers := map[string]string{}
	for _, name := range []string{"Content-Type", "Location", "Etag"} {
		if v := rec.Header().Get(name); v != "" {
			headers[name] = v
		}
	}
	sealed, err := d.service.Seal(ctx, d.service.db.Pool, uuid.Nil, answerPlace(who, key), rec.body.Bytes())
	if err != nil {
		return false
	}
	return d.service.answerKey(ctx, pg.Args{
		"actor": who, "key": key, "request": requestID, "status": rec.status, "headers": headers, "response": sealed,
	}) == nil
}

// again answers a request whose key is known.
func (d *Doors) again(c echo.Context, who, key string, before answered, hash []byte) error {
	switch {
	case !bytes.Equal(before.RequestHash, hash):
		return errKeyReused
	case before.Status == nil && before.Stale:
		return errKeyLost
	case before.Status == nil:
		return errKeyRunning
	}
	body, err := d.service.Open(c.Request().Context(), d.service.db.Pool, uuid.Nil, answerPlace(who, key), before.Response)
	if err != nil {
		return err
	}
	for k, v := range before.Headers {
		c.Response().Header().Set(k, v)
	}
	c.Response().Header().Set("Idempotency-Replayed", "true")
	c.Response().WriteHeader(*before.Status)
	_, err = c.Response().Write(body)
	return err
}

// answerPlace is where a kept answer is sealed for: it may hold a secret that is shown once.
func answerPlace(who, key string) string { return "idempotent_requests|" + who + "|" + key }

// requestHash covers what makes two requests the same: door, path, query, organization and body.
func requestHash(c echo.Context, door Door, a Actor) ([]byte, error) {
	r := c.Request()
	body, err := io.ReadAll(http.MaxBytesReader(c.Response(), r.Body, idempotencyBody))
	if err != nil {
		return nil, fault.New(fault.TooLarge, "body_too_large", "The request's body is too large or broke off.").Because(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n%s\n", door.ID, r.URL.Path, r.URL.RawQuery, a.OrganizationID)
	h.Write(body)
	return h.Sum(nil), nil
}

// recorder writes an answer through and keeps a copy.
type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	r.body.Write(b)
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
