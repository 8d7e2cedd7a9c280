package gateway

import (
	"context"
	"sync/atomic"
)

// changes wakes everybody who waits for the next change of routes or addresses.
type changes struct{ next atomic.Pointer[chan struct{}] }

func newChanges() *changes {
	c := &changes{}
	next := make(chan struct{})
	c.next.Store(&next)
	return c
}

// wait returns a channel that is closed at the next announce.
func (c *changes) wait() <-chan struct{} { return *c.next.Load() }

// announce has one caller at a time.
func (c *changes) announce() {
	next := make(chan struct{})
	close(*c.next.Swap(&next))
}

// limit lets a bounded number in.
type limit struct {
	most int64
	n    atomic.Int64
}

func (l *limit) enter() bool {
	if l.n.Add(1) > l.most {
		l.leave()
		return false
	}
	return true
}

func (l *limit) leave() { l.n.Add(-1) }

// activity counts the requests being handled, hijacked connections included, which net/http stops counting.
type activity struct {
	n    atomic.Int64
	idle chan struct{} // of size 1: something ended while nothing else was active
}

func newActivity() *activity { return &activity{idle: make(chan struct{}, 1)} }

func (a *activity) enter() { a.n.Add(1) }

func (a *activity) leave() {
	if a.n.Add(-1) == 0 {
		select {
		case a.idle <- struct{}{}:
		default:
		}
	}
}

// wait returns when nothing is active or ctx is done. It has one caller, after new requests have stopped to come.
func (a *activity) wait(ctx context.Context) {
	for a.n.Load() > 0 {
		select {
		case <-a.idle:
		case <-ctx.Done():
			return
		}
	}
}
