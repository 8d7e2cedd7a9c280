package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"

	"pandu/modules/agent/agentv1"
)

// Why a change is not taken.
var (
	// ErrRefused is wrapped by every refusal. Nothing changed.
	ErrRefused = errors.New("desired state refused")
	// ErrMismatch: what was sent does not follow on what is held, or does not add up. A new session puts it right.
	ErrMismatch = fmt.Errorf("%w: does not fit what is held", ErrRefused)
	// ErrOlder: a lower epoch or revision, or another lineage of the same epoch.
	ErrOlder = fmt.Errorf("%w: older than what is held", ErrRefused)
	// ErrBraked: too much would stop without a committed cause; it waits for a confirmation.
	ErrBraked = fmt.Errorf("%w: too many stops without a committed cause", ErrRefused)
	// ErrStale: a repetition of what is held already. Harmless.
	ErrStale = errors.New("already held")
)

// State is one stream as accepted. Entries holds live ones and tombstones; Unknown marks the live keys that the last
// snapshot lacked, which are kept but do not count in the manager's count and hash.
type State struct {
	Epoch    *agentv1.Epoch
	Revision uint64
	Entries  map[string]*agentv1.Entry
	Unknown  map[string]bool
}

func newState() *State {
	return &State{Epoch: &agentv1.Epoch{}, Entries: map[string]*agentv1.Entry{}, Unknown: map[string]bool{}}
}

// change is a delta, or a whole snapshot.
type change struct {
	epoch     *agentv1.Epoch
	from      uint64
	revision  uint64
	entries   []*agentv1.Entry
	count     uint64
	hash      []byte
	confirmed bool
	whole     bool
}

// Apply decides what a change makes of a state. It is pure: the state given stays as it is. Errors: ErrRefused and what
// wraps it, ErrStale.
func Apply(now *State, c change) (*State, error) {
	if err := follows(now, c); err != nil {
		return nil, err
	}
	if err := wellFormed(now, c); err != nil {
		return nil, err
	}
	if err := brake(now, c); err != nil {
		return nil, err
	}
	next := &State{Epoch: c.epoch, Revision: c.revision, Entries: maps.Clone(now.Entries), Unknown: maps.Clone(now.Unknown)}
	if c.whole {
		for key, e := range now.Entries {
			next.Unknown[key] = !e.GetTombstone()
		}
	}
	for _, e := range c.entries {
		next.put(e)
	}
	maps.DeleteFunc(next.Unknown, func(_ string, unknown bool) bool { return !unknown })
	return next, next.check(c)
}

// put takes one entry in. A tombstone of a key that is not held needs no work and is not kept.
func (s *State) put(e *agentv1.Entry) {
	key := e.GetKey()
	delete(s.Unknown, key)
	if _, held := s.Entries[key]; e.GetTombstone() && !held {
		return
	}
	s.Entries[key] = e
}

// check compares what came out with what the manager says must come out.
func (s *State) check(c change) error {
	live := make([]*agentv1.Entry, 0, len(s.Entries))
	for key, e := range s.Entries {
		if !e.GetTombstone() && !s.Unknown[key] {
			live = append(live, e)
		}
	}
	if uint64(len(live)) != c.count {
		return fmt.Errorf("%w: %d live entries come out, %d were announced", ErrMismatch, len(live), c.count)
	}
	if !bytes.Equal(agentv1.HashEntries(live), c.hash) {
		return fmt.Errorf("%w: another hash comes out than was announced", ErrMismatch)
	}
	return nil
}

// follows checks the place of a change in history.
func follows(now *State, c change) error {
	have, comes := now.Epoch, c.epoch
	newEpoch := comes.GetNumber() > have.GetNumber()
	switch {
	case comes.GetNumber() == 0 || comes.GetLineage() == "":
		return fmt.Errorf("%w: no epoch", ErrRefused)
	case comes.GetNumber() < have.GetNumber():
		return fmt.Errorf("%w: epoch %d, held is %d", ErrOlder, comes.GetNumber(), have.GetNumber())
	case !newEpoch && comes.GetLineage() != have.GetLineage():
		return fmt.Errorf("%w: another lineage of epoch %d", ErrOlder, have.GetNumber())
	case c.whole && !newEpoch && c.revision < now.Revision:
		return fmt.Errorf("%w: revision %d, held is %d", ErrOlder, c.revision, now.Revision)
	case c.whole:
		return nil
	case !newEpoch && c.revision == now.Revision:
		return ErrStale
	case !newEpoch && c.revision < now.Revision:
		return fmt.Errorf("%w: revision %d, held is %d", ErrOlder, c.revision, now.Revision)
	case c.from != now.Revision:
		return fmt.Errorf("%w: it goes on from revision %d, held is %d", ErrMismatch, c.from, now.Revision)
	}
	return nil
}

const maxKey = 200 // bytes

// wellFormed checks the entries by themselves and against the ones they replace.
func wellFormed(now *State, c change) error {
	sameEpoch := c.epoch.GetNumber() == now.Epoch.GetNumber()
	seen := make(map[string]bool, len(c.entries))
	for _, e := range c.entries {
		key := e.GetKey()
		held := now.Entries[key]
		switch {
		case key == "" || len(key) > maxKey:
			return fmt.Errorf("%w: bad key", ErrRefused)
		case seen[key]:
			return fmt.Errorf("%w: key %s comes twice", ErrRefused, key)
		case e.GetTombstone() && len(e.GetBody()) > 0:
			return fmt.Errorf("%w: tombstone of %s has a body", ErrRefused, key)
		case e.GetRevision() > c.revision:
			return fmt.Errorf("%w: entry %s is newer than its change", ErrRefused, key)
		case sameEpoch && held != nil && e.GetRevision() < held.GetRevision():
			return fmt.Errorf("%w: entry %s of revision %d, held is %d", ErrOlder, key, e.GetRevision(), held.GetRevision())
		}
		seen[key] = true
	}
	return nil
}

// brakeError is ErrBraked with its numbers.
type brakeError struct{ stops, of int }

func (e *brakeError) Error() string {
	return fmt.Sprintf("%v: %d of %d would stop", ErrBraked, e.stops, e.of)
}

func (e *brakeError) Unwrap() error { return ErrBraked }

// brake holds back what would stop more than max(3, 30 %) of the instances (or route sets) unless every stop names its
// cause or an operator confirmed it.
func brake(now *State, c change) error {
	if c.confirmed {
		return nil
	}
	running, stops, uncaused := 0, 0, 0
	for key, e := range now.Entries {
		if runs(key) && !e.GetTombstone() {
			running++
		}
	}
	for _, e := range c.entries {
		held := now.Entries[e.GetKey()]
		if !runs(e.GetKey()) || !e.GetTombstone() || held == nil || held.GetTombstone() {
			continue
		}
		stops++
		if e.GetCause() == "" {
			uncaused++
		}
	}
	if uncaused > 0 && stops > max(3, running*3/10) {
		return &brakeError{stops: stops, of: running}
	}
	return nil
}

// runs reports whether a key stands for something visitors notice the end of.
func runs(key string) bool {
	return strings.HasPrefix(key, "instance/") || strings.HasPrefix(key, "routes/")
}
