package gateway

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// errNotReady says that no instance became ready in the time a request may wait.
var errNotReady = errors.New("no instance is ready")

// retryPause is how long a request whose only instance refused its connection waits before the second try, unless
// something changes earlier.
const retryPause = 250 * time.Millisecond

// exchange is one request on its way through the gateway.
type exchange struct {
	gateway   *Gateway
	in        *http.Request
	port      uint16 // of the door: 0 for the shared ports
	host      string // normalised
	client    netip.Addr
	forwarded *forwarded // what a trusted proxy said; nil: nobody trusted is in between
	requestID string
	started   time.Time
	backend   *backend // in flight there; nil: nowhere
	instance  string   // the last one tried, for the log
	upgraded  bool
}

type exchangeKey struct{}

func exchangeOf(r *http.Request) *exchange {
	x, _ := r.Context().Value(exchangeKey{}).(*exchange)
	return x
}

// route finds the way in the table of this moment.
func (x *exchange) route() *route {
	s := x.gateway.table.Load().site(x.host, x.port)
	if s == nil {
		return nil
	}
	return s.route(x.in.URL.Path)
}

// maxTries bounds how often a request is begun: kept connections may all turn out to be closed.
const maxTries = 4

// roundTrip sends r to an instance. It begins again, on another instance or connection, only while nothing of r was
// sent: once after a connection that could not be made, and after kept connections that were closed.
func (x *exchange) roundTrip(r *http.Request) (*http.Response, error) {
	body := newReplay(r.Body)
	var refused *backend
	for try := 1; ; try++ {
		response, err := x.attempt(r, body, refused)
		dialled := !errors.Is(err, errDial)
		if err == nil || r.Context().Err() != nil || try == maxTries || dialled && !errors.Is(err, errStale) || !dialled && refused != nil {
			return response, err
		}
		if !dialled {
			refused = x.backend
		}
		x.release()
	}
}

func (x *exchange) attempt(r *http.Request, body *replay, refused *backend) (*http.Response, error) {
	ctx := r.Context()
	to, t, err := x.choose(ctx, refused)
	if err != nil {
		return nil, err
	}
	r.URL.Scheme, r.URL.Host = "http", to.String()
	if err := body.attach(r); err != nil {
		return nil, err
	}
	response, err := x.send(r, t)
	switch {
	case err == nil:
		x.backend.ejection.succeeded()
	case errors.Is(err, errDial) && ctx.Err() == nil:
		x.backend.ejection.failed(x.gateway.now())
	}
	return response, err
}

// send marks errors after which nothing was sent with errStale.
func (x *exchange) send(r *http.Request, t *target) (*http.Response, error) {
	if grpc(x.in) {
		return t.links.forGRPC().RoundTrip(r)
	}
	if repeatable(r) {
		return t.links.forRequests(false).RoundTrip(r)
	}
	var w watch
	watched := r.WithContext(w.follow(r.Context()))
	response, err := t.links.forRequests(true).RoundTrip(watched)
	if err != nil && w.unsent() {
		return nil, errors.Join(errStale, err)
	}
	if response != nil {
		response.Request = r
	}
	return response, err
}

// choose takes an instance, and waits a bounded moment for one to become ready: while a service is replaced
// stop-then-start or restarts after a crash, a visitor had better wait a second than see an error, and not much longer,
// since waiting only hides an outage. The number of waiting requests is bounded as well.
func (x *exchange) choose(ctx context.Context, refused *backend) (netip.AddrPort, *target, error) {
	changed := x.gateway.changes.wait() // before the first look, so that no change is missed
	if to, t := x.take(refused); t != nil {
		return to, t, nil
	}
	if !x.gateway.waiting.enter() {
		return netip.AddrPort{}, nil, errNotReady
	}
	defer x.gateway.waiting.leave()
	return x.await(ctx, changed, refused)
}

func (x *exchange) await(ctx context.Context, changed <-chan struct{}, refused *backend) (netip.AddrPort, *target, error) {
	deadline := time.NewTimer(x.gateway.options.ReadyWait)
	defer deadline.Stop()
	retry := time.NewTimer(min(retryPause, x.gateway.options.ReadyWait/2))
	defer retry.Stop()
	for {
		select {
		case <-changed:
			changed = x.gateway.changes.wait()
		case <-retry.C:
			refused = nil
		case <-deadline.C:
			return netip.AddrPort{}, nil, errNotReady
		case <-ctx.Done():
			return netip.AddrPort{}, nil, ctx.Err()
		}
		if to, t := x.take(refused); t != nil {
			return to, t, nil
		}
	}
}

// take enters the instance with the fewest requests in flight. One that left or became unready between the look and
// the entry is passed over; the table of the next look no longer has it.
func (x *exchange) take(refused *backend) (netip.AddrPort, *target) {
	for range 3 {
		at := x.route()
		if at == nil {
			return netip.AddrPort{}, nil
		}
		b := pick(at, refused, x.gateway.now())
		if b == nil {
			return netip.AddrPort{}, nil
		}
		if t := b.enter(at.port); t != nil {
			x.backend, x.instance = b, b.id
			return t.at(at.port), t
		}
	}
	return netip.AddrPort{}, nil
}

// pick balances by least requests in flight, at random among equals. Ejected instances are used only when there is no
// other: an ejection never makes a site unavailable.
func pick(at *route, refused *backend, now time.Time) *backend {
	if b := least(at, func(b *backend) bool { return b != refused && !b.ejection.active(now) }); b != nil {
		return b
	}
	return least(at, func(b *backend) bool { return b != refused })
}

func least(at *route, allowed func(*backend) bool) (best *backend) {
	var fewest int64
	equals := 0
	for _, b := range at.backends {
		if !b.usable(at.port) || !allowed(b) {
			continue
		}
		n := b.inFlight.Load()
		switch {
		case best == nil || n < fewest:
			best, fewest, equals = b, n, 1
		case n == fewest:
			if equals++; rand.IntN(equals) == 0 { //nolint:gosec // a choice among equals is no secret
				best = b
			}
		}
	}
	return best
}

func (x *exchange) release() {
	if x.backend != nil {
		x.backend.leave()
		x.backend = nil
	}
}

// grpc needs HTTP/2 to the instance, for its trailers and its streams in both directions; gRPC-Web does not.
func grpc(r *http.Request) bool {
	kind, is := strings.CutPrefix(r.Header.Get("Content-Type"), "application/grpc")
	return r.ProtoMajor == 2 && is && (kind == "" || kind[0] == '+' || kind[0] == ';')
}
