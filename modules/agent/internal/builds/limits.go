package builds

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/moby/moby/client"
)

// defaultMemory limits a build that came without a limit.
const defaultMemory = 2 << 30

// limits bounds the cgroups of RUN steps; see the package comment for what that covers.
type limits struct {
	root   string
	logger *slog.Logger

	mu    sync.Mutex
	group parentGroup // nil until the Engine said which, or when it cannot be limited
	why   string      // it cannot
	holds map[*hold]bool
}

// parentGroup is the cgroup (or the cgroups) that contain the RUN steps of an Engine.
type parentGroup interface {
	// set limits the running builds to memory bytes and milliCPU thousandths of a core, together; zero is no limit.
	set(memory, milliCPU int64) error
	// exhausted counts how often the memory limit was hit since the group exists.
	exhausted() int64
	// watch applies limits to steps as they appear until ctx ends, where a common parent does not.
	watch(ctx context.Context, memory, milliCPU int64)
}

func newLimits(root string, logger *slog.Logger) *limits {
	return &limits{root: root, logger: logger, holds: map[*hold]bool{}}
}

// hold is the share of one running build.
type hold struct {
	limits   *limits
	memory   int64
	milliCPU int64
	before   int64
	stop     context.CancelFunc
}

// limit takes this build's share. The log says when it cannot be enforced.
func (a *attempt) limit(ctx context.Context) *hold {
	memory := a.spec.Memory
	if memory == 0 {
		memory = defaultMemory
	}
	h := a.service.limits.take(ctx, a.service.engine, memory, a.spec.MilliCPU)
	if h.limits == nil {
		a.journal.note("The memory and CPU of this build cannot be limited here: %s.", a.service.limits.why)
	}
	return h
}

func (l *limits) take(ctx context.Context, engine *client.Client, memory, milliCPU int64) *hold {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.group == nil {
		if l.group, l.why = findGroup(ctx, l.root, engine); l.group == nil {
			return &hold{memory: memory}
		}
	}
	h := &hold{limits: l, memory: memory, milliCPU: milliCPU, before: l.group.exhausted()}
	l.holds[h] = true
	if err := l.apply(); err != nil {
		delete(l.holds, h)
		l.why = "the cgroup of build steps cannot be written"
		l.logger.Warn("builds are not limited", "error", err)
		l.group = nil
		return &hold{memory: memory}
	}
	ctx, h.stop = context.WithCancel(ctx)
	go l.group.watch(ctx, memory, milliCPU)
	return h
}

// apply sets the sum of all shares; a share without a CPU limit lifts that of all.
func (l *limits) apply() error {
	var memory, cpu int64
	open := false
	for h := range l.holds {
		memory += h.memory
		cpu += h.milliCPU
		open = open || h.milliCPU == 0
	}
	if open {
		cpu = 0
	}
	l.group.exhausted() // counted against the limit it was measured with
	return l.group.set(memory, cpu)
}

func (h *hold) release() {
	if h.limits == nil {
		return
	}
	h.stop()
	h.limits.mu.Lock()
	defer h.limits.mu.Unlock()
	delete(h.limits.holds, h)
	if err := h.limits.apply(); err != nil {
		h.limits.logger.Warn("limits of builds were not taken back", "error", err)
	}
}

// exhausted reports whether the memory limit was hit while this build ran.
func (h *hold) exhausted() bool {
	if h.limits == nil {
		return false
	}
	h.limits.mu.Lock()
	defer h.limits.mu.Unlock()
	return h.limits.group != nil && h.limits.group.exhausted() > h.before
}

func (h *hold) size() string { return fmt.Sprintf("%d MiB", h.memory>>20) }

// findGroup finds out where the Engine puts RUN steps. Without a group it says why.
func findGroup(ctx context.Context, root string, engine *client.Client) (parentGroup, string) {
	answer, err := engine.Info(ctx, client.InfoOptions{})
	if err != nil {
		return nil, "the Engine does not say how it uses cgroups"
	}
	switch driver, version := answer.Info.CgroupDriver, answer.Info.CgroupVersion; {
	case driver == "cgroupfs" && version == "1":
		return newGroupV1(root)
	case driver == "cgroupfs" && version == "2":
		return newGroupV2(root)
	case driver == "systemd" && version == "2":
		return &scopes{root: filepath.Join(root, "system.slice")}, ""
	default:
		return nil, fmt.Sprintf("cgroup driver %q with version %q is not known", driver, version)
	}
}

func writeNumber(path string, n int64) error {
	if err := os.WriteFile(path, []byte(strconv.FormatInt(n, 10)), 0o644); err != nil {
		return fmt.Errorf("set cgroup limit: %w", err)
	}
	return nil
}

// readCount reads a number, or the number after a key in a file of lines "key number". Nothing there: 0.
func readCount(path, key string) int64 {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if key == "" && len(fields) == 1 || len(fields) == 2 && fields[0] == key {
			n, _ := strconv.ParseInt(fields[len(fields)-1], 10, 64) // not a number: 0
			return n
		}
	}
	return 0
}
