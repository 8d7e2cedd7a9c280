package fileserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// drainFor is how long running answers may take after ctx ended.
const drainFor = 8 * time.Second

// Serve serves the folder dir on listener until ctx ends, then finishes what runs.
func Serve(ctx context.Context, listener net.Listener, dir string) error {
	handler, err := New(dir)
	if err != nil {
		return err
	}
	defer handler.Close()
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve site: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainFor)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		return errors.Join(err, server.Close())
	}
	return nil
}

// Main is the program: it reads its arguments ("fileserver", "--dir", DIR) and the port ("" is 8080), and serves until
// ctx ends.
func Main(ctx context.Context, args []string, port string) error {
	dir := "/site"
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == "fileserver" && i == 0:
		case args[i] == "--dir" && i+1 < len(args):
			i++
			dir = args[i]
		default:
			return fmt.Errorf("read arguments: %q is not known; usage: fileserver --dir DIR", args[i])
		}
	}
	if port == "" {
		port = "8080"
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", net.JoinHostPort("", port))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return Serve(ctx, listener, dir)
}
