package deployments

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// places is how far a reader has come in each of several logs. Its text is the id of an event, so that a browser that
// comes back says where it was.
type places struct {
	mu sync.Mutex
	at map[string]uint64
}

// newPlaces reads what step gave out; anything else is the start.
func newPlaces(id string) *places {
	p := &places{at: map[string]uint64{}}
	if len(id) > 8<<10 {
		return p
	}
	for part := range strings.SplitSeq(id, ",") {
		key, text, ok := strings.Cut(part, "=")
		place, err := strconv.ParseUint(text, 10, 64)
		if ok && err == nil && len(p.at) < 2*mostLogs {
			p.at[key] = place
		}
	}
	return p
}

func (p *places) get(key string) (uint64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	place, ok := p.at[key]
	return place, ok
}

func (p *places) set(key string, place uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at[key] = place
}

// step moves on in one log and calls send with the id of the whole, one at a time, so that ids go out in their order.
func (p *places) step(key string, place uint64, send func(id string) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at[key] = place
	var b strings.Builder
	for i, k := range slices.Sorted(maps.Keys(p.at)) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(k + "=" + strconv.FormatUint(p.at[k], 10))
	}
	return send(b.String())
}
