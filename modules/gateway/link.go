package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"syscall"
	"time"
)

// errStale says that an instance had closed a kept connection before anything of the request was sent on it.
var errStale = errors.New("the instance closed a kept connection")

// link is one connection to an instance. It counts what is sent, and looks before the first byte of a request whether
// the other side has closed meanwhile, which the transport notices a moment too late.
type link struct {
	*net.TCPConn
	links   *links
	written atomic.Int64
	look    atomic.Bool
}

// Read notes when the other side ends the connection, which only happens before we do so ourselves.
func (l *link) Read(p []byte) (int, error) {
	n, err := l.TCPConn.Read(p)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		l.links.closesUntil.Store(time.Now().Add(closesFor).UnixNano())
	}
	return n, err
}

// Write sends p, or nothing and errStale.
func (l *link) Write(p []byte) (int, error) {
	if l.look.Swap(false) && l.ended() {
		return 0, errStale
	}
	n, err := l.TCPConn.Write(p)
	l.written.Add(int64(n))
	return n, err
}

// ended looks at the socket without taking anything from it and without waiting.
func (l *link) ended() bool {
	raw, err := l.SyscallConn()
	if err != nil {
		return true
	}
	ended := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT) //nolint:gosec // a file descriptor is small
		ended = err == nil && n == 0 || errors.Is(err, syscall.ECONNRESET)
	})
	return err != nil || ended
}

// watch follows one attempt to send a request that must not be sent twice. The transport repeats others by itself when
// a kept connection turns out to be closed; of these it only knows, and we count, whether a byte was sent.
type watch struct {
	link   *link
	before int64
}

func repeatable(r *http.Request) bool {
	if r.Body != nil {
		return false
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	default:
		return false
	}
}

func (w *watch) follow(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if w.link, _ = info.Conn.(*link); w.link != nil {
			w.before = w.link.written.Load()
			w.link.look.Store(info.Reused)
		}
	}})
}

// unsent reports whether the attempt had a connection and sent nothing on it.
func (w *watch) unsent() bool { return w.link != nil && w.link.written.Load() == w.before }
