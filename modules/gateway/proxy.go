package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"time"

	"pandu/modules/agent/agentv1"
)

// statusClientGone is what the access log says when the client left before there was a response.
const statusClientGone = 499

// door answers the requests of the shared ports (port 0) or of one port of its own.
type door struct {
	gateway *Gateway
	port    uint16
}

// ServeHTTP counts the request, answers it and writes it to the access log, also when the answer was cut off: the
// reverse proxy panics with http.ErrAbortHandler then, which net/http understands.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g := d.gateway
	g.active.enter()
	x := &exchange{gateway: g, in: r, port: d.port, host: normaliseHost(r.Host), started: time.Now()}
	x.client, x.forwarded = g.trust.client(r)
	x.requestID = requestID(r, x.forwarded != nil)
	recorder := &recorder{ResponseWriter: w}
	defer func() {
		x.release()
		g.access.write(x.entry(recorder))
		g.active.leave()
	}()
	endAmbiguous(w, r)
	if r.ProtoMajor == 1 {
		// An application may answer while the request still comes; without this, net/http reads the request to its end first.
		_ = http.NewResponseController(w).EnableFullDuplex() // only fails where it is not needed
	}
	d.answer(recorder, r, x)
}

// endAmbiguous makes a request the last one of its connection where two readers could disagree about its end: chunked
// HTTP/1.1 (net/http drops a Content-Length beside it before we see it) and everything of HTTP/1.0. What a sender hid
// behind it is never read as a request. RFC 9112, section 6.1.
func endAmbiguous(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 && (r.ProtoMinor == 0 || len(r.TransferEncoding) > 0) {
		w.Header().Set("Connection", "close")
	}
}

func (d *door) answer(w *recorder, r *http.Request, x *exchange) {
	if r.Method == http.MethodConnect || !strings.HasPrefix(r.URL.Path, "/") {
		w.Header().Set("Connection", "close") // what follows a CONNECT may be anything
		refuse(w, http.StatusBadRequest, "This request cannot be forwarded.")
		return
	}
	at := x.route()
	switch {
	case at == nil:
		refuse(w, http.StatusMisdirectedRequest, "There is no site at this address.")
	case at.state == agentv1.Route_STATE_STOPPED:
		showPage(w, r, stoppedPage)
	case at.state == agentv1.Route_STATE_STARTING:
		w.Header().Set("Retry-After", "2")
		showPage(w, r, startingPage)
	default:
		d.gateway.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x)))
	}
}

// newProxy is the one reverse proxy of a gateway. Which instance a request goes to is decided in RoundTrip, because
// that may happen twice.
func newProxy(logger *slog.Logger) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        rewrite,
		Transport:      roundTripper{},
		BufferPool:     &bufferPool{},
		ErrorHandler:   fail,
		ErrorLog:       slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		ModifyResponse: received,
		FlushInterval:  -1, // what an application writes, its visitor gets, at once
	}
}

type roundTripper struct{}

func (roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	return exchangeOf(r).roundTrip(r)
}

// received looks at a response before it goes to the client.
func received(response *http.Response) error {
	x := exchangeOf(response.Request)
	if response.StatusCode == http.StatusSwitchingProtocols {
		x.upgraded = true
	}
	if response.Header.Get("X-Request-Id") == "" {
		response.Header.Set("X-Request-Id", x.requestID)
	}
	return nil
}

// fail answers a request for which there is no response.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	var timeout net.Error
	switch {
	case r.Context().Err() != nil:
		w.WriteHeader(statusClientGone)
	case errors.Is(err, errNotReady):
		w.Header().Set("Retry-After", "2")
		showPage(w, r, notReadyPage)
	case errors.As(err, &timeout) && timeout.Timeout():
		showPage(w, r, timeoutPage)
	default:
		exchangeOf(r).gateway.logger.Debug("request failed", "error", err)
		showPage(w, r, brokenPage)
	}
}

// bufferPool keeps the copy buffers of bodies.
type bufferPool struct{ pool sync.Pool }

const bufferSize = 32 << 10

func (p *bufferPool) Get() []byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, bufferSize)
}

func (p *bufferPool) Put(b []byte) { p.pool.Put(&b) }

// recorder remembers what was answered, for the access log.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// Unwrap gives http.ResponseController the way to Flush and Hijack.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}
