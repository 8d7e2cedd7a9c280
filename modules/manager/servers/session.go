package servers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/durationpb"

	"pandu/modules/agent/agentv1"
	"pandu/modules/kit/fault"
)

// streams in the order in which they are sent.
var streams = []agentv1.Stream{agentv1.Stream_STREAM_INSTANCES, agentv1.Stream_STREAM_ROUTES}

// A session is one agent connected to this process. Everything it remembers can be read again from the database or
// from the agent; it exists so that a heartbeat costs no query and a change is sent within milliseconds.
type session struct {
	server uuid.UUID
	number int64
	epoch  *agentv1.Epoch
	out    chan *agentv1.ManagerMessage
	wake   chan struct{}   // entries may have changed
	heard  chan struct{}   // the agent said something
	end    func(error)     // closes the session
	over   <-chan struct{} // closed when the session is

	// Owned by the goroutine that sends desired state.
	sent map[agentv1.Stream]uint64
	live map[agentv1.Stream]map[string]*agentv1.Entry

	mu       sync.Mutex
	statuses map[string]*agentv1.InstanceStatus
	keys     map[string]*agentv1.KeyStatus
	info     *agentv1.ServerInfo
	synced   bool
	revision map[agentv1.Stream]*atomic.Uint64 // sent, for the ops page; the map itself never changes
	beat     atomic.Int64                      // unix nanoseconds of the last message, for the ops page only
}

// errReplaced ends a session when the agent has opened another one.
var errReplaced = errors.New("the agent opened another session")

// Wake makes the session of a server look for new entries. Called on every notification of kind server.
func (s *Service) Wake(server uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if live := s.sessions[server]; live != nil {
		nudge(live.wake)
	}
}

// WakeAll does so for every session, after notifications may have been lost.
func (s *Service) WakeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, live := range s.sessions {
		nudge(live.wake)
	}
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// register makes live the server's session in this process; an older one of the same server ends.
func (s *Service) register(live *session) {
	s.mu.Lock()
	old := s.sessions[live.server]
	if old != nil && old.number > live.number { // a session opened later was quicker to come here
		old, live = live, old
	}
	s.sessions[live.server] = live
	s.mu.Unlock()
	if old != nil {
		old.end(errReplaced)
	}
}

func (s *Service) unregister(live *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[live.server] == live {
		delete(s.sessions, live.server)
	}
}

func (s *Service) local(server uuid.UUID) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[server]
}

// send queues a message; a full queue means an agent that does not read, whose session ends.
func (l *session) send(ctx context.Context, m *agentv1.ManagerMessage) error {
	select {
	case l.out <- m:
		return nil
	default:
	}
	timeout := time.NewTimer(10 * time.Second)
	defer timeout.Stop()
	select {
	case l.out <- m:
		return nil
	case <-timeout.C:
		return fault.New(fault.Unavailable, "agent_slow", "The agent does not read what it is sent.")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// push sends what is new in both streams each time it is woken. A slow look every 30 s covers a lost notification.
func (s *Service) push(ctx context.Context, live *session, hello *agentv1.Hello) error {
	for _, stream := range streams {
		if err := s.begin(ctx, live, stream, hello); err != nil {
			return err
		}
	}
	slow := time.NewTicker(30 * time.Second)
	defer slow.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-live.wake:
		case <-slow.C:
		}
		for _, stream := range streams {
			if err := s.advance(ctx, live, stream); err != nil {
				return err
			}
		}
	}
}

// begin brings a stream from what the agent said it holds to the present: nothing, a delta, or a snapshot.
func (s *Service) begin(ctx context.Context, live *session, stream agentv1.Stream, hello *agentv1.Hello) error {
	rows, revision, err := s.stored(ctx, live.server, stream)
	if err != nil {
		return err
	}
	live.live[stream] = map[string]*agentv1.Entry{}
	held := hello.GetRevisions()[int32(stream)]
	same := hello.GetEpoch().GetLineage() == live.epoch.GetLineage() && held > 0
	var fresh []*agentv1.Entry
	for _, row := range rows {
		e := row.entry()
		if !e.GetTombstone() {
			live.live[stream][e.GetKey()] = e
		}
		if e.GetRevision() > held {
			fresh = append(fresh, e)
		}
	}
	live.mark(stream, revision)
	switch {
	case same && held == revision:
		return nil
	case same && weight(fresh) <= chunk:
		return live.send(ctx, delta(live, stream, held, revision, fresh))
	default:
		return s.snapshot(ctx, live, stream, revision, rows)
	}
}

