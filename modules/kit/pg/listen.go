package pg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const (
	// maxPending bounds what one subscriber may be behind; beyond it the notes become one reset.
	maxPending = 1024
	// pingEvery finds a connection whose other side is gone without a word.
	pingEvery   = 30 * time.Second
	pingTimeout = 5 * time.Second
	// Reconnecting waits from firstWait, doubling, to lastWait.
	firstWait = 50 * time.Millisecond
	lastWait  = 5 * time.Second
)

// Note says that something of this kind changed. Organization is uuid.Nil for what belongs to the platform.
type Note struct {
	Kind             string
	Organization, ID uuid.UUID
}

// Batch is what happened since the last one: each change once, in the order of its first mention. Reset means that notes
// may have been lost, so everything must be taken for changed; Notes is empty then.
type Batch struct {
	Reset bool
	Notes []Note
}

// Hub holds the one connection on which a process listens, and hands what it hears to subscribers. A slow subscriber
// delays nobody: its notes are merged, and become a reset when there are too many.
type Hub struct {
	dsn    string
	log    *slog.Logger
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex
	subs map[*Subscription]struct{}
}

// NewHub makes a hub that will listen on the database at dsn; a transaction-pooling proxy in between cannot work.
func NewHub(dsn string, log *slog.Logger) *Hub {
	return &Hub{dsn: dsn, log: log, done: make(chan struct{}), subs: map[*Subscription]struct{}{}}
}

// Start connects and listens. Later the hub reconnects by itself, and each time every subscriber gets a reset.
func (h *Hub) Start(ctx context.Context) error {
	conn, err := h.connect(ctx)
	if err != nil {
		return err
	}
	ctx, h.cancel = context.WithCancel(context.WithoutCancel(ctx))
	h.resetAll()
	go h.run(ctx, conn)
	return nil
}

// Stop closes the connection. Subscribers hear nothing any more; their Next returns when its own ctx ends.
func (h *Hub) Stop(ctx context.Context) error {
	h.cancel()
	select {
	case <-h.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Subscribe hears of the kinds, or of every kind when none is named. Subscribe first and read afterwards: then no change is missed.
func (h *Hub) Subscribe(kinds ...string) *Subscription {
	s := &Subscription{hub: h, kinds: kinds, wake: make(chan struct{}, 1), seen: map[Note]struct{}{}}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subs[s] = struct{}{}
	return s
}

func (h *Hub) connect(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*pingTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, h.dsn)
	if err != nil {
		return nil, fmt.Errorf("connect to listen: %w", err)
	}
	if _, err := conn.Exec(ctx, "listen "+pgx.Identifier{Channel}.Sanitize()); err != nil {
		_ = conn.Close(ctx)
		return nil, fmt.Errorf("listen: %w", err)
	}
	return conn, nil
}

func (h *Hub) run(ctx context.Context, conn *pgx.Conn) {
	defer close(h.done)
	for {
		err := h.receive(ctx, conn)
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		_ = conn.Close(closing)
		cancel()
		if ctx.Err() != nil {
			return
		}
		h.log.Warn("notifications lost, reconnecting", "error", err)
		if conn = h.reconnect(ctx); conn == nil {
			return
		}
		h.log.Info("notifications back")
		h.resetAll()
	}
}

// reconnect tries until it succeeds; nil means that ctx ended.
func (h *Hub) reconnect(ctx context.Context) *pgx.Conn {
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Duration(rand.Int64N(int64(wait)) + int64(wait)/2)): //nolint:gosec // spreading needs no secrecy
		}
		if conn, err := h.connect(ctx); err == nil {
			return conn
		}
	}
}

// receive hands notes on until the connection breaks or ctx ends.
func (h *Hub) receive(ctx context.Context, conn *pgx.Conn) error {
	for {
		waiting, cancel := context.WithTimeout(ctx, pingEvery)
		n, err := conn.WaitForNotification(waiting)
		cancel()
		switch {
		case err == nil:
			h.hand(n.Payload)
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			if err := ping(ctx, conn); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

func ping(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return conn.Ping(ctx)
}

func (h *Hub) hand(payload string) {
	note, ok := parseNote(payload)
	if !ok {
		h.log.Warn("notification not understood", "payload_bytes", len(payload))
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		s.add(note)
	}
}

func (h *Hub) resetAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		s.mu.Lock()
		s.reset()
		s.mu.Unlock()
	}
}

// parseNote reads kind:organization:id as Notify writes it.
func parseNote(payload string) (Note, bool) {
	parts := strings.Split(payload, ":")
	if len(parts) != 3 || parts[0] == "" {
		return Note{}, false
	}
	organization, errOrganization := uuid.Parse(parts[1])
	id, errID := uuid.Parse(parts[2])
	return Note{parts[0], organization, id}, errOrganization == nil && errID == nil
}

// Subscription hears of some kinds of change. One goroutine calls Next.
type Subscription struct {
	hub   *Hub
	kinds []string
	wake  chan struct{}

	mu    sync.Mutex
	lost  bool
	notes []Note
	seen  map[Note]struct{}
}

// Next waits until something has happened since the last call and returns it all, or ctx's error.
func (s *Subscription) Next(ctx context.Context) (Batch, error) {
	select {
	case <-ctx.Done():
		return Batch{}, ctx.Err()
	case <-s.wake:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := Batch{Reset: s.lost, Notes: s.notes}
	s.lost, s.notes = false, nil
	clear(s.seen)
	return b, nil
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	delete(s.hub.subs, s)
}

func (s *Subscription) add(n Note) {
	if len(s.kinds) > 0 && !slices.Contains(s.kinds, n.Kind) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.seen[n]; known || s.lost {
		return
	}
	if len(s.notes) >= maxPending {
		s.reset()
		return
	}
	s.seen[n] = struct{}{}
	s.notes = append(s.notes, n)
	s.signal()
}

// reset replaces all notes by "anything may have changed". The caller holds mu.
func (s *Subscription) reset() {
	s.lost, s.notes = true, nil
	clear(s.seen)
	s.signal()
}

func (s *Subscription) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
