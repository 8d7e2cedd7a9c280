package pgprivate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

func (s *Server) pidFile() string { return filepath.Join(s.data(), "postmaster.pid") }

// running is the process id of the server in our directory, 0 when there is none. The number in postmaster.pid alone
// proves nothing: after a crash, and above all in a container, another process may have it.
func (s *Server) running() int {
	body, err := os.ReadFile(s.pidFile())
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(body), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid <= 1 || !alive(pid) || !s.isOurs(pid) {
		return 0
	}
	return pid
}

// isOurs reports whether the process is a postgres that works in our data directory; it changes into it and stays there.
func (s *Server) isOurs(pid int) bool {
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil || !strings.HasPrefix(string(comm), "postgres") {
		return false
	}
	link := fmt.Sprintf("/proc/%d/cwd", pid)
	cwd, err := os.Stat(link)
	data, errData := os.Stat(s.data())
	return err == nil && errData == nil && os.SameFile(cwd, data)
}

// removeStale removes the pid files of a server that is gone. PostgreSQL itself would refuse to start when another process
// of its user has got the number, or when nobody has reaped it; it still checks that the old server's shared memory is unused.
func (s *Server) removeStale() error {
	socket := filepath.Join(s.socketDir(), ".s.PGSQL.5432")
	for _, path := range []string{s.pidFile(), socket, socket + ".lock"} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove stale file: %w", err)
		}
	}
	return nil
}

// alive reports whether the process exists and has not ended: a child that waits to be reaped does not count.
func alive(pid int) bool {
	if pid <= 0 || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}
