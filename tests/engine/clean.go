package engine

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// clean removes what an engine left in dir and its bridge. The daemon has ended.
func clean(dir, bridge string) error {
	killShims(dir)
	unmountBelow(dir)
	if bridge != "" {
		_ = command("ip", "link", "del", bridge)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove engine directory: %w", err)
	}
	return nil
}

// killShims ends containers' shims whose state lives in dir: they survive a killed daemon.
func killShims(dir string) {
	processes, _ := os.ReadDir("/proc")
	for _, p := range processes {
		pid, err := strconv.Atoi(p.Name())
		if err != nil {
			continue
		}
		line, _ := os.ReadFile(filepath.Join("/proc", p.Name(), "cmdline"))
		argv := strings.Split(string(line), "\x00")
		if strings.Contains(filepath.Base(argv[0]), "containerd") && slices.ContainsFunc(argv, func(a string) bool { return strings.HasPrefix(a, dir+"/") }) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// unmountBelow takes away every mount below dir, innermost first.
func unmountBelow(dir string) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	var points []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") {
			points = append(points, fields[4])
		}
	}
	for _, p := range slices.Backward(points) {
		_ = syscall.Unmount(p, syscall.MNT_DETACH)
	}
}

// sweep removes what test runs left that were killed before they could close their engine.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	for _, dir := range dirs {
		b, err := os.ReadFile(filepath.Join(dir, "owner"))
		if err != nil {
			continue
		}
		pid, bridge, _ := strings.Cut(string(b), " ")
		n, err := strconv.Atoi(pid)
		if err != nil || !errors.Is(syscall.Kill(n, 0), syscall.ESRCH) {
			continue
		}
		killFile(filepath.Join(dir, "pid"))
		killFile(filepath.Join(dir, "exec", "containerd", "containerd.pid"))
		_ = clean(dir, bridge)
	}
}
