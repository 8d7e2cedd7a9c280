// Package engine gives tests a Docker Engine of their own.
//
// It starts a dockerd with its own data root, sockets and default bridge in a temporary directory and takes everything
// away again: containers, networks, mounts, bridge, files. The machine's own engine is never spoken to. When
// PANDU_TEST_DOCKER names a host (unix:///…), that engine is reused instead and left as it is.
//
// It needs root and the dockerd and ip programs; it makes no image by itself (see BuildScratch) and reaches no registry.
package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"
)

// ReuseVariable names the environment variable with the host of an engine to reuse.
const ReuseVariable = "PANDU_TEST_DOCKER"

// prefix begins the name of every directory of ours, so that a later run finds what a killed one left.
const prefix = "pandu-engine-"

// Engine is a running Docker Engine.
type Engine struct {
	Host   string         // unix:///…/docker.sock
	Client *client.Client // connected to Host
	Dir    string         // empty when reused

	bridge string
	daemon *daemon // nil when reused
}

// Main is for TestMain: it starts an engine, hands it to use, runs the tests, closes the engine and exits.
func Main(m *testing.M, use func(*Engine)) {
	os.Exit(run(m, use))
}

func run(m *testing.M, use func(*Engine)) (code int) {
	e, err := Start(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, "start docker engine:", err)
		return 1
	}
	defer func() {
		if err := e.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "close docker engine:", err)
			code = 1
		}
	}()
	use(e)
	return m.Run()
}

// Start starts an engine, or connects to the one in PANDU_TEST_DOCKER. It takes some seconds.
func Start(ctx context.Context) (*Engine, error) {
	if host := os.Getenv(ReuseVariable); host != "" {
		e := &Engine{Host: host}
		return e, e.connect(ctx)
	}
	sweep()
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		return nil, fmt.Errorf("make engine directory: %w", err)
	}
	e := &Engine{Dir: dir, Host: "unix://" + filepath.Join(dir, "docker.sock"), bridge: bridgeName(os.Getpid(), dir)}
	if err := e.start(ctx); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

func (e *Engine) start(ctx context.Context) error {
	if err := os.WriteFile(filepath.Join(e.Dir, "owner"), []byte(strconv.Itoa(os.Getpid())+" "+e.bridge), 0o600); err != nil {
		return fmt.Errorf("write owner file: %w", err)
	}
	if err := makeBridge(e.bridge); err != nil {
		return err
	}
	return e.StartDaemon(ctx)
}

// StartDaemon starts the daemon that StopDaemon or KillDaemon ended, on the same data. A start after a kill may fail on
// leftovers of the killed one, so it is tried three times.
func (e *Engine) StartDaemon(ctx context.Context) error {
	release, err := HoldFirewall()
	if err != nil {
		return err
	}
	defer release()
	var errs []error
	for range 3 {
		d, err := spawn(e.Dir, e.bridge)
		if err != nil {
			return err
		}
		e.daemon = d
		if err = e.connect(ctx); err == nil {
			return nil
		}
		errs = append(errs, err, d.lastLines())
		d.end()
	}
	return fmt.Errorf("start dockerd: %w", errors.Join(errs...))
}

// StopDaemon ends the daemon with SIGTERM and waits; its containers end with it.
func (e *Engine) StopDaemon() { e.daemon.end() }

// KillDaemon ends the daemon with SIGKILL and waits. Containers go on until the daemon is back.
func (e *Engine) KillDaemon() { e.daemon.kill() }

// Owned reports whether this process started the engine, so that it may stop it.
func (e *Engine) Owned() bool { return e.daemon != nil }

func (e *Engine) connect(ctx context.Context) error {
	if e.Client == nil {
		c, err := client.New(client.WithHost(e.Host))
		if err != nil {
			return fmt.Errorf("make docker client: %w", err)
		}
		e.Client = c
	}
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	for {
		_, err := e.Client.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true})
		if err == nil {
			return nil
		}
		if e.daemon != nil && e.daemon.ended() {
			return fmt.Errorf("dockerd ended early: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for docker engine: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Close removes everything this engine made. A reused engine is only disconnected.
func (e *Engine) Close() error {
	if e.daemon != nil && !e.daemon.ended() && e.Client != nil {
		e.empty()
	}
	if e.Client != nil {
		_ = e.Client.Close()
	}
	if e.Dir == "" {
		return nil
	}
	if e.daemon != nil {
		e.daemon.end()
	}
	return clean(e.Dir, e.bridge)
}

// empty removes containers and networks, so that no bridge or shim outlives the daemon.
func (e *Engine) empty() {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	containers, _ := e.Client.ContainerList(ctx, client.ContainerListOptions{All: true})
	for _, c := range containers.Items {
		_, _ = e.Client.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	}
	networks, _ := e.Client.NetworkList(ctx, client.NetworkListOptions{})
	for _, n := range networks.Items {
		if n.Name != "bridge" && n.Name != "host" && n.Name != "none" {
			_, _ = e.Client.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{})
		}
	}
}

// command runs a program of the machine and returns an error that holds what it said.
func command(name string, argv ...string) error {
	out, err := exec.Command(name, argv...).CombinedOutput() //nolint:gosec // fixed programs, test code
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(argv, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
