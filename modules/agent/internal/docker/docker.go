// Package docker is the agent's edge to the Docker Engine: the few calls that converging needs, each with a time limit,
// in plain types.
//
// It never decides anything, never retries, and makes a container only from Create, which has no field for anything
// dangerous: no host paths, no devices, no privileges, no published ports.
package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// Time limits of calls. A call that stops a container gets its grace on top.
const (
	quick   = 15 * time.Second
	slow    = 90 * time.Second
	longest = 30 * time.Minute // a pull
)

// ErrNotFound is in the chain when Docker does not have the thing.
var ErrNotFound = errors.New("not found")

// ErrConflict is in the chain when a name, an address or a state is taken.
var ErrConflict = errors.New("conflict")

// ErrUnavailable is in the chain when the Engine itself did not answer.
var ErrUnavailable = errors.New("docker engine does not answer")

// Engine is a connection to one Docker Engine. It is safe for concurrent use and reconnects by itself.
type Engine struct {
	c *client.Client
}

// Open makes the client for host ("unix:///var/run/docker.sock"; empty: Docker's default). It does not connect yet.
func Open(host string) (*Engine, error) {
	options := []client.Opt{client.WithUserAgent("pandu-agent")}
	if host != "" {
		options = append(options, client.WithHost(host))
	}
	c, err := client.New(options...)
	if err != nil {
		return nil, fmt.Errorf("make docker client: %w", err)
	}
	return &Engine{c: c}, nil
}

// Close ends idle connections.
func (e *Engine) Close() error { return e.c.Close() }

// Info is what the Engine says about itself.
type Info struct {
	ID      string // changes when its data are lost
	Version string
	CPUs    int
	Memory  int64 // bytes
	Root    string
	Init    bool // docker-init is there
}

// Info asks the Engine about itself; it is also the check that it answers.
func (e *Engine) Info(ctx context.Context) (Info, error) {
	ctx, cancel := context.WithTimeout(ctx, quick)
	defer cancel()
	r, err := e.c.Info(ctx, client.InfoOptions{})
	if err != nil {
		return Info{}, classify("ask docker engine", err)
	}
	i := r.Info
	return Info{ID: i.ID, Version: i.ServerVersion, CPUs: i.NCPU, Memory: i.MemTotal, Root: i.DockerRootDir, Init: i.InitBinary != ""}, nil
}

// classify wraps err with what was tried and one of the sentinel errors where it is one.
func classify(verb string, err error) error {
	var timeout net.Error
	switch {
	case err == nil:
		return nil
	case errdefs.IsNotFound(err):
		return fmt.Errorf("%s: %w: %w", verb, ErrNotFound, err)
	case errdefs.IsConflict(err), errdefs.IsAlreadyExists(err):
		return fmt.Errorf("%s: %w: %w", verb, ErrConflict, err)
	case client.IsErrConnectionFailed(err), errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout):
		return fmt.Errorf("%s: %w: %w", verb, ErrUnavailable, err)
	default:
		return fmt.Errorf("%s: %w", verb, err)
	}
}
