package ledger

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"pandu/modules/agent/agentv1"
)

var first = &agentv1.Epoch{Number: 1, Lineage: "one"}

func live(key string, revision uint64) *agentv1.Entry {
	return &agentv1.Entry{Key: key, Revision: revision, Body: fmt.Appendf(nil, "%s at %d", key, revision)}
}

func stop(key string, revision uint64, cause string) *agentv1.Entry {
	return &agentv1.Entry{Key: key, Revision: revision, Tombstone: true, Cause: cause}
}

// holding is a state of n instances at revision n.
func holding(n int) *State {
	s := newState()
	s.Epoch, s.Revision = first, uint64(n)
	for i := range n {
		e := live(fmt.Sprintf("instance/%02d", i), uint64(i+1))
		s.Entries[e.GetKey()] = e
	}
	return s
}

// honest is a delta whose count and hash are those of what comes out.
func honest(now *State, entries ...*agentv1.Entry) change {
	after := maps.Clone(now.Entries)
	revision := now.Revision
	for _, e := range entries {
		after[e.GetKey()] = e
		revision = max(revision, e.GetRevision())
	}
	c := change{epoch: now.Epoch, from: now.Revision, revision: revision, entries: entries}
	c.count, c.hash = announce(after)
	return c
}

func announce(entries map[string]*agentv1.Entry) (uint64, []byte) {
	var kept []*agentv1.Entry
	for _, e := range entries {
		if !e.GetTombstone() {
			kept = append(kept, e)
		}
	}
	return uint64(len(kept)), agentv1.HashEntries(kept)
}

func snapshot(epoch *agentv1.Epoch, revision uint64, entries ...*agentv1.Entry) change {
	c := change{epoch: epoch, revision: revision, entries: entries, whole: true}
	byKey := map[string]*agentv1.Entry{}
	for _, e := range entries {
		byKey[e.GetKey()] = e
	}
	c.count, c.hash = announce(byKey)
	return c
}

func TestApplyRefuses(t *testing.T) {
	now := holding(10)
	good := func() change { return honest(now, live("instance/new", 11)) }
	with := func(edit func(*change)) change { c := good(); edit(&c); return c }
	second := &agentv1.Epoch{Number: 2, Lineage: "two"}
	cases := []struct {
		name string
		c    change
		want error
	}{
		{"no epoch", with(func(c *change) { c.epoch = nil }), ErrRefused},
		{"lower epoch", with(func(c *change) { c.epoch = &agentv1.Epoch{Number: 0, Lineage: "one"} }), ErrRefused},
		{"other lineage", with(func(c *change) { c.epoch = &agentv1.Epoch{Number: 1, Lineage: "fork"} }), ErrOlder},
		{"lower revision", with(func(c *change) { c.revision = 9 }), ErrOlder},
		{"same revision", with(func(c *change) { c.revision = 10 }), ErrStale},
		{"gap", with(func(c *change) { c.from = 11; c.revision = 12 }), ErrMismatch},
		{"overlap", with(func(c *change) { c.from = 9 }), ErrMismatch},
		{"wrong count", with(func(c *change) { c.count++ }), ErrMismatch},
		{"wrong hash", with(func(c *change) { c.hash = []byte("x") }), ErrMismatch},
		{"no hash", with(func(c *change) { c.hash = nil }), ErrMismatch},
		{"key twice", honest(now, live("instance/new", 11), live("instance/new", 11)), ErrRefused},
		{"no key", honest(now, live("", 11)), ErrRefused},
		{"tombstone with a body", honest(now, &agentv1.Entry{Key: "instance/00", Revision: 11, Tombstone: true, Body: []byte("x"), Cause: "stop"}), ErrRefused},
		{"entry newer than its delta", with(func(c *change) { c.entries = []*agentv1.Entry{live("instance/new", 12)} }), ErrRefused},
		{"entry older than held", with(func(c *change) { c.entries = []*agentv1.Entry{live("instance/09", 3)} }), ErrOlder},
		{"older snapshot", snapshot(first, 9), ErrOlder},
		{"snapshot of a lower epoch", snapshot(&agentv1.Epoch{Lineage: "one"}, 99), ErrRefused},
		{"delta of the next epoch after a gap", with(func(c *change) { c.epoch = second; c.from = 3 }), ErrMismatch},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			next, err := Apply(now, tc.c)
			if !errors.Is(err, tc.want) {
				t.Errorf("error is %v, want %v (state %v)", err, tc.want, next)
			}
		})
	}
	if _, err := Apply(now, good()); err != nil {
		t.Errorf("the delta that all cases are made of: %v", err)
	}
}

