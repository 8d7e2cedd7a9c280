package app

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/pgprivate"
)

// child is this program as a process of its own.
type child struct {
	*exec.Cmd
	ops, panel string
	log        *lockedBuffer
	ended      chan error
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func command(t *testing.T, environ []string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0], args...)
	c.Env = append([]string{"PATH=/usr/bin:/bin", "HOME=" + t.TempDir(), "PANDU_AGENTS_LISTEN=" + freeAddress(t), "PANDU_GATEWAY_HTTP_LISTEN=" + freeAddress(t),
		"PANDU_GATEWAY_PROJECT_PORTS=", "PANDU_AGENT_DOCKER_HOST=unix:///nowhere/docker.sock"}, environ...)
	return c
}

// serve starts "pandu serve" and returns when it is ready.
func serve(t *testing.T, environ ...string) *child {
	t.Helper()
	c := &child{ops: freeAddress(t), panel: freeAddress(t), log: &lockedBuffer{}, ended: make(chan error, 1)}
	c.Cmd = command(t, append([]string{"PANDU_OPS_LISTEN=" + c.ops, "PANDU_PANEL_LISTEN=" + c.panel}, environ...), "serve")
	c.Stdout, c.Stderr = c.log, c.log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() { c.ended <- c.Wait(); close(gone) }()
	t.Cleanup(func() { _ = c.Process.Kill(); <-gone })
	eventually(t, func() bool {
		select {
		case err := <-c.ended:
			t.Fatalf("it ended at its start: %v\n%s", err, c.log)
		default:
		}
		res, err := http.Get("http://" + c.ops + "/readyz")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == 200
	})
	return c
}

// dataDir is one that the user postgres can enter; the database in it ends with the test.
func dataDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pandu-app-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		endGateway(t, dir)
		s := pgprivate.New(filepath.Join(dir, "postgres"), quiet)
		if s.Start(context.Background()) == nil {
			_ = s.Stop(context.Background())
		}
		_ = os.RemoveAll(dir)
	})
	return dir
}

// endGateway ends the gateway that an agent started for this data directory: it outlives everybody else by design.
func endGateway(t *testing.T, dir string) {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range processes {
		body, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(body), "WORKER_MODE=gateway\x00") || !strings.Contains(string(body), "PANDU_DATA_DIR="+dir+"\x00") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			t.Fatal(err)
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// The whole in one command: made from nothing, killed outright, started again with the same data, ended cleanly.
func TestEmptyModeSurvivesKill(t *testing.T) {
	dir := dataDir(t)
	first := serve(t, "PANDU_DATA_DIR="+dir)
	dsn := pgprivate.New(filepath.Join(dir, "postgres"), quiet).DSN()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(t.Context(), "create table public.cargo (what text); insert into public.cargo values ('tea')"); err != nil {
		t.Fatal(err)
	}
	_ = first.Process.Kill()
	<-first.ended
	var what string
	if err := conn.QueryRow(t.Context(), "select what from public.cargo").Scan(&what); err != nil || what != "tea" {
		t.Fatalf("the database went down with the process: %q, %v", what, err)
	}
	second := serve(t, "PANDU_DATA_DIR="+dir)
	if err := conn.QueryRow(t.Context(), "select what from public.cargo").Scan(&what); err != nil {
		t.Fatalf("the restart did not adopt the running database: %v", err)
	}
	if err := second.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-second.ended; err != nil {
		t.Errorf("it ended with %v\n%s", err, second.log)
	}
	if c, err := pgx.Connect(t.Context(), dsn); err == nil {
		_ = c.Close(t.Context())
		t.Error("the database still runs after a clean stop")
	}
	key, err := os.Stat(filepath.Join(dir, "master.key"))
	if err != nil || key.Mode().Perm() != 0o600 {
		t.Errorf("master key: %v, %v", key, err)
	}
}

func TestSecondProcessInOneDataDirectoryIsRefused(t *testing.T) {
	dir := dataDir(t)
	serve(t, "PANDU_DATA_DIR="+dir)
	out, err := command(t, []string{"PANDU_DATA_DIR=" + dir, "PANDU_OPS_LISTEN=", "PANDU_PANEL_LISTEN=" + freeAddress(t)}, "serve").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "another process runs this private PostgreSQL") {
		t.Errorf("error %v: %s", err, out)
	}
	if out, err := command(t, []string{"PANDU_DATA_DIR=" + dir}, "migrate").CombinedOutput(); err != nil {
		t.Errorf("migrate beside a serving process: %v: %s", err, out)
	}
}

func TestMigrateStartsAndStopsThePrivateDatabase(t *testing.T) {
	dir := dataDir(t)
	if out, err := command(t, []string{"PANDU_DATA_DIR=" + dir}, "migrate").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "postgres", "data", "postmaster.pid")); err == nil {
		t.Error("the database still runs")
	}
}

// A drain that waits for somebody must not hold up a person who presses Ctrl-C twice.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	c := serve(t, "WORKER_MODE=-", "PANDU_DRAIN_DELAY=60s")
	began := time.Now()
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return strings.Contains(c.log.String(), "stopping") })
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-c.ended; err == nil || time.Since(began) > 20*time.Second {
		t.Errorf("it ended with %v after %s", err, time.Since(began))
	}
}

func TestHealthcheckCommand(t *testing.T) {
	c := serve(t, "WORKER_MODE=-")
	if out, err := command(t, []string{"PANDU_OPS_LISTEN=" + c.ops}, "healthcheck").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if err := command(t, []string{"PANDU_OPS_LISTEN=" + freeAddress(t)}, "healthcheck").Run(); err == nil {
		t.Error("nobody is there and the check passes")
	}
}

func TestConfigCommands(t *testing.T) {
	out, err := command(t, []string{"DATABASE_URL=postgres://u:topsecret@h/d"}, "config", "print").CombinedOutput()
	if err != nil || strings.Contains(string(out), "topsecret") || !strings.Contains(string(out), `database_url: "[redacted]" # environment DATABASE_URL`) {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := command(t, []string{"WORKER_MODE=!,-"}, "config", "check").CombinedOutput(); err == nil || !strings.Contains(string(out), "stands alone") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := command(t, nil, "config", "check").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := command(t, []string{"PANDU_COLOUR=blue"}, "serve").CombinedOutput(); err == nil || !strings.Contains(string(out), "PANDU_COLOUR") {
		t.Errorf("%v: %s", err, out)
	}
}

// lockedBuffer is written to by a process and read by the test.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
