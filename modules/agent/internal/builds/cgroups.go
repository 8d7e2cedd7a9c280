package builds

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync/atomic"
	"time"
)

// buildkitGroup is where an Engine with the cgroupfs driver and the default parent puts RUN steps.
const buildkitGroup = "docker/buildkit"

const cpuPeriod = 100_000 // microseconds

// groupV1 is the group in the memory and cpu hierarchies of cgroup version 1. Its counters of failures do not include the
// groups below it, and those are gone with their step; its highest use does and is not.
type groupV1 struct {
	memory, cpu string
	hits        int64
}

func newGroupV1(root string) (parentGroup, string) {
	g := &groupV1{memory: filepath.Join(root, "memory", buildkitGroup), cpu: filepath.Join(root, "cpu", buildkitGroup)}
	for _, dir := range []string{g.memory, g.cpu} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, "the cgroups of this machine are not writable"
		}
	}
	return g, ""
}

// set writes memory first alone, then with swap: the kernel refuses a swap limit below the memory limit, and a memory
// limit above the swap limit, so both orders are tried.
func (g *groupV1) set(memory, milliCPU int64) error {
	limit, quota := int64(-1), int64(-1)
	if memory > 0 {
		limit = memory
	}
	if milliCPU > 0 {
		quota = milliCPU * cpuPeriod / 1000
	}
	swap := filepath.Join(g.memory, "memory.memsw.limit_in_bytes")
	if _, err := os.Stat(swap); err == nil {
		_ = writeNumber(swap, -1) // makes room for any memory limit
	}
	err := writeNumber(filepath.Join(g.memory, "memory.limit_in_bytes"), limit)
	if _, statErr := os.Stat(swap); statErr == nil && err == nil {
		err = writeNumber(swap, limit)
	}
	return errors.Join(err, writeNumber(filepath.Join(g.cpu, "cpu.cfs_quota_us"), quota))
}

// exhausted counts a highest use that reached the limit, and begins to measure anew.
func (g *groupV1) exhausted() int64 {
	highest := filepath.Join(g.memory, "memory.max_usage_in_bytes")
	limit := readCount(filepath.Join(g.memory, "memory.limit_in_bytes"), "")
	if limit > 0 && readCount(highest, "") >= limit && writeNumber(highest, 0) == nil {
		g.hits++
	}
	return g.hits
}

func (g *groupV1) watch(context.Context, int64, int64) {}

// groupV2 is the group in the one hierarchy of cgroup version 2.
type groupV2 struct{ dir string }

func newGroupV2(root string) (parentGroup, string) {
	g := groupV2{dir: filepath.Join(root, buildkitGroup)}
	if err := os.MkdirAll(g.dir, 0o755); err != nil {
		return nil, "the cgroups of this machine are not writable"
	}
	for _, above := range []string{root, filepath.Dir(g.dir)} {
		if err := os.WriteFile(filepath.Join(above, "cgroup.subtree_control"), []byte("+memory +cpu"), 0o644); err != nil {
			return nil, "the cgroups of this machine are not writable"
		}
	}
	return g, ""
}

func (g groupV2) set(memory, milliCPU int64) error { return setV2(g.dir, memory, milliCPU) }

func setV2(dir string, memory, milliCPU int64) error {
	limit, quota := "max", "max"
	if memory > 0 {
		limit = fmt.Sprint(memory)
	}
	if milliCPU > 0 {
		quota = fmt.Sprint(milliCPU * cpuPeriod / 1000)
	}
	var failed error
	for _, f := range [][2]string{{"memory.max", limit}, {"cpu.max", fmt.Sprintf("%s %d", quota, cpuPeriod)}} {
		if err := os.WriteFile(filepath.Join(dir, f[0]), []byte(f[1]), 0o644); err != nil {
			failed = errors.Join(failed, fmt.Errorf("set cgroup limit: %w", err))
		}
	}
	swap := filepath.Join(dir, "memory.swap.max")
	if _, err := os.Stat(swap); err == nil && memory > 0 {
		failed = errors.Join(failed, writeNumber(swap, 0))
	}
	return failed
}

func (g groupV2) exhausted() int64 {
	return readCount(filepath.Join(g.dir, "memory.events"), "oom_kill")
}

func (g groupV2) watch(context.Context, int64, int64) {}

// scopes are the RUN steps of an Engine with the systemd driver: siblings of the containers, with shorter ids.
type scopes struct {
	root string
	hits atomic.Int64
}

// scopeName is "docker-", the 25 characters of a BuildKit id (a container's has 64), ".scope".
var scopeName = regexp.MustCompile(`^docker-[0-9a-z]{25}\.scope$`)

const scopesEvery = 10 * time.Millisecond

func (s *scopes) set(int64, int64) error { return nil }

func (s *scopes) exhausted() int64 { return s.hits.Load() }

// watch limits each scope once and remembers whether one hit its limit: its counters are gone with it.
func (s *scopes) watch(ctx context.Context, memory, milliCPU int64) {
	tick := time.NewTicker(scopesEvery)
	defer tick.Stop()
	limited := map[string]int64{}
	for {
		s.look(limited, memory, milliCPU)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *scopes) look(limited map[string]int64, memory, milliCPU int64) {
	dir, err := os.Open(s.root)
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // half a list is completed at the next look
	for _, name := range names {
		if !scopeName.MatchString(name) {
			continue
		}
		path := filepath.Join(s.root, name)
		before, known := limited[name]
		if !known && setV2(path, memory, milliCPU) != nil {
			continue // gone already, or not ready yet
		}
		now := readCount(filepath.Join(path, "memory.events"), "max")
		s.hits.Add(max(now-before, 0))
		limited[name] = now
	}
}
