package logs

import (
	"bytes"
	"time"
)

const (
	burstSeconds  = 4                      // how many seconds' worth may come at once
	overreadShare = 8                      // how many times the kept rate is read at most
	overreadPause = 100 * time.Millisecond // the Engine waits that long after each tenth of a second's worth
	lagLimit      = 10 * time.Second       // older lines than this are not worth reading while lines are dropped
)

// budget is a token bucket of bytes for one container.
type budget struct {
	rate    int64
	tokens  float64
	at      time.Time
	dropped int
	wasted  int
	last    time.Time // of the newest line, kept or not
}

func newBudget(rate int64, now time.Time) budget {
	return budget{rate: rate, tokens: float64(rate * burstSeconds), at: now}
}

// keep takes n bytes when there are enough. After a line was dropped none is kept until a second's worth is there again:
// a reader gets pieces of the log with a note between them, not every hundredth line.
func (b *budget) keep(now time.Time, n int) bool {
	if d := now.Sub(b.at); d > 0 {
		b.tokens = min(b.tokens+d.Seconds()*float64(b.rate), float64(b.rate*burstSeconds))
		b.at = now
	}
	n += headerSize
	if b.tokens < float64(n) || b.dropped > 0 && b.tokens < float64(b.rate) {
		return false
	}
	b.tokens -= float64(n)
	return true
}

// overread counts n bytes read for nothing and says when to pause.
func (b *budget) overread(n int) bool {
	b.wasted += n
	if int64(b.wasted) < b.rate*overreadShare/10 {
		return false
	}
	b.wasted = 0
	return true
}

func cutByte(b []byte, sep byte) (before, after []byte, found bool) {
	if i := bytes.IndexByte(b, sep); i >= 0 {
		return b[:i], b[i+1:], true
	}
	return b, nil, false
}
