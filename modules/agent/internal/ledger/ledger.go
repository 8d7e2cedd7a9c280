// Package ledger is the desired state on the server's own disk, and the judge of every change to it.
//
// Both streams are kept: every key's entry, live or tombstone, with the (epoch, revision) it was accepted at. What a
// manager sends is judged by a pure function (Apply), written and fsynced, and only then seen by anybody. What is
// refused changes nothing. It never removes a key because a list was short, and it carries nothing out.
//
// On disk each stream is one append-only log: a base (the whole state at some moment) followed by what was accepted
// since, each record with its length and checksum. A change costs its own size, not that of the state; the file is made
// again, beside itself and by rename, when what was added outweighs the base four times. One file per key would cost an
// inode and two fsyncs per entry, and could not change several keys at once. A kill at any moment leaves at worst a torn
// last record, which was never acted on and is cut off.
package ledger

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"google.golang.org/protobuf/proto"

	"pandu/modules/agent/agentv1"
)

// Streams are the streams a ledger keeps.
var Streams = []agentv1.Stream{agentv1.Stream_STREAM_INSTANCES, agentv1.Stream_STREAM_ROUTES} //nolint:gochecknoglobals // a constant

var fileNames = map[agentv1.Stream]string{ //nolint:gochecknoglobals // a constant
	agentv1.Stream_STREAM_INSTANCES: "instances.log",
	agentv1.Stream_STREAM_ROUTES:    "routes.log",
}

// ErrInUse says that another agent has this directory.
var ErrInUse = errors.New("another agent uses this directory")

// Ledger is safe for concurrent use.
type Ledger struct {
	lock *os.File

	mu      sync.Mutex
	streams map[agentv1.Stream]*stream
	suspect map[agentv1.Stream]bool // what is held did not add up: a whole snapshot is wanted
}

// stream is one stream in memory and its file.
type stream struct {
	state  *State
	file   *log
	chunks *assembly
	held   *Held
}

// Held is a delta that waits for an operator's confirmation.
type Held struct {
	Revision uint64 // the newest that was held back
	Stops    int    // instances or route sets it would stop
	Of       int    // what is live now
}

// Open reads what dir holds and locks it for one agent. A file that is damaged is put aside with ".damaged", so that
// the manager sends everything again; containers are not touched meanwhile.
func Open(dir string, logger *slog.Logger) (*Ledger, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make ledger directory: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	l := &Ledger{lock: lock, streams: map[agentv1.Stream]*stream{}, suspect: map[agentv1.Stream]bool{}}
	for _, name := range Streams {
		file, state, err := openLog(filepath.Join(dir, fileNames[name]), name, logger)
		if err != nil {
			_ = l.Close() // the first error counts
			return nil, fmt.Errorf("open ledger: %w", err)
		}
		l.streams[name] = &stream{state: state, file: file}
	}
	return l, nil
}

func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the directory is a setting
	if err != nil {
		return nil, fmt.Errorf("open ledger lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil { //nolint:gosec // a descriptor is small
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, ErrInUse)
	}
	return f, nil
}

// Close gives the directory back. Everything accepted is on disk already.
func (l *Ledger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	errs := []error{l.lock.Close()}
	for _, s := range l.streams {
		errs = append(errs, s.file.close())
	}
	return errors.Join(errs...)
}

// Head is where a stream stands.
type Head struct {
	Epoch    *agentv1.Epoch
	Revision uint64
	Live     int      // keys that the manager wants
	Unknown  []string // keys we hold that the last snapshot lacked: kept running, reported
	Held     *Held    // nil: nothing waits for a confirmation
}

// Head tells where a stream stands.
func (l *Ledger) Head(name agentv1.Stream) Head {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streams[name]
	head := Head{Epoch: s.state.Epoch, Revision: s.state.Revision, Unknown: slices.Sorted(maps.Keys(s.state.Unknown)), Held: s.held}
	for key, e := range s.state.Entries {
		if !e.GetTombstone() && !s.state.Unknown[key] {
			head.Live++
		}
	}
	return head
}

// Hello gives the epoch and the revisions for the beginning of a session. A stream whose content did not add up says
// that it holds nothing, which makes the manager send all of it.
func (l *Ledger) Hello() (*agentv1.Epoch, map[int32]uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	epoch, revisions := &agentv1.Epoch{}, map[int32]uint64{}
	for _, name := range Streams {
		s := l.streams[name]
		s.chunks = nil // belonged to the session before
		if s.state.Epoch.GetNumber() > epoch.GetNumber() {
			epoch = s.state.Epoch
		}
	}
	for _, name := range Streams {
		s := l.streams[name]
		if !l.suspect[name] && s.state.Epoch.GetNumber() == epoch.GetNumber() {
			revisions[int32(name)] = s.state.Revision
		}
	}
	return epoch, revisions
}

