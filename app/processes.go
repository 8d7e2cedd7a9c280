package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"pandu/jobs"
	"pandu/modules/kit/pg"
)

// Beat and death of a process, in database time. Rows of the dead stay for a while, so that somebody can read them.
const (
	beatEvery   = 5 * time.Second
	deadAfter   = 15 * time.Second
	forgetAfter = time.Hour
)

// LiveProcess is one row of app.processes.
type LiveProcess struct {
	ID          uuid.UUID `db:"id" json:"id"`
	Hostname    string    `db:"hostname" json:"hostname"`
	Version     string    `db:"version" json:"version"`
	Mode        string    `db:"mode" json:"mode"`
	Requests    bool      `db:"requests" json:"requests"`
	Queues      []string  `db:"queues" json:"queues"`             // keys, as in WORKER_MODE
	PeerAddress string    `db:"peer_address" json:"peer_address"` // host:port other processes reach it at
	DataID      uuid.UUID `db:"data_id" json:"data_id"`           // of its data directory
	StartedAt   time.Time `db:"started_at" json:"started_at"`
	BeatAt      time.Time `db:"beat_at" json:"beat_at"`
}

// Processes keeps the row of this process, and knows which others live.
type Processes struct {
	db     *pg.DB
	log    *slog.Logger
	self   LiveProcess
	shared bool // the data directory is declared shared
	cancel context.CancelFunc
	done   chan struct{}
	beaten atomic.Pointer[time.Time] // the last beat that was written; its monotonic reading is what counts
}

func (p *Process) newProcesses() (Service, error) {
	queues := []string{} // not nil, which would be NULL
	for _, key := range jobs.Keys() {
		if p.mode.Serving(key) && !slices.Contains(queues, key) {
			queues = append(queues, key)
		}
	}
	hostname, _, err := net.SplitHostPort(p.cfg.PeerAddress)
	if err != nil {
		return nil, fmt.Errorf("read peer_address: %w", err)
	}
	id, err := dataID(p.cfg.DataDir)
	if err != nil {
		return nil, err
	}
	p.processes = &Processes{db: p.db, log: p.log, shared: p.cfg.DataShared, done: make(chan struct{}), self: LiveProcess{
		ID: pg.NewID(), Hostname: hostname, Version: p.version, Mode: p.mode.String(), Requests: p.mode.Serving(""),
		Queues: queues, PeerAddress: p.cfg.PeerAddress, DataID: id,
	}}
	p.ops.Show("live_processes", p.processes.show)
	return p.processes, nil
}

// Name is the name.
func (s *Processes) Name() string { return "process row" }

// ID is this process's.
func (s *Processes) ID() uuid.UUID { return s.self.ID }

// Start writes the row and keeps it fresh.
func (s *Processes) Start(ctx context.Context) error {
	if err := s.refuseIsland(ctx); err != nil {
		return err
	}
	if err := s.beat(ctx); err != nil {
		return err
	}
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go s.run(ctx)
	return nil
}

// Stop removes the row, so that nobody waits for this process to be found dead.
func (s *Processes) Stop(ctx context.Context) error {
	s.cancel()
	<-s.done
	_, err := pg.Exec(ctx, s.db.Pool, "delete from app.processes where id = @id", pg.Args{"id": s.self.ID})
	return err
}

// Ready is nil while the row is fresh enough that others believe in this process.
func (s *Processes) Ready() error {
	if time.Since(*s.beaten.Load()) > deadAfter {
		return errors.New("the database has not taken this process's beat")
	}
	return nil
}

func (s *Processes) run(ctx context.Context) {
	defer close(s.done)
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		trying, cancel := context.WithTimeout(ctx, beatEvery)
		if err := s.beat(trying); err != nil && ctx.Err() == nil {
			s.log.Warn("beat not written", "error", err)
		}
		cancel()
	}
}

// beat writes the row anew each time: somebody may have removed it while this process was taken for dead.
func (s *Processes) beat(ctx context.Context) error {
	const upsert = `
insert into app.processes (id, hostname, version, mode, requests, queues, peer_address, data_id)
values (@id, @hostname, @version, @mode, @requests, @queues, @peer_address, @data_id)
on conflict (id) do update set beat_at = now()`
	_, err := pg.Exec(ctx, s.db.Pool, upsert, pg.Args{
		"id": s.self.ID, "hostname": s.self.Hostname, "version": s.self.Version, "mode": s.self.Mode, "requests": s.self.Requests,
		"queues": s.self.Queues, "peer_address": s.self.PeerAddress, "data_id": s.self.DataID,
	})
	if err != nil {
		return fmt.Errorf("write process row: %w", err)
	}
	now := time.Now()
	s.beaten.Store(&now)
	_, err = pg.Exec(ctx, s.db.Pool, "delete from app.processes where beat_at < now() - @age::interval", pg.Args{"age": forgetAfter})
	if err != nil {
		return fmt.Errorf("forget dead processes: %w", err)
	}
	return nil
}

// Live lists the processes that beat less than 15 s of database time ago, the oldest first.
func (s *Processes) Live(ctx context.Context) ([]LiveProcess, error) {
	const list = `
select id, hostname, version, mode, requests, queues, peer_address, data_id, started_at, beat_at
from app.processes where beat_at > now() - @age::interval order by started_at, id`
	live, err := pg.All[LiveProcess](ctx, s.db.Pool, list, pg.Args{"age": deadAfter})
	if err != nil {
		return nil, fmt.Errorf("list live processes: %w", err)
	}
	return live, nil
}

// QueuesWithoutProcess are the keys of queues that have work waiting, running or to be retried, and no live process
// that serves them. Sorted; empty when all is well.
func (s *Processes) QueuesWithoutProcess(ctx context.Context) ([]string, error) {
	live, err := s.Live(ctx)
	if err != nil {
		return nil, err
	}
	served := map[string]bool{}
	for _, p := range live {
		for _, key := range p.Queues {
			served[jobs.Queue(key)] = true
		}
	}
	const waiting = "select distinct queue from river.river_job where state in ('available', 'running', 'retryable') order by queue"
	queues, err := pg.Values[string](ctx, s.db.Pool, waiting, nil)
	if err != nil {
		return nil, fmt.Errorf("list queues with work: %w", err)
	}
	keys := []string{}
	for _, q := range queues {
		if !served[q] {
			keys = append(keys, jobs.Key(q))
		}
	}
	return keys, nil
}

func (s *Processes) show() any {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	live, err := s.Live(ctx)
	if err != nil {
		return "the database does not answer"
	}
	return live
}

// refuseIsland refuses to run beside a process whose files are elsewhere: an upload taken by one would be missing at the other.
func (s *Processes) refuseIsland(ctx context.Context) error {
	if s.shared {
		return nil
	}
	live, err := s.Live(ctx)
	if err != nil {
		return err
	}
	for _, p := range live {
		if p.DataID != s.self.DataID {
			return fmt.Errorf("a Pandu process on %s uses another data directory: let all processes use one on shared storage "+
				"(and set PANDU_DATA_DIR_SHARED=true when they see it under different identities); if that process was just stopped, wait %s", p.Hostname, deadAfter)
		}
	}
	return nil
}
