package backoff

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestLimitsGrowToAMinuteAndReset(t *testing.T) {
	b := &Backoff{}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
		if got := b.limit(); got != want*time.Second {
			t.Errorf("limit is %v, want %v s", got, int(want))
		}
		if wait := b.Next(); wait <= 0 || wait > want*time.Second {
			t.Errorf("waits %v of at most %v s", wait, int(want))
		}
	}
	b.Reset()
	if b.limit() != time.Second {
		t.Errorf("limit after reset is %v", b.limit())
	}
}

func TestNeverOverflows(t *testing.T) {
	b := &Backoff{}
	for range 1000 {
		if wait := b.Next(); wait <= 0 || wait > time.Minute {
			t.Fatalf("waits %v", wait)
		}
	}
}

func TestWaitsAreSpread(t *testing.T) {
	b := &Backoff{First: time.Hour, Most: time.Hour}
	seen := map[time.Duration]bool{}
	for range 20 {
		seen[b.Next()] = true
	}
	if len(seen) < 15 {
		t.Errorf("only %d different waits of 20", len(seen))
	}
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if !Sleep(t.Context(), 3*time.Second) || time.Since(start) != 3*time.Second {
			t.Errorf("slept %v", time.Since(start))
		}
	})
}
