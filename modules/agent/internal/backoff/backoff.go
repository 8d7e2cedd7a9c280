// Package backoff is how the agent waits between attempts: 1, 2, 4 … 60 seconds at most, with full jitter, so that a
// fleet that lost its manager at one moment does not come back at one moment.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff counts failures in a row. The zero value waits up to 1, 2, 4 … 60 s. It is for one goroutine.
type Backoff struct {
	First  time.Duration // zero: 1 s
	Most   time.Duration // zero: 60 s
	failed int
}

// Next is how long to wait after one more failure: anything between nothing and the present limit.
func (b *Backoff) Next() time.Duration {
	limit := b.limit()
	b.failed++
	return rand.N(limit) + 1
}

// Reset forgets the failures.
func (b *Backoff) Reset() { b.failed = 0 }

// Wait waits for Next, or until ctx ends, and reports whether it was the former.
func (b *Backoff) Wait(ctx context.Context) bool { return Sleep(ctx, b.Next()) }

func (b *Backoff) limit() time.Duration {
	first, most := b.First, b.Most
	if first == 0 {
		first = time.Second
	}
	if most == 0 {
		most = time.Minute
	}
	return min(first<<min(b.failed, 16), most)
}

// Sleep waits for d, or until ctx ends, and reports whether it was the former.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
