// Package builds turns sources into images on this server.
//
// It watches the list of attempts this server holds, runs up to a fixed number of them at once, keeps each one's lease
// alive, and hands back a digest in the panel's registry or the reason why there is none. The list is level-triggered: an
// attempt that left it is stopped, one that is in it and not running is run, also after this process was killed.
//
// Three kinds of build. A Dockerfile goes to the Engine's own BuildKit (POST /build?version=2 with a session for secrets),
// so that the Engine chooses its exporter, and works from 20.10 on. Pages become an image of our own file server and the
// pages, written to the registry without the Engine. An import is a reference pulled by the Engine.
//
// # Limits of a build
//
// The Engine's build door takes no memory or CPU limits for BuildKit and does not pass on a cgroup parent (checked in its
// source from 20.10 to 28). The agent therefore limits the cgroup below which BuildKit puts the containers of RUN steps:
//
//   - cgroupfs driver, v1 and v2: <cgroup root>/docker/buildkit gets the sum of the limits of the running builds. Two
//     builds at once share that sum: one may take the other's part, and the kernel then ends the largest process.
//   - systemd driver, v2: every RUN container is a scope of its own (docker-<id>.scope with an id that no container has);
//     the agent finds it within milliseconds of its start and limits each one to its build's share. What a step takes in
//     those first milliseconds is not limited. This path is tested on a tree of files only.
//   - without the right to write there (an agent in a container without the host's cgroups), or with an Engine whose
//     cgroup-parent was changed: no limit but time. The log of each build says so.
//
// COPY, ADD and the unpacking and packing of layers run inside the Engine itself and are limited by nothing but time and
// the size of the source.
//
// # What a Dockerfile may not do
//
// What can be told by reading it is refused with file and line before the Engine sees it: foreign frontends, ADD from
// private addresses, other tenants' images, host network, privileged steps. What only shows while building (ONBUILD of a
// base image, redirects of an ADD) cannot be told here: the Engine fetches such things in the host's network, so a server
// that builds for strangers needs a firewall around its Engine. RUN steps are on the Engine's default bridge, beside the
// steps of other builds.
//
// This package opens no port, reads no settings and never decides what is built.
package builds

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/moby/moby/client"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/agentv1/agentv1connect"
	"pandu/modules/agent/internal/logs"
)

// Deps is what builds need. All are required unless said otherwise.
type Deps struct {
	Docker      string // address of the Engine
	Client      agentv1connect.BuildServiceClient
	Secrets     agentv1connect.SecretServiceClient
	Logs        *logs.Service // where the live log goes
	Registry    string        // host:port of the panel's registry on loopback
	Dir         string        // temporary files; emptied at the start
	Concurrency int           // builds at once; 0: 1
	Self        string        // our own executable: the file server of static images (see fileServer)
	CacheBytes  int64         // how much build cache the Engine keeps; 0: 10 GiB
	CgroupRoot  string        // empty: /sys/fs/cgroup
	Logger      *slog.Logger
	Now         func() time.Time
}

// Service runs builds.
type Service struct {
	deps   Deps
	engine *client.Client
	http   *http.Client
	limits *limits
	base   baseLayer
	backoff

	mu       sync.Mutex
	running  map[string]*attempt
	pruned   time.Time
	finished map[string]bool // still in the list, but over for us
	room     chan struct{}   // an attempt ended
	life     context.Context // ends with Run; for what must outlive its attempt but not the process
	endLife  context.CancelFunc
	wait     sync.WaitGroup
}

// backoff is how long this package waits before it tries again; tests shorten it.
type backoff struct{ first, last time.Duration }

// New makes the service and removes what a killed one left in Dir.
func New(deps Deps) (*Service, error) {
	deps.Concurrency = max(deps.Concurrency, 1)
	if deps.CacheBytes == 0 {
		deps.CacheBytes = 10 << 30
	}
	if deps.CgroupRoot == "" {
		deps.CgroupRoot = "/sys/fs/cgroup"
	}
	if err := sweep(deps.Dir); err != nil {
		return nil, err
	}
	engine, err := client.New(client.WithHost(deps.Docker))
	if err != nil {
		return nil, fmt.Errorf("make engine client: %w", err)
	}
	life, endLife := context.WithCancel(context.Background())
	return &Service{
		deps: deps, engine: engine, http: &http.Client{}, limits: newLimits(deps.CgroupRoot, deps.Logger),
		backoff: backoff{time.Second, 10 * time.Second},
		running: map[string]*attempt{}, finished: map[string]bool{}, room: make(chan struct{}, 1),
		life: life, endLife: endLife,
	}, nil
}

// attemptPrefix begins the name of each attempt's folder; only such folders are swept.
const attemptPrefix = "attempt-"

func sweep(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make build directory: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open build directory: %w", err)
	}
	defer root.Close()
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list build directory: %w", err)
	}
	for _, e := range entries {
		if len(e.Name()) > len(attemptPrefix) && e.Name()[:len(attemptPrefix)] == attemptPrefix {
			err = errors.Join(err, root.RemoveAll(e.Name()))
		}
	}
	return err
}

// Run watches and builds until ctx ends. Attempts that are running then are given up without a result: their lease ends
// and another attempt is made.
func (s *Service) Run(ctx context.Context) error {
	defer s.engine.Close()
	defer s.wait.Wait()
	defer context.AfterFunc(ctx, s.endLife)()
	for pause := s.first; ctx.Err() == nil; {
		got, err := s.watch(ctx)
		if ctx.Err() != nil {
			break
		}
		if got {
			pause = s.first
		}
		s.deps.Logger.Debug("build assignments are not watched", "error", err, "retry_in", pause)
		sleep(ctx, pause)
		pause = min(2*pause, s.last)
	}
	return nil
}

// reconcile makes what runs equal to the list: stops what left it, starts what is new while there is room.
func (s *Service) reconcile(ctx context.Context, list []*agentv1.BuildAttempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	listed := map[string]bool{}
	for _, a := range list {
		listed[a.GetAttemptId()] = true
	}
	for id, a := range s.running {
		if !listed[id] {
			a.stop(errLeft)
		}
	}
	for id := range s.finished {
		if !listed[id] {
			delete(s.finished, id)
		}
	}
	for _, a := range list {
		id := a.GetAttemptId()
		if s.running[id] == nil && !s.finished[id] && len(s.running) < s.deps.Concurrency {
			s.start(ctx, a)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
