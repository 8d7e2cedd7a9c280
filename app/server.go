package app

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// server is an HTTP server as a Service. It has no write timeout, because events, logs and uploads take as long as they
// take; what is slow to ask, or silent between requests, is cut off.
type server struct {
	name    string
	address string
	http    *http.Server
	ended   chan error
	drain   context.Context // ends when the server begins to stop
	mu      sync.Mutex
	bound   net.Addr
}

func newServer(name, address string, h http.Handler, log *slog.Logger) *server {
	drain, begin := context.WithCancel(context.Background())
	s := &server{name: name, address: address, ended: make(chan error, 1), drain: drain}
	s.http = &http.Server{
		Handler: s.endStreams(h), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: standard(log),
	}
	s.http.RegisterOnShutdown(begin)
	return s
}

// endStreams ends live views when the server begins to stop: their readers reconnect elsewhere, and would otherwise hold
// up every stop until its time is over. Other requests finish.
func (s *server) endStreams(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
			next.ServeHTTP(w, r)
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(s.drain, cancel)()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// Name is the name.
func (s *server) Name() string { return s.name }

// Start listens and serves.
func (s *server) Start(ctx context.Context) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", s.address)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.bound = l.Addr()
	s.mu.Unlock()
	go func() {
		if err := s.http.Serve(l); err != http.ErrServerClosed { //nolint:errorlint // Serve returns it bare
			s.ended <- err
		}
	}()
	return nil
}

// Stop closes the listener and waits for the requests in progress; what is still there when ctx ends is cut off.
func (s *server) Stop(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return s.http.Close()
	}
	return nil
}

// Ended sends when the server fails on its own.
func (s *server) Ended() <-chan error { return s.ended }

// Addr is where the server listens, nil before it has started.
func (s *server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bound
}
