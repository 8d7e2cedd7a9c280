package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// oldest is the lowest major version that tests may run against.
const oldest = 15

// prefix of a server's directory; the test process's id follows, so that the next process can tell whose it was.
const prefix = "pgtest-"

// Server is a PostgreSQL that lives at most as long as this process, in memory as far as the kernel likes: nothing is synced.
type Server struct {
	// URL is the superuser's, at the database postgres.
	URL string

	dir  string
	bin  string
	cred *syscall.Credential
	cmd  *exec.Cmd
	end  chan error
}

// NewServer starts a server for one test only, for what a shared one forbids: stopping it, or changing its roles.
func NewServer(t testing.TB) *Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := start(ctx)
	if err != nil {
		t.Fatalf("pgtest: start PostgreSQL: %v", err)
	}
	t.Cleanup(s.remove)
	return s
}

// Database makes an empty database and returns its URL.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test_%d", serial.Add(1))
	if err := execAt(context.Background(), s.URL, "create database "+name); err != nil {
		t.Fatalf("pgtest: create database: %v", err)
	}
	return at(s.URL, name)
}

// Stop ends the server as a power failure would; every connection breaks. Start brings it back with the same URL.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGQUIT)
	<-s.end
	s.cmd = nil
}

// Start starts a stopped server again and returns when it answers.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.serve(ctx); err != nil {
		t.Fatalf("pgtest: start PostgreSQL again: %v", err)
	}
}

func start(ctx context.Context) (*Server, error) {
	sweep()
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	cred, err := credential()
	if err != nil {
		return nil, err
	}
	dir, err := directory(cred)
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, bin: bin, cred: cred, end: make(chan error, 1)}
	s.URL = (&url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/postgres",
		RawQuery: url.Values{"host": {dir}, "sslmode": {"disable"}}.Encode()}).String()
	if err := s.initialise(ctx); err != nil {
		s.remove()
		return nil, err
	}
	if err := s.serve(ctx); err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) initialise(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "initdb"), "--pgdata", s.data(), "--username", "postgres",
		"--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync", "--no-instructions")
	cmd.Dir = s.dir
	cmd.Env = environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

func (s *Server) serve(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	s.cmd = exec.Command(filepath.Join(s.bin, "postgres"), "-D", s.data(), "-k", s.dir, "-c", "listen_addresses=",
		"-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "max_connections=300",
		"-c", "shared_buffers=64MB", "-c", "max_wal_size=1GB", "-c", "autovacuum=off", "-c", "timezone=UTC")
	s.cmd.Dir, s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = s.dir, environment(), log, log
	// SIGQUIT is PostgreSQL's immediate shutdown: a test process killed outright takes its server along.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred, Pdeathsig: syscall.SIGQUIT}
	if err := s.spawn(); err != nil {
		s.cmd = nil
		return err
	}
	return s.ready(ctx)
}

// spawn starts the server from a thread that lives as long as the server: the kernel sends the parent-death signal when
// the thread that forked ends, and the runtime ends threads as it likes, but never one that is locked and waiting.
func (s *Server) spawn() error {
	started := make(chan error, 1)
	cmd := s.cmd
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			s.end <- cmd.Wait()
		}
	}()
	return <-started
}

func (s *Server) ready(ctx context.Context) error {
	for {
		conn, err := pgx.Connect(ctx, s.URL)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case end := <-s.end:
			s.end <- end
			out, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return fmt.Errorf("the server ended: %w: %s", end, out)
		case <-ctx.Done():
			return fmt.Errorf("wait for the server: %w", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *Server) remove() {
	s.Stop()
	_ = os.RemoveAll(s.dir)
}

// directory makes a directory that the server's user owns, close to the root: a socket's path has room for 107 bytes.
func directory(cred *syscall.Credential) (string, error) {
	dir, err := os.MkdirTemp("", prefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return "", err
	}
	if cred == nil {
		return dir, nil
	}
	return dir, os.Chown(dir, int(cred.Uid), int(cred.Gid))
}

// sweep removes what killed test processes left. Their servers died with them.
func sweep() {
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	for _, dir := range left {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), prefix), "-")
		pid, err := strconv.Atoi(owner)
		if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = os.RemoveAll(dir)
		}
	}
}

// credential is whom the server runs as: initdb and postgres refuse root, so root becomes the user postgres.
func credential() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL does not run as root and there is no user postgres (install the package postgresql): %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// binaries is the directory of the newest installed server.
func binaries() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	slices.SortFunc(found, func(a, b string) int { return major(b) - major(a) })
	if len(found) > 0 && major(found[0]) >= oldest {
		return filepath.Dir(found[0]), nil
	}
	path, err := exec.LookPath("postgres")
	if err != nil {
		return "", errors.New("no PostgreSQL server found under /usr/lib/postgresql or in PATH: install the package postgresql (15 or newer)")
	}
	return filepath.Dir(path), nil
}

// major is the version in a path such as /usr/lib/postgresql/15/bin/postgres.
func major(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}

// environment is fixed, so that a developer's PG* variables do not reach the server.
func environment() []string { return []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"} }
