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

// links are the connections to one address. Both transports are made when they are first needed: most instances of a
// large table are idle, and few speak gRPC.
type links struct {
	responseTimeout time.Duration // until the response's header; 0: none
	http1           atomic.Pointer[http.Transport]
	cleartext       atomic.Pointer[http.Transport] // HTTP/2 with prior knowledge, for gRPC
}

// errDial marks a connection that was never made: nothing of the request left this machine.
var errDial = errors.New("connect to instance")

// transport is the one that speaks plain HTTP/1.1, or HTTP/2 when http2 is set.
func (l *links) transport(http2 bool) *http.Transport {
	at := &l.http1
	if http2 {
		at = &l.cleartext
	}
	if t := at.Load(); t != nil {
		return t
	}
	at.CompareAndSwap(nil, newTransport(http2, l.responseTimeout))
	return at.Load()
}

func (l *links) closeIdle() {
	for _, at := range []*atomic.Pointer[http.Transport]{&l.http1, &l.cleartext} {
		if t := at.Load(); t != nil {
			t.CloseIdleConnections()
		}
	}
}

func newTransport(http2 bool, responseTimeout time.Duration) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(!http2)
	protocols.SetUnencryptedHTTP2(http2)
	return &http.Transport{
		Protocols:              &protocols,
		DialContext:            dial,
		DisableCompression:     true, // bodies pass through as they are
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        idleTimeout,
		ResponseHeaderTimeout:  responseTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxHeaders,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}
}

func dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, errors.Join(errDial, err)
	}
	return conn, nil
}