// Entries are all entries of a stream, live ones and tombstones, by key. They must not be changed.
func (l *Ledger) Entries(name agentv1.Stream) []*agentv1.Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	entries := slices.Collect(maps.Values(l.streams[name].state.Entries))
	slices.SortFunc(entries, func(a, b *agentv1.Entry) int { return strings.Compare(a.GetKey(), b.GetKey()) })
	return entries
}

// Delta judges a delta and makes it durable. changed is false when it brought nothing new. Errors: ErrRefused and what
// wraps it (nothing changed; ErrMismatch asks for a new session), ErrBraked (it waits for a confirmation), or a failed write.
func (l *Ledger) Delta(d *agentv1.Delta) (changed bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok := l.streams[d.GetStream()]
	if !ok {
		return false, fmt.Errorf("%w: unknown stream %d", ErrRefused, d.GetStream())
	}
	return l.accept(d.GetStream(), s, change{
		epoch: d.GetEpoch(), from: d.GetFrom(), revision: d.GetRevision(), entries: d.GetEntries(),
		count: d.GetCount(), hash: d.GetHash(), confirmed: d.GetConfirmed(),
	})
}

// Chunk takes one part of a snapshot. done is true with the last one, when all of it was judged and is durable.
// Errors are as for Delta.
func (l *Ledger) Chunk(part *agentv1.Snapshot) (done, changed bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok := l.streams[part.GetStream()]
	if !ok {
		return false, false, fmt.Errorf("%w: unknown stream %d", ErrRefused, part.GetStream())
	}
	if s.chunks == nil {
		s.chunks = &assembly{epoch: part.GetEpoch(), revision: part.GetRevision()}
	}
	if err := s.chunks.add(part); err != nil {
		s.chunks = nil
		return false, false, err
	}
	if !part.GetLast() {
		return false, false, nil
	}
	whole := s.chunks
	s.chunks = nil
	changed, err = l.accept(part.GetStream(), s, change{
		epoch: whole.epoch, revision: whole.revision, entries: whole.entries, count: part.GetCount(), hash: part.GetHash(), whole: true,
	})
	return err == nil, changed, err
}

// accept judges, writes, and only then lets the change be seen.
func (l *Ledger) accept(name agentv1.Stream, s *stream, c change) (bool, error) {
	if s.held != nil && !c.whole && !c.confirmed && c.from == s.held.Revision {
		s.held = &Held{Revision: c.revision, Stops: s.held.Stops, Of: s.held.Of} // it builds on what waits
		return false, ErrBraked
	}
	next, err := Apply(s.state, c)
	if errors.Is(err, ErrStale) {
		return false, nil
	}
	var brake *brakeError
	if errors.As(err, &brake) {
		s.held = &Held{Revision: c.revision, Stops: brake.stops, Of: brake.of}
		return false, err
	}
	if errors.Is(err, ErrMismatch) {
		l.suspect[name] = true
	}
	if err != nil {
		return false, err
	}
	if err := s.file.append(c, next); err != nil {
		return false, fmt.Errorf("write ledger: %w", err)
	}
	s.state, s.held = next, nil
	delete(l.suspect, name)
	return true, nil
}

// CarriedOut forgets tombstones that were carried out. After a restart they may be seen once more, which is harmless.
func (l *Ledger) CarriedOut(name agentv1.Stream, keys ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streams[name]
	for _, key := range keys {
		if s.state.Entries[key].GetTombstone() {
			delete(s.state.Entries, key)
		}
	}
}

// maxSnapshot bounds a snapshot in memory, in bytes.
const maxSnapshot = 256 << 20

// assembly collects the chunks of one snapshot.
type assembly struct {
	epoch    *agentv1.Epoch
	revision uint64
	entries  []*agentv1.Entry
	size     int
}

func (a *assembly) add(part *agentv1.Snapshot) error {
	if part.GetRevision() != a.revision || !proto.Equal(part.GetEpoch(), a.epoch) {
		return fmt.Errorf("%w: chunks of two snapshots are mixed", ErrMismatch)
	}
	if a.size += proto.Size(part); a.size > maxSnapshot {
		return fmt.Errorf("%w: snapshot is larger than %d bytes", ErrRefused, maxSnapshot)
	}
	a.entries = append(a.entries, part.GetEntries()...)
	return nil
}
