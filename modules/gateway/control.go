package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"connectrpc.com/connect"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/agentv1/agentv1connect"
	"pandu/modules/kit/fault"
)

const lockFile = "gateway.lock"

// errLocked says that another gateway serves the same directory.
func errLocked(dir string) *fault.Error {
	return fault.Newf(fault.Conflict, "gateway_running", "Another gateway already serves %s. Stop it first.", dir)
}

// lock holds dir for one gateway, as long as the file is open. The kernel gives it back however the process ends.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the directory is a setting
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil { //nolint:gosec // a file descriptor is small
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errLocked(dir)
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return f, nil
}

// control is the agent's door: a unix socket in the gateway's directory.
type control struct {
	path   string
	server *http.Server
	done   chan struct{}
}

// openControl needs the lock: what lies at the path then belongs to nobody who lives. The socket gets its mode before
// its name, so that nobody else can connect in between.
func (g *Gateway) openControl() (*control, error) {
	path := filepath.Join(g.options.Dir, agentv1.GatewaySocketFile)
	if err := removeStale(path); err != nil {
		return nil, err
	}
	listener, err := listenPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	mux := http.NewServeMux()
	mux.Handle(agentv1connect.NewGatewayServiceHandler(service{g}))
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	c := &control{path: path, done: make(chan struct{}), server: &http.Server{
		Handler: mux, Protocols: &protocols, ReadHeaderTimeout: headerTimeout,
		ErrorLog: slog.NewLogLogger(g.logger.Handler(), slog.LevelDebug),
	}}
	go func() {
		defer close(c.done)
		if err := c.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			g.logger.Error("control socket ended", "error", err)
		}
	}()
	return c, nil
}

// removeStale removes a socket; anything else there is not ours to delete.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at %s: %w", path, err)
	}
	if info.Mode().Type() != os.ModeSocket {
		return refusedf("%s is in the way: it is no socket.", path)
	}
	return os.Remove(path)
}

func listenPrivate(path string) (net.Listener, error) {
	temporary := path + ".new"
	if err := removeStale(temporary); err != nil {
		return nil, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: temporary, Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(temporary, 0o600), os.Rename(temporary, path)); err != nil {
		return nil, errors.Join(err, listener.Close(), os.Remove(temporary))
	}
	return listener, nil
}

// close removes the socket first, so that an agent looking for a gateway finds none, then lets calls finish.
func (c *control) close() error {
	err := os.Remove(c.path)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if c.server.Shutdown(ctx) != nil {
		_ = c.server.Close()
	}
	<-c.done
	return err
}

// service is GatewayService.
type service struct{ gateway *Gateway }

// Apply reads the files again.
func (s service) Apply(context.Context, *connect.Request[agentv1.ApplyRequest]) (*connect.Response[agentv1.GatewayStatus], error) {
	status, err := s.gateway.Apply()
	if err != nil {
		return nil, fault.RPC(err)
	}
	return connect.NewResponse(status), nil
}

// Status says what is served.
func (s service) Status(context.Context, *connect.Request[agentv1.GatewayStatusRequest]) (*connect.Response[agentv1.GatewayStatus], error) {
	return connect.NewResponse(s.gateway.Status()), nil
}