// advance sends a delta when the stream has moved on, or all of it in parts when that is too much for one message.
func (s *Service) advance(ctx context.Context, live *session, stream agentv1.Stream) error {
	from := live.sent[stream]
	rows, err := s.entriesAfter(ctx, live.server, stream, from)
	if err != nil || len(rows) == 0 {
		return err
	}
	entries := make([]*agentv1.Entry, 0, len(rows))
	revision := from
	for _, row := range rows {
		e := row.entry()
		entries = append(entries, e)
		revision = max(revision, e.GetRevision())
		if e.GetTombstone() {
			delete(live.live[stream], e.GetKey())
		} else {
			live.live[stream][e.GetKey()] = e
		}
	}
	if weight(entries) > chunk {
		return s.again(ctx, live, stream)
	}
	live.mark(stream, revision)
	return live.send(ctx, delta(live, stream, from, revision, entries))
}

// again sends a whole stream as it stands now.
func (s *Service) again(ctx context.Context, live *session, stream agentv1.Stream) error {
	rows, revision, err := s.stored(ctx, live.server, stream)
	if err != nil {
		return err
	}
	clear(live.live[stream])
	for _, row := range rows {
		if e := row.entry(); !e.GetTombstone() {
			live.live[stream][e.GetKey()] = e
		}
	}
	live.mark(stream, revision)
	return s.snapshot(ctx, live, stream, revision, rows)
}

// weight is about how many bytes entries take in a message.
func weight(entries []*agentv1.Entry) int {
	n := 0
	for _, e := range entries {
		n += len(e.GetBody()) + len(e.GetKey())
	}
	return n
}

func (l *session) mark(stream agentv1.Stream, revision uint64) {
	l.sent[stream] = revision
	l.revision[stream].Store(revision)
}

func delta(live *session, stream agentv1.Stream, from, revision uint64, entries []*agentv1.Entry) *agentv1.ManagerMessage {
	held := slices.Collect(maps.Values(live.live[stream]))
	return &agentv1.ManagerMessage{Message: &agentv1.ManagerMessage_Delta{Delta: &agentv1.Delta{
		Stream: stream, Epoch: live.epoch, From: from, Revision: revision, Entries: entries,
		Count: uint64(len(held)), Hash: agentv1.HashEntries(held),
	}}}
}

// chunk is how many bytes of entries one snapshot message holds; a message is at most 4 MiB.
const chunk = 1 << 20

func (s *Service) snapshot(ctx context.Context, live *session, stream agentv1.Stream, revision uint64, rows []entryRow) error {
	held := slices.Collect(maps.Values(live.live[stream]))
	part := &agentv1.Snapshot{Stream: stream, Epoch: live.epoch, Revision: revision}
	size := 0
	for _, row := range rows {
		part.Entries = append(part.Entries, row.entry())
		if size += len(row.Body) + len(row.Key); size < chunk {
			continue
		}
		if err := live.send(ctx, snapshotMessage(part)); err != nil {
			return err
		}
		part, size = &agentv1.Snapshot{Stream: stream, Epoch: live.epoch, Revision: revision}, 0
	}
	part.Last, part.Count, part.Hash = true, uint64(len(held)), agentv1.HashEntries(held)
	return live.send(ctx, snapshotMessage(part))
}

func snapshotMessage(part *agentv1.Snapshot) *agentv1.ManagerMessage {
	return &agentv1.ManagerMessage{Message: &agentv1.ManagerMessage_Snapshot{Snapshot: part}}
}

func (row entryRow) entry() *agentv1.Entry {
	return &agentv1.Entry{Key: row.Key, Revision: uint64(row.Revision), Body: row.Body, Tombstone: row.Tombstone, Cause: row.Cause}
}

// watch ends the session when the agent has been silent for three beats.
func (s *Service) watch(ctx context.Context, live *session) error {
	patience := 3 * s.Beat
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-live.heard:
			timer.Reset(patience)
		case <-timer.C:
			return fault.New(fault.Timeout, "agent_silent", fmt.Sprintf("The agent said nothing for %s.", patience))
		}
	}
}

func (s *Service) welcome(live *session) *agentv1.ManagerMessage {
	return &agentv1.ManagerMessage{Message: &agentv1.ManagerMessage_Welcome{Welcome: &agentv1.Welcome{
		ServerId: live.server.String(), Session: uint64(live.number), Epoch: live.epoch, Beat: durationpb.New(s.Beat),
	}}}
}
