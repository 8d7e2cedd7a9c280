package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	dialTimeout = 2 * time.Second
	// idleTimeout is how long an unused connection to an instance is kept. It is shorter than the keep-alive of every
	// common application server (the shortest default we know is 2 s), so that a request, above all one that must not
	// be sent twice, does not meet a connection which the server is just closing. A new one costs 0.1 ms on a bridge.
	idleTimeout = time.Second
	maxIdle     = 256
	maxHeaders  = 1 << 20 // of a response, in bytes
)

// links are the connections to one address. The transports are made when they are first needed: most instances of a
// large table are idle, and few speak gRPC.
type links struct {
	responseTimeout time.Duration                  // until the response's header; 0: none
	kept            atomic.Pointer[http.Transport] // HTTP/1.1
	single          atomic.Pointer[http.Transport] // HTTP/1.1, one request per connection
	cleartext       atomic.Pointer[http.Transport] // HTTP/2 with prior knowledge, for gRPC

	closesUntil atomic.Int64 // unix nanoseconds; until then the instance counts as one that closes kept connections
}

// closesFor is how long an instance that closed a kept connection before we did gets requests that must not be sent
// twice on connections of their own: between its close and our notice of it, such a request would be lost.
const closesFor = time.Minute

// errDial marks a connection that was never made: nothing of the request left this machine.
var errDial = errors.New("connect to instance")

// forGRPC speaks HTTP/2.
func (l *links) forGRPC() *http.Transport { return l.transport(&l.cleartext, true, true) }

// forRequests speaks HTTP/1.1; careful is for requests that must not be sent twice.
func (l *links) forRequests(careful bool) *http.Transport {
	if careful && time.Now().UnixNano() < l.closesUntil.Load() {
		return l.transport(&l.single, false, false)
	}
	return l.transport(&l.kept, false, true)
}

func (l *links) transport(at *atomic.Pointer[http.Transport], http2, keep bool) *http.Transport {
	if t := at.Load(); t != nil {
		return t
	}
	at.CompareAndSwap(nil, l.newTransport(http2, keep))
	return at.Load()
}

func (l *links) closeIdle() {
	for _, at := range []*atomic.Pointer[http.Transport]{&l.kept, &l.cleartext} {
		if t := at.Load(); t != nil {
			t.CloseIdleConnections()
		}
	}
}

func (l *links) newTransport(http2, keep bool) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(!http2)
	protocols.SetUnencryptedHTTP2(http2)
	return &http.Transport{
		Protocols:              &protocols,
		DialContext:            l.dial,
		DisableKeepAlives:      !keep,
		DisableCompression:     true, // bodies pass through as they are
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        idleTimeout,
		ResponseHeaderTimeout:  l.responseTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxHeaders,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}
}

func (l *links) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, errors.Join(errDial, err)
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return conn, nil
	}
	return &link{TCPConn: tcp, links: l}, nil
}
