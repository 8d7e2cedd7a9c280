// Package pgprivate runs a PostgreSQL server of one's own in a directory: small, without a network, for one program.
//
// The server is made from the installed binaries at the first start. It lives in a session of its own, so that it
// survives the program that started it, however that ends; the next Start finds and adopts it. It never runs as root,
// never listens on anything but a unix socket that only its own user (and root) can reach, and is never upgraded or
// repaired behind somebody's back: what is wrong with the directory becomes an error that says what to do.
package pgprivate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/run"
)

// name of the superuser and of the database.
const name = "pandu"

const (
	startTimeout = 2 * time.Minute // of a server that may have to recover first
	stopTimeout  = 30 * time.Second
	poll         = 10 * time.Millisecond
	watchEvery   = time.Second
	restarts     = 5
)

// ErrBusy says that another process holds the directory: its server may be used, and is not ours to start or stop.
var ErrBusy = errors.New("another process runs this private PostgreSQL")

// Server is the server in one directory.
type Server struct {
	dir string
	log *slog.Logger

	lock   *os.File
	user   *osUser
	bin    string
	begun  int64 // where in the log the present server's words begin
	mu     sync.Mutex
	pid    int
	ended  chan error
	cancel context.CancelFunc
	done   chan struct{}
}

// New is the server in dir (absolute), which is made when it is missing. Nothing happens before Start.
func New(dir string, log *slog.Logger) *Server {
	return &Server{dir: dir, log: log, ended: make(chan error, 1), done: make(chan struct{})}
}

// DSN is how to reach the server, as its superuser.
func (s *Server) DSN() string { return s.dsn(name) }

func (s *Server) dsn(database string) string {
	q := url.Values{"host": {s.socketDir()}, "port": {"5432"}, "sslmode": {"disable"}}
	return (&url.URL{Scheme: "postgres", User: url.User(name), Path: "/" + database, RawQuery: q.Encode()}).String()
}

// Name is the name.
func (s *Server) Name() string { return "private PostgreSQL" }

// Start returns when the server answers: one that still runs is adopted, else it is started, and made before that if need be.
// The error is ErrBusy when another process has done so.
func (s *Server) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.prepare(ctx); err != nil {
		_ = s.unlock() // the error above says more
		return err
	}
	if err := s.up(ctx); err != nil {
		_ = s.unlock() // the error above says more
		return err
	}
	if err := s.makeDatabase(ctx); err != nil {
		return errors.Join(err, s.halt(context.WithoutCancel(ctx)), s.unlock())
	}
	watching, cancelWatch := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancelWatch
	go s.watch(watching)
	return nil
}

// Stop ends the server cleanly. It takes up to half a minute of its own, whatever ctx says, for a database that is cut
// off has to recover at the next start.
func (s *Server) Stop(ctx context.Context) error {
	s.cancel()
	<-s.done
	return errors.Join(s.halt(ctx), s.unlock())
}

// Ended sends when the server has ended on its own and could not be started again.
func (s *Server) Ended() <-chan error { return s.ended }

// prepare finds out who we are and with what, and makes the directories and the database cluster.
func (s *Server) prepare(ctx context.Context) error {
	var err error
	if s.user, err = serverUser(); err != nil {
		return err
	}
	if err = s.makeDirs(); err != nil {
		return err
	}
	if err = s.takeLock(); err != nil {
		return err
	}
	if s.bin, err = s.chooseBinaries(); err != nil {
		return err
	}
	if err := s.initialise(ctx); err != nil {
		return err
	}
	return s.writeAccess()
}

// up adopts the server that runs in the directory, or starts one, and waits until it answers.
func (s *Server) up(ctx context.Context) error {
	if pid := s.running(); pid != 0 {
		s.log.Info("adopting private postgresql", "pid", pid)
		s.setPID(pid)
		if err := s.answers(ctx, nil); err == nil {
			return nil
		}
		// It was on its way down, or is beyond help; what follows tells.
		if s.running() != 0 {
			return fmt.Errorf("PostgreSQL runs as process %d in %s and does not answer: look at %s, or stop it with kill -INT %d", pid, s.data(), s.logFile(), pid)
		}
	}
	p, err := s.launch()
	if err != nil {
		return err
	}
	s.setPID(p.PID)
	if err := s.answers(ctx, p.Done()); err != nil {
		// Told to stop while it starts: it must not stay behind. One that has ended already is not there to stop.
		return errors.Join(s.advise(err), s.halt(ctx))
	}
	return nil
}

