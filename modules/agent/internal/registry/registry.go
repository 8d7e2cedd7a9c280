// Package registry hands the panel's image registry to Docker on loopback.
//
// The Engine talks plain HTTP to 127.0.0.1, which it trusts without configuration; what it says is passed on to the
// manager over the agent's own connection, where the server's certificate decides what may be pushed and pulled. So no
// image name holds the address of a manager, and no Engine needs a certificate or a login.
//
// This package keeps no image, judges no repository and answers nobody but this machine.
package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Deps is what the proxy needs. All are required, except that Port may be 0.
type Deps struct {
	Dir       string // holds the port that was chosen
	Port      int    // 0: a free one, chosen once: it is a part of local image names
	Transport http.RoundTripper
	Upstream  func() string // base URL of the manager right now, e.g. https://panel.example:8443; empty: none
	Logger    *slog.Logger
}

// Service is the proxy.
type Service struct {
	deps     Deps
	listener net.Listener
	server   *http.Server
}

// New takes the port. The address is known from here on; requests are answered once Run runs.
func New(deps Deps) (*Service, error) {
	listener, err := listen(deps.Dir, deps.Port)
	if err != nil {
		return nil, err
	}
	s := &Service{deps: deps, listener: listener}
	s.server = &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(deps.Logger.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// Address is host:port on loopback.
func (s *Service) Address() string { return s.listener.Addr().String() }

// Run answers until ctx ends, then gives running transfers a moment.
func (s *Service) Run(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- s.server.Serve(s.listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve registry: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := s.server.Shutdown(drain); err != nil {
		return errors.Join(s.server.Close())
	}
	return nil
}

const portFile = "registry-port"

// listen takes the given port, else the remembered one, else a free one that is remembered.
func listen(dir string, port int) (net.Listener, error) {
	path := filepath.Join(dir, portFile)
	if port == 0 {
		port = remembered(path)
	}
	listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("listen for the registry: %w", err)
	}
	_, chosen, _ := net.SplitHostPort(listener.Addr().String()) // a TCP address always splits
	if err := os.MkdirAll(dir, 0o700); err != nil {
		listener.Close()
		return nil, fmt.Errorf("remember registry port: %w", err)
	}
	if err := os.WriteFile(path, []byte(chosen+"\n"), 0o600); err != nil {
		listener.Close()
		return nil, fmt.Errorf("remember registry port: %w", err)
	}
	return listener, nil
}

// remembered is the port in the file, or 0.
func remembered(path string) int {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	port, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || port < 1 || port > 65535 {
		return 0
	}
	return port
}

// handler passes /v2/ on and knows nothing else. A request with a foreign Host comes from a web page that tries its luck
// with a name that resolves to loopback.
func (s *Service) handler() http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite:        s.rewrite,
		ModifyResponse: s.comeBack,
		Transport:      retrying{s.deps.Transport},
		FlushInterval:  -1,
		ErrorHandler:   s.unavailable,
		ErrorLog:       slog.NewLogLogger(s.deps.Logger.Handler(), slog.LevelDebug),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !loopback(r.Host):
			http.Error(w, "this registry answers its own machine only", http.StatusMisdirectedRequest)
		case !strings.HasPrefix(r.URL.Path, "/v2/") || slices.Contains(strings.Split(r.URL.Path, "/"), ".."):
			http.NotFound(w, r)
		case s.deps.Upstream() == "":
			s.unavailable(w, r, errors.New("no manager is known"))
		default:
			proxy.ServeHTTP(w, r)
		}
	})
}

func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// rewrite sends the request to the manager of this moment. X-Forwarded-* lets the registry make upload addresses that
// lead back here; cookies and logins of this machine stay here.
func (s *Service) rewrite(r *httputil.ProxyRequest) {
	up, err := url.Parse(s.deps.Upstream())
	if err != nil || up.Host == "" {
		r.Out.URL = &url.URL{Scheme: "http", Host: "manager.invalid"} // the transport fails, which is the truth
		return
	}
	r.SetURL(up)
	r.SetXForwarded()
	r.Out.Host = up.Host
	r.Out.Header.Del("Cookie")
	r.Out.Header.Del("Authorization")
}

// comeBack makes the addresses of uploads relative, so that Docker sends the next part here and not to the manager.
func (s *Service) comeBack(answer *http.Response) error {
	to, err := answer.Location()
	if err != nil { // none
		return nil
	}
	up, err := url.Parse(s.deps.Upstream())
	if err == nil && (to.Host == up.Host || to.Host == s.Address()) {
		answer.Header.Set("Location", to.RequestURI())
	}
	return nil
}

// unavailable says 503 so that Docker tries again.
func (s *Service) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() == nil {
		s.deps.Logger.Warn("registry request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write([]byte(`{"errors":[{"code":"UNAVAILABLE","message":"the panel cannot be reached"}]}`)) // the client left
}
