// Package logs keeps the output of instances and builds on the server that made it.
//
// Everything a container labelled with this server's id prints is copied from the Engine into bounded, append-only
// segment files per instance, which outlive the container. Builds write their live log into the same store. Readers get
// lines with a position: a count of bytes that grows for ever, so that whoever reads can go on where it stopped, also
// after old segments were removed.
//
// The copy resumes without loss or duplicates after a restart of the agent or of the container: a record carries the
// Engine's own time of the line and which container it came from, and the newest record of a container is where its next
// copy begins. Records are not synced one by one; what a crash of the whole machine takes is copied again from the Engine.
//
// This package never changes a container and never sends anything on its own accord.
package logs

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/moby/moby/client"

	"pandu/modules/kit/fault"
)

// The labels this package looks for on containers.
const (
	labelServer   = "pandu.server"
	labelInstance = "pandu.instance"
)

// Deps is what the store needs. Dir, Logger and Now are required.
type Deps struct {
	Docker              string // address of the Engine, e.g. unix:///var/run/docker.sock
	Server              string // id in the containers' label pandu.server
	Dir                 string
	Logger              *slog.Logger
	Now                 func() time.Time
	MaxBytesPerInstance int64         // 0: 20 MiB
	MaxTotal            int64         // 0: 2 GiB
	KeepGone            time.Duration // how long the log of an instance without a container is kept; 0: 7 days
	Rate                int64         // bytes per second kept of one container; 0: 1 MiB. Four seconds' worth may burst
}

// Service is the store and the copying.
type Service struct {
	deps   Deps
	engine *client.Client
	retry  time.Duration // pause before the Engine is asked again

	mu      sync.Mutex
	streams map[string]*stream // open ones, by key
}

// New checks the settings and makes the directory.
func New(deps Deps) (*Service, error) {
	if deps.MaxBytesPerInstance == 0 {
		deps.MaxBytesPerInstance = 20 << 20
	}
	if deps.MaxTotal == 0 {
		deps.MaxTotal = 2 << 30
	}
	if deps.KeepGone == 0 {
		deps.KeepGone = 7 * 24 * time.Hour
	}
	if deps.Rate == 0 {
		deps.Rate = 1 << 20
	}
	if err := os.MkdirAll(deps.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make log directory: %w", err)
	}
	engine, err := client.New(client.WithHost(deps.Docker))
	if err != nil {
		return nil, fmt.Errorf("make engine client: %w", err)
	}
	return &Service{deps: deps, engine: engine, retry: time.Second, streams: map[string]*stream{}}, nil
}

// Run copies until ctx ends. An Engine that is away is asked again; it is not an error.
func (s *Service) Run(ctx context.Context) error {
	defer s.engine.Close()
	newFollower(s).run(ctx)
	return nil
}

var idPattern = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z_.-]{0,63}$`)

func instanceKey(id string) string { return "instance-" + id }
func buildKey(id string) string    { return "build-" + id }

// acquire opens the stream of a key, or shares the open one. Every acquire needs a release.
func (s *Service) acquire(key string, create bool) (*stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[key]
	if st == nil {
		dir := filepath.Join(s.deps.Dir, key)
		if _, err := os.Stat(dir); err != nil && !create {
			return nil, fault.New(fault.NotFound, "log_not_found", "There is no log of this here.")
		}
		opened, err := openStream(dir, s.deps.MaxBytesPerInstance)
		if err != nil {
			return nil, err
		}
		st = opened
		s.streams[key] = st
	}
	st.users++
	return st, nil
}

func (s *Service) release(key string, st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.users--; st.users == 0 {
		st.close()
		delete(s.streams, key)
	}
}
