package app

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/riverqueue/river"

	"pandu/config"
	"pandu/jobs"
	"pandu/migrations"
	"pandu/modules/kit/pgtest"
)

const testKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// TestMain lets the test binary be the program itself: it is what the tests start, and what an agent starts as gateway.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		os.Exit(Execute(Command("test", nil)))
	}
	pgtest.Main(m, func(ctx context.Context, dsn string) error {
		return migrations.Up(ctx, dsn, slog.New(slog.DiscardHandler))
	}, migrations.Hash())
}

// settings loads settings with everything on free ports and files in the test's directory.
func settings(t *testing.T, environ ...string) *config.Config {
	t.Helper()
	c, err := config.Load(config.Machine{Hostname: "harbour", Environ: append([]string{
		"PANDU_DATA_DIR=" + t.TempDir(), "PANDU_PANEL_LISTEN=127.0.0.1:0", "PANDU_OPS_LISTEN=127.0.0.1:0", "PANDU_AGENTS_LISTEN=127.0.0.1:0",
		"PANDU_PUBLIC_URL=http://localhost:8080", "PANDU_AGENTS_ADDRESS=localhost:8443",
		"PANDU_PEER_ADDRESS=harbour:8080", "PANDU_MASTER_KEY=" + testKey, "PANDU_DRAIN_TIMEOUT=10s",
	}, environ...)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// launched is a process that runs in the test.
type launched struct {
	*Process
	cancel context.CancelFunc
	ended  chan error
}

func launch(t *testing.T, cfg *config.Config, prepare func(p *Process)) *launched {
	t.Helper()
	p, err := New(cfg, Options{Version: "test", Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if prepare != nil {
		prepare(p)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &launched{p, cancel, make(chan error, 1)}
	go func() { l.ended <- p.Run(ctx) }()
	t.Cleanup(func() { l.stop(t) })
	select {
	case <-p.Up():
	case err := <-l.ended:
		l.ended <- err
		t.Fatalf("it ended at its start: %v", err)
	}
	return l
}

func (l *launched) stop(t *testing.T) {
	t.Helper()
	l.cancel()
	err := <-l.ended
	l.ended <- nil
	if err != nil {
		t.Errorf("it ended with: %v", err)
	}
}

func get(t *testing.T, s *server, path string) (int, string) {
	t.Helper()
	res, err := http.Get("http://" + s.Addr().String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestTableOfServicesPerMode(t *testing.T) {
	const base = "data directory, ops server"
	const database = base + ", master key, database, notifications, process row, queue, rooms, creators"
	const private = base + ", private PostgreSQL, master key, database, notifications, process row, queue, rooms, creators"
	for _, c := range []struct{ mode, database, want string }{
		{"", "", private + ", workers, sweeps, agents, agent, panel"},
		{"", "set", database + ", workers, sweeps, agents, agent, panel"},
		{"!", "set", database + ", sweeps, agents, panel"},
		{"*", "set", database + ", workers, sweeps"},
		{"!,*", "set", database + ", workers, sweeps, agents, panel"},
		{"project:build", "set", database + ", workers, sweeps"},
		{"!,project:build", "set", database + ", workers, sweeps, agents, panel"},
		{"-", "set", base},
		{"-", "", base},
		{"agent", "", base + ", agent"},
		{"gateway", "", base + ", gateway"},
		{"agent,gateway", "set", base + ", gateway, agent"},
	} {
		environ := []string{"WORKER_MODE=" + c.mode}
		if c.database != "" {
			environ = append(environ, "DATABASE_URL=postgres://u@h/d")
		}
		p, err := New(settings(t, environ...), Options{Log: quiet})
		if err != nil {
			t.Errorf("%q: %v", c.mode, err)
			continue
		}
		var names []string
		for _, r := range p.table() {
			if r.on {
				names = append(names, r.name)
			}
		}
		if got := strings.Join(names, ", "); got != c.want {
			t.Errorf("%q: runs %s\nwant %s", c.mode, got, c.want)
		}
	}
}

func TestModeThatNeedsADatabaseRefusesToStartWithoutOne(t *testing.T) {
	for _, mode := range []string{"!", "*", "project:build", "!,*"} {
		_, err := New(settings(t, "WORKER_MODE="+mode), Options{})
		if err == nil || !strings.Contains(err.Error(), "DATABASE_URL is not set") {
			t.Errorf("%q: error %v", mode, err)
		}
	}
}

func TestProcessAnswersForItself(t *testing.T) {
	p := launch(t, settings(t, "WORKER_MODE=!", "DATABASE_URL="+pgtest.DSN(t)), nil)
	for path, want := range map[string]string{
		"/livez": "ok", "/readyz": "ok", "/metrics": `pandu_build_info{go_version="go`, "/state": `"process row"`, "/config": "WORKER_MODE",
		"/debug/pprof/goroutine?debug=1": "goroutine profile",
	} {
		if status, body := get(t, p.opsServer, path); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d without %q", path, status, want)
		}
	}
	if _, body := get(t, p.opsServer, "/config"); strings.Contains(body, testKey) || strings.Contains(body, "postgres://") {
		t.Error("/config shows a secret")
	}
	if status, _ := get(t, p.panelServer, "/healthz"); status != 200 {
		t.Errorf("/healthz: %d", status)
	}
}

func TestIdleModeHasTheOpsPortOnly(t *testing.T) {
	p := launch(t, settings(t, "WORKER_MODE=-"), nil)
	if status, _ := get(t, p.opsServer, "/readyz"); status != 200 {
		t.Errorf("/readyz: %d", status)
	}
	if p.db != nil || p.panelServer != nil {
		t.Error("more runs than the ops port")
	}
}

// While it drains, the process says so, goes on serving, and lets what is in progress finish.
func TestDrain(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	p := launch(t, settings(t, "WORKER_MODE=!", "DATABASE_URL="+pgtest.DSN(t), "PANDU_DRAIN_DELAY=1s"), func(p *Process) {
		p.panel = NewPanel(p.cfg, p.log)
		p.panel.GET("/slow", func(c echo.Context) error { close(entered); <-leave; return c.String(200, "finished") })
	})
	answer := make(chan string, 1)
	go func() {
		res, err := http.Get("http://" + p.panelServer.Addr().String() + "/slow")
		if err != nil {
			answer <- err.Error()
			return
		}
		defer func() { _ = res.Body.Close() }()
		body, _ := io.ReadAll(res.Body)
		answer <- string(body)
	}()
	<-entered
	p.cancel()
	eventually(t, func() bool { status, _ := get(t, p.opsServer, "/readyz"); return status == 503 })
	if status, _ := get(t, p.panelServer, "/healthz"); status != 200 {
		t.Errorf("during the delay the panel answers %d", status)
	}
	eventually(t, func() bool {
		res, err := http.Get("http://" + p.panelServer.Addr().String() + "/healthz")
		if err == nil {
			_ = res.Body.Close()
		}
		return err != nil
	})
	close(leave)
	if got := <-answer; got != "finished" {
		t.Errorf("the request in progress got %q", got)
	}
}

// A browser that watches would hold up every stop until its time is over.
func TestLiveViewsEndWithTheDrain(t *testing.T) {
	watching := make(chan struct{})
	p := launch(t, settings(t, "WORKER_MODE=!", "DATABASE_URL="+pgtest.DSN(t), "PANDU_DRAIN_TIMEOUT=10m"), func(p *Process) {
		p.panel = NewPanel(p.cfg, p.log)
		p.panel.GET("/watch", func(c echo.Context) error {
			c.Response().Flush()
			close(watching)
			<-c.Request().Context().Done()
			return nil
		})
	})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.panelServer.Addr().String()+"/watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	<-watching
	p.stop(t)
	if _, err := io.ReadAll(res.Body); err != nil {
		t.Errorf("the view was cut off instead of ended: %v", err)
	}
}

func TestReadyFollowsTheDatabase(t *testing.T) {
	server := pgtest.NewServer(t)
	p := launch(t, settings(t, "WORKER_MODE=!", "DATABASE_URL="+server.Database(t)), nil)
	server.Stop()
	eventually(t, func() bool { status, _ := get(t, p.opsServer, "/readyz"); return status == 503 })
	if status, _ := get(t, p.opsServer, "/livez"); status != 200 {
		t.Errorf("/livez: %d while the database is away", status)
	}
	server.Start(t)
	eventually(t, func() bool { status, _ := get(t, p.opsServer, "/readyz"); return status == 200 })
}

func TestAnotherMasterKeyIsRefused(t *testing.T) {
	dsn := pgtest.DSN(t)
	launch(t, settings(t, "WORKER_MODE=!", "DATABASE_URL="+dsn), nil).stop(t)
	other := settings(t, "WORKER_MODE=!", "DATABASE_URL="+dsn, "PANDU_MASTER_KEY="+strings.Repeat("ab", 32))
	if err := Run(t.Context(), other, Options{Log: quiet}); err == nil || !strings.Contains(err.Error(), "another master key") {
		t.Errorf("error %v", err)
	}
	launch(t, settings(t, "WORKER_MODE=*", "DATABASE_URL="+dsn), nil)
}

func TestMasterKeyIsNeverMadeBesideAForeignDatabase(t *testing.T) {
	c := settings(t, "WORKER_MODE=!", "DATABASE_URL="+pgtest.DSN(t), "PANDU_MASTER_KEY=")
	if err := Run(t.Context(), c, Options{Log: quiet}); err == nil || !strings.Contains(err.Error(), "openssl rand") {
		t.Errorf("error %v", err)
	}
}

type sealWorker struct {
	river.WorkerDefaults[jobs.SealEvents]
	runs atomic.Int32
}

func (w *sealWorker) Work(context.Context, *river.Job[jobs.SealEvents]) error {
	w.runs.Add(1)
	return nil
}

// Two processes: what one inserts the other works, and nobody works a queue it does not serve.
func TestOrdersAreWorkedByWhoeverServesTheirQueue(t *testing.T) {
	dsn, files := pgtest.DSN(t), "PANDU_DATA_DIR="+t.TempDir()
	with := func(w *sealWorker) func(p *Process) {
		return func(p *Process) { p.workers = river.NewWorkers(); river.AddWorker(p.workers, w) }
	}
	var seals, builds sealWorker
	manager := launch(t, settings(t, "WORKER_MODE=!", "DATABASE_URL="+dsn, files), nil)
	launch(t, settings(t, "WORKER_MODE=project:build", "DATABASE_URL="+dsn, files), with(&builds))
	insert := func() {
		tx, err := manager.db.Pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := manager.orders.Insert(t.Context(), tx, jobs.SealEvents{}); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	insert()
	waiting, err := manager.processes.QueuesWithoutProcess(t.Context())
	if err != nil || !slices.Equal(waiting, []string{"audit:seal"}) {
		t.Errorf("queues without a process: %q, error %v", waiting, err)
	}
	launch(t, settings(t, "WORKER_MODE=audit:seal", "DATABASE_URL="+dsn, files), with(&seals))
	eventually(t, func() bool { return seals.runs.Load() == 1 })
	if builds.runs.Load() != 0 {
		t.Error("a process worked a queue it does not serve")
	}
	eventually(t, func() bool {
		waiting, err := manager.processes.QueuesWithoutProcess(t.Context())
		return err == nil && len(waiting) == 0
	})
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("it did not come to be")
		case <-tick.C:
		}
	}
}
