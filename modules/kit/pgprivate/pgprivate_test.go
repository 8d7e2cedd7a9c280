package pgprivate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

var quiet = slog.New(slog.DiscardHandler)

// TestMain lets the test binary play the program that owns a server and is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("PGPRIVATE_TEST_DIR"); dir != "" {
		s := New(dir, quiet)
		if err := s.Start(context.Background()); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("ready", s.getPID())
		select {}
	}
	os.Exit(m.Run())
}

// place is a directory that the server's user can reach; whatever still runs in it is ended with the test.
func place(t *testing.T) string {
	t.Helper()
	base, err := os.MkdirTemp("", "pgprivate-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(base, 0o711); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(base, "postgres")
	t.Cleanup(func() {
		s := New(dir, quiet)
		if pid := s.running(); pid != 0 {
			_ = syscall.Kill(pid, syscall.SIGQUIT)
			for alive(pid) {
				time.Sleep(poll) //nolint:forbidigo // between two looks at a state
			}
		}
		_ = os.RemoveAll(base)
	})
	return dir
}

func start(t *testing.T, dir string) *Server {
	t.Helper()
	s := New(dir, quiet)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func stop(t *testing.T, s *Server) {
	t.Helper()
	if err := s.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func query(t *testing.T, s *Server, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	var answer string
	if err := conn.QueryRow(t.Context(), sql).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestDataSurvivesACleanRestart(t *testing.T) {
	dir := place(t)
	s := start(t, dir)
	conn, err := pgx.Connect(t.Context(), s.DSN())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "create table kept as select 'cargo'::text as what"); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close(t.Context())
	pid := s.getPID()
	stop(t, s)
	if alive(pid) {
		t.Fatal("the server still runs after Stop")
	}
	s = start(t, dir)
	defer stop(t, s)
	if got := query(t, s, "select what from kept"); got != "cargo" {
		t.Errorf("got %q", got)
	}
}

func TestItIsPrivate(t *testing.T) {
	s := start(t, place(t))
	defer stop(t, s)
	if got := query(t, s, "show listen_addresses"); got != "" {
		t.Errorf("listens on %q", got)
	}
	for _, dir := range []string{s.dir, s.socketDir()} {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %v, error %v", dir, info.Mode(), err)
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.getPID()))
	if err != nil || strings.Contains(string(status), "\nUid:\t0\t") {
		t.Errorf("it runs as root, error %v", err)
	}
}

// kill -9 of the program: its server goes on, and the next start finds the very same one with all its connections.
func TestServerSurvivesItsProgramAndIsAdopted(t *testing.T) {
	dir := place(t)
	cmd, pid := owner(t, dir)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if !alive(pid) {
		t.Fatal("the server died with its program")
	}
	s := start(t, dir)
	if s.getPID() != pid {
		t.Errorf("process %d was started beside %d", s.getPID(), pid)
	}
	stop(t, s)
	if alive(pid) {
		t.Error("the adopted server was not stopped")
	}
}

// owner starts a second program that owns the server in dir.
func owner(t *testing.T, dir string) (*exec.Cmd, int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "PGPRIVATE_TEST_DIR="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 64)
	n, err := out.Read(line)
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	fields := strings.Fields(string(line[:n]))
	if len(fields) != 2 || fields[0] != "ready" {
		t.Fatalf("the other program said %q", line[:n])
	}
	pid, err := strconv.Atoi(fields[1])
	if err != nil {
		t.Fatal(err)
	}
	return cmd, pid
}

func TestTwoProgramsDoNotShareAServer(t *testing.T) {
	dir := place(t)
	cmd, pid := owner(t, dir)
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if err := New(dir, quiet).Start(t.Context()); !errors.Is(err, ErrBusy) {
		t.Errorf("error %v, want %v", err, ErrBusy)
	}
	if !alive(pid) {
		t.Error("the refused program ended the other's server")
	}
}

// Power failure: everything ends at once, and the pid file names a process that is somebody else by now.
func TestStalePidFileIsNotBelieved(t *testing.T) {
	dir := place(t)
	cmd, pid := owner(t, dir)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	_ = syscall.Kill(pid, syscall.SIGKILL)
	for alive(pid) {
		time.Sleep(poll) //nolint:forbidigo // between two looks at a state
	}
	s := New(dir, quiet)
	body, err := os.ReadFile(s.pidFile())
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(body), "\n")
	if err := os.WriteFile(s.pidFile(), []byte(strconv.Itoa(os.Getpid())+"\n"+rest), 0o600); err != nil {
		t.Fatal(err)
	}
	s = start(t, dir)
	if s.getPID() == os.Getpid() {
		t.Fatal("the test itself was taken for the server")
	}
	stop(t, s)
}

func TestServerThatDiesIsStartedAgain(t *testing.T) {
	s := start(t, place(t))
	defer stop(t, s)
	before := s.getPID()
	_ = syscall.Kill(before, syscall.SIGKILL)
	deadline := time.After(30 * time.Second)
	for {
		if conn, err := pgx.Connect(t.Context(), s.DSN()); err == nil {
			_ = conn.Close(t.Context())
			if s.getPID() != before {
				return
			}
		}
		select {
		case <-deadline:
			t.Fatal("it was not started again")
		case <-time.After(poll):
		}
	}
}

func TestLongPathGetsAShortSocket(t *testing.T) {
	dir := filepath.Join(place(t), strings.Repeat("d", 120))
	if err := os.MkdirAll(filepath.Dir(dir), 0o711); err != nil {
		t.Fatal(err)
	}
	s := start(t, dir)
	defer func() { _ = os.RemoveAll(s.socketDir()) }()
	defer stop(t, s)
	if got := query(t, s, "select 'here'"); got != "here" {
		t.Errorf("got %q", got)
	}
}

func TestInterruptedInitialisationIsBegunAgain(t *testing.T) {
	dir := place(t)
	if err := os.MkdirAll(filepath.Join(dir, "data.new", "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	stop(t, start(t, dir))
}

func TestErrorsSayWhatToDo(t *testing.T) {
	made := place(t)
	s := start(t, made)
	stop(t, s)
	cases := []struct {
		name, says string
		spoil      func(t *testing.T, data string)
	}{
		{"another version", "install the package postgresql-9", func(t *testing.T, data string) { write(t, filepath.Join(data, "PG_VERSION"), "9\n") }},
		{"corrupt", "are damaged", func(t *testing.T, data string) { write(t, filepath.Join(data, "global", "pg_control"), "nonsense") }},
		{"no database", "holds no database", func(t *testing.T, data string) {
			if err := os.Remove(filepath.Join(data, "PG_VERSION")); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := place(t)
			if out, err := exec.Command("cp", "-a", made, dir).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			c.spoil(t, filepath.Join(dir, "data"))
			err := New(dir, quiet).Start(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("the error does not say %q: %v", c.says, err)
			}
		})
	}
}

func TestFullDiskIsNamed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small disk needs root")
	}
	dir := place(t)
	if err := os.MkdirAll(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m,mode=0755"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }()
	err := New(dir, quiet).Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "is full: free some space") {
		t.Errorf("the error does not name the full disk: %v", err)
	}
}

func TestUnreachableDirectoryIsNamed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root starts the server as another user")
	}
	dir := place(t)
	if err := os.Chmod(filepath.Dir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	err := New(dir, quiet).Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "chmod o+x "+filepath.Dir(dir)) {
		t.Errorf("the error does not say what to do: %v", err)
	}
}

func write(t *testing.T, path, body string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
}