// launch starts the server in a session of its own.
func (s *Server) launch() (*run.Process, error) {
	if err := s.removeStale(); err != nil {
		return nil, err
	}
	out, err := s.openLog()
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }()
	return run.Start(run.Command{
		Path: filepath.Join(s.bin, "postgres"), Args: append([]string{"-D", s.data()}, s.settings()...), Env: environment(),
		Dir: s.data(), Credential: s.user.credential(), Detached: true, Stdout: out, Stderr: out,
	})
}

// settings keep the server small. Everything that this program does is short transactions of a few rows.
func (s *Server) settings() []string {
	list := []string{
		"listen_addresses=", "unix_socket_directories=" + s.socketDir(), "unix_socket_permissions=0700", "port=5432",
		"max_connections=60", "shared_buffers=32MB", "work_mem=4MB", "maintenance_work_mem=32MB", "wal_buffers=1MB",
		"max_wal_size=256MB", "min_wal_size=64MB", "max_worker_processes=4", "max_parallel_workers=2",
		"max_parallel_workers_per_gather=1", "autovacuum_max_workers=1", "max_wal_senders=0", "wal_level=minimal", "max_logical_replication_workers=0",
		"jit=off", "huge_pages=off", "timezone=UTC", "log_timezone=UTC", "log_checkpoints=off", "log_min_messages=warning",
	}
	args := make([]string, 0, 2*len(list))
	for _, setting := range list {
		args = append(args, "-c", setting)
	}
	return args
}

// answers waits until a connection succeeds, the server ends, or ctx does. over is closed when a child of ours ended.
func (s *Server) answers(ctx context.Context, over <-chan struct{}) error {
	for {
		conn, err := pgx.Connect(ctx, s.dsn("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-over:
			return errors.New("PostgreSQL ended at its start")
		case <-ctx.Done():
			return fmt.Errorf("wait for PostgreSQL: %w", err)
		case <-time.After(poll):
		}
		if over == nil && !alive(s.getPID()) {
			return errors.New("PostgreSQL ended")
		}
	}
}

func (s *Server) makeDatabase(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.dsn("postgres"))
	if err != nil {
		return fmt.Errorf("connect to private PostgreSQL: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var exists bool
	if err := conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", name).Scan(&exists); err != nil || exists {
		return err
	}
	if _, err := conn.Exec(ctx, "create database "+name); err != nil {
		return fmt.Errorf("create database: %w", err)
	}
	return nil
}

// watch starts the server again when it ends by itself, for example because the kernel was out of memory.
func (s *Server) watch(ctx context.Context) {
	defer close(s.done)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if alive(s.getPID()) {
			continue
		}
		s.log.Error("private postgresql ended, starting it again")
		if err := s.again(ctx); err != nil {
			s.ended <- err
			return
		}
	}
}

func (s *Server) again(ctx context.Context) error {
	var err error
	for attempt := range restarts {
		trying, cancel := context.WithTimeout(ctx, startTimeout)
		err = s.up(trying)
		cancel()
		if err == nil || ctx.Err() != nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second << attempt):
		}
	}
	return err
}

// halt asks for a fast shutdown: transactions are rolled back, everything is written, the next start is quick.
func (s *Server) halt(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	pid := s.getPID()
	if err := syscall.Kill(pid, syscall.SIGINT); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop PostgreSQL: %w", err)
	}
	for alive(pid) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL (process %d) is still writing its data after %s: it goes on by itself", pid, stopTimeout)
		case <-time.After(poll):
		}
	}
	return nil
}

func (s *Server) setPID(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pid = pid
}

func (s *Server) getPID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid
}
