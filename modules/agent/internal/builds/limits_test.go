package builds

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestScopesOfSystemd(t *testing.T) {
	root := t.TempDir()
	step := "docker-" + strings.Repeat("a", 25) + ".scope"
	instance := "docker-" + strings.Repeat("b", 64) + ".scope"
	for _, name := range []string{step, instance} {
		if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := &scopes{root: root}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); s.watch(ctx, 64<<20, 500) }()
	wait(t, func() bool { return content(filepath.Join(root, step, "cpu.max")) == "50000 100000" })
	if got := content(filepath.Join(root, step, "memory.max")); got != "67108864" {
		t.Errorf("memory.max = %q", got)
	}
	if s.exhausted() != 0 {
		t.Error("exhausted before anything happened")
	}
	if err := os.WriteFile(filepath.Join(root, step, "memory.events"), []byte("low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	wait(t, func() bool { return s.exhausted() == 3 })
	cancel()
	<-ended
	if got := content(filepath.Join(root, instance, "memory.max")); got != "" {
		t.Errorf("an instance was limited: %q", got)
	}
}

func TestLimitsV2(t *testing.T) {
	root := t.TempDir()
	g, why := newGroupV2(root)
	if g == nil {
		t.Fatal(why)
	}
	l := newLimits(root, nil)
	l.group = g
	one, two := &hold{limits: l, memory: 100, milliCPU: 1000}, &hold{limits: l, memory: 50}
	l.holds[one], l.holds[two] = true, true
	if err := l.apply(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, buildkitGroup)
	if m, c := content(filepath.Join(dir, "memory.max")), content(filepath.Join(dir, "cpu.max")); m != "150" || c != "max 100000" {
		t.Errorf("memory.max = %q, cpu.max = %q", m, c)
	}
	delete(l.holds, two)
	if err := l.apply(); err != nil {
		t.Fatal(err)
	}
	if m, c := content(filepath.Join(dir, "memory.max")), content(filepath.Join(dir, "cpu.max")); m != "100" || c != "100000 100000" {
		t.Errorf("memory.max = %q, cpu.max = %q", m, c)
	}
	delete(l.holds, one)
	if err := l.apply(); err != nil || content(filepath.Join(dir, "memory.max")) != "max" {
		t.Errorf("memory.max = %q, %v", content(filepath.Join(dir, "memory.max")), err)
	}
}

func content(path string) string {
	data, _ := os.ReadFile(path)
	return strings.TrimSpace(string(data))
}

func wait(t *testing.T, until func() bool) {
	t.Helper()
	for limit := time.Now().Add(10 * time.Second); !until(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("the state never came")
		}
	}
}
