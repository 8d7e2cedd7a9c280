package deployments

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestPlacesComeBackAsTheyWent(t *testing.T) {
	p := newPlaces("")
	var last string
	keep := func(id string) error { last = id; return nil }
	for i, key := range []string{"b", "a", "b"} {
		if err := p.step(key, uint64(i+1), keep); err != nil {
			t.Fatal(err)
		}
	}
	if last != "a=2,b=3" {
		t.Errorf("id %q", last)
	}
	back := newPlaces(last)
	if place, ok := back.get("b"); !ok || place != 3 {
		t.Errorf("b at %d, %v", place, ok)
	}
	if _, ok := back.get("c"); ok {
		t.Error("a place that nobody was at")
	}
	if err := p.step("a", 9, func(string) error { return errors.New("gone") }); err == nil {
		t.Error("the reader's end was lost")
	}
	for _, id := range []string{"nonsense", "a=-1", "a=x,=", "=5"} {
		if place, ok := newPlaces(id).get("a"); ok {
			t.Errorf("%q is at %d", id, place)
		}
	}
}

func TestStoredLinesAreLikeLiveOnes(t *testing.T) {
	start := time.Date(2026, 11, 20, 23, 59, 58, 0, time.UTC)
	b := Build{ID: uuid.New(), StartedAt: &start}
	for line, want := range map[string]struct {
		text string
		at   time.Time
	}{
		"23:59:59.250 npm ci":     {"npm ci", time.Date(2026, 11, 20, 23, 59, 59, 250e6, time.UTC)},
		"00:00:01.000 12:00:00 x": {"12:00:00 x", time.Date(2026, 11, 21, 0, 0, 1, 0, time.UTC)},
		"no clock":                {"no clock", time.Time{}},
		"":                        {"", time.Time{}},
	} {
		e := storedLine(b, line)
		if e.Text != want.text || (e.At == nil) != want.at.IsZero() || (e.At != nil && !e.At.Equal(want.at)) {
			t.Errorf("%q: %q at %v", line, e.Text, e.At)
		}
	}
}