func TestBrake(t *testing.T) {
	stops := func(n int, cause string) (entries []*agentv1.Entry) {
		for i := range n {
			entries = append(entries, stop(fmt.Sprintf("instance/%02d", i), 100, cause))
		}
		return entries
	}
	mixed := append(stops(8, "stop"), stop("instance/09", 100, ""))
	cases := []struct {
		name      string
		held      int
		entries   []*agentv1.Entry
		confirmed bool
		braked    bool
	}{
		{"three of four", 4, stops(3, ""), false, false},
		{"four of four", 4, stops(4, ""), false, true},
		{"30 % of 20", 20, stops(6, ""), false, false},
		{"more than 30 % of 20", 20, stops(7, ""), false, true},
		{"all, each with its cause", 20, stops(20, "delete"), false, false},
		{"one without a cause among many", 20, mixed, false, true},
		{"confirmed", 20, stops(20, ""), true, false},
		{"keys that are not held", 2, stops(20, ""), false, false},
		{"environments are nothing that runs", 2, []*agentv1.Entry{
			stop("environment/a", 100, ""), stop("environment/b", 100, ""), stop("environment/c", 100, ""), stop("environment/d", 100, ""),
		}, false, false},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			now := holding(tc.held)
			c := honest(now, tc.entries...)
			c.confirmed = tc.confirmed
			if _, err := Apply(now, c); errors.Is(err, ErrBraked) != tc.braked {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestSnapshotRemovesNothing(t *testing.T) {
	now := holding(3)
	next, err := Apply(now, snapshot(first, 10, live("instance/00", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if len(next.Entries) != 3 || !next.Unknown["instance/01"] || !next.Unknown["instance/02"] || next.Unknown["instance/00"] {
		t.Fatalf("entries %v, unknown %v", next.Entries, next.Unknown)
	}
	// What the manager announces from now on leaves the unknown ones out.
	c := change{epoch: first, from: 10, revision: 11, entries: []*agentv1.Entry{live("instance/01", 11)}}
	c.count, c.hash = announce(map[string]*agentv1.Entry{"instance/00": live("instance/00", 1), "instance/01": live("instance/01", 11)})
	next, err = Apply(next, c)
	if err != nil || len(next.Unknown) != 1 || !next.Unknown["instance/02"] {
		t.Errorf("unknown %v, %v", next, err)
	}
}

func TestEmptySnapshotStopsNothing(t *testing.T) {
	next, err := Apply(holding(20), snapshot(&agentv1.Epoch{Number: 7, Lineage: "new"}, 1))
	if err != nil {
		t.Fatal(err)
	}
	for key, e := range next.Entries {
		if e.GetTombstone() || !next.Unknown[key] {
			t.Errorf("%s: tombstone %v, unknown %v", key, e.GetTombstone(), next.Unknown[key])
		}
	}
	if len(next.Entries) != 20 {
		t.Errorf("%d entries are left of 20", len(next.Entries))
	}
}

func TestHigherEpochMayCountFromTheBeginning(t *testing.T) {
	second := &agentv1.Epoch{Number: 2, Lineage: "two"}
	next, err := Apply(holding(3), snapshot(second, 1, live("instance/00", 1)))
	if err != nil || next.Revision != 1 || !proto.Equal(next.Epoch, second) {
		t.Errorf("state %v, %v", next, err)
	}
}

// TestNothingIsStoppedWithoutATombstone throws bad and good changes in any order at a ledger, and looks after each:
// history only goes forward, no key ever vanishes, and only a tombstone of its own ends one.
func TestNothingIsStoppedWithoutATombstone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := holding(rapid.IntRange(0, 12).Draw(t, "held"))
		for range rapid.IntRange(1, 20).Draw(t, "changes") {
			c := anyChange(t, now)
			before := &State{Epoch: now.Epoch, Revision: now.Revision, Entries: maps.Clone(now.Entries), Unknown: maps.Clone(now.Unknown)}
			next, err := Apply(now, c)
			if !maps.Equal(before.Entries, now.Entries) || !maps.Equal(before.Unknown, now.Unknown) || before.Revision != now.Revision {
				t.Fatal("the state given was changed")
			}
			if err != nil {
				continue
			}
			forward(t, now, next, c)
			now = next
		}
	})
}

func forward(t *rapid.T, now, next *State, c change) {
	if next.Epoch.GetNumber() < now.Epoch.GetNumber() || (next.Epoch.GetNumber() == now.Epoch.GetNumber() && next.Revision < now.Revision) {
		t.Fatalf("history went back from %v/%d to %v/%d", now.Epoch, now.Revision, next.Epoch, next.Revision)
	}
	stopped, named := 0, true
	for key, e := range now.Entries {
		after, held := next.Entries[key]
		if !held {
			t.Fatalf("%s vanished", key)
		}
		if !e.GetTombstone() && after.GetTombstone() {
			if !slices.Contains(c.entries, after) {
				t.Fatalf("%s was stopped by nobody", key)
			}
			stopped, named = stopped+1, named && after.GetCause() != ""
		}
	}
	if stopped > max(3, len(now.Entries)*3/10) && !named && !c.confirmed {
		t.Fatalf("%d of %d were stopped without a cause", stopped, len(now.Entries))
	}
}

func anyChange(t *rapid.T, now *State) change {
	var entries []*agentv1.Entry
	for range rapid.IntRange(0, 12).Draw(t, "entries") {
		key := fmt.Sprintf("instance/%02d", rapid.IntRange(0, 14).Draw(t, "key"))
		revision := now.Revision + rapid.Uint64Range(0, 3).Draw(t, "ahead")
		if rapid.Bool().Draw(t, "tombstone") {
			entries = append(entries, stop(key, revision, rapid.SampledFrom([]string{"", "stop"}).Draw(t, "cause")))
		} else {
			entries = append(entries, live(key, revision))
		}
	}
	slices.SortFunc(entries, func(a, b *agentv1.Entry) int { return cmpKey(a, b) })
	entries = slices.CompactFunc(entries, func(a, b *agentv1.Entry) bool { return a.GetKey() == b.GetKey() })
	c := honest(&State{Epoch: now.Epoch, Revision: now.Revision, Entries: known(now)}, entries...)
	if rapid.Bool().Draw(t, "whole") {
		c = snapshot(now.Epoch, now.Revision+rapid.Uint64Range(0, 4).Draw(t, "snapshot ahead"), entries...)
	}
	c.revision += rapid.Uint64Range(0, 1).Draw(t, "revision ahead")
	c.confirmed = rapid.IntRange(0, 9).Draw(t, "confirmed") == 0
	if number := rapid.Uint64Range(0, 3).Draw(t, "epoch"); number != 1 {
		c.epoch = &agentv1.Epoch{Number: number, Lineage: "any"}
	}
	if rapid.IntRange(0, 4).Draw(t, "broken") == 0 {
		c.count++
	}
	return c
}

func known(s *State) map[string]*agentv1.Entry {
	m := maps.Clone(s.Entries)
	maps.DeleteFunc(m, func(key string, _ *agentv1.Entry) bool { return s.Unknown[key] })
	return m
}

func cmpKey(a, b *agentv1.Entry) int {
	if a.GetKey() < b.GetKey() {
		return -1
	}
	if a.GetKey() > b.GetKey() {
		return 1
	}
	return 0
}
