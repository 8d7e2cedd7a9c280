package logs

import (
	"time"

	"pandu/modules/agent/agentv1"
)

// window is how far before the newest copied line the next copy begins. The Engine stamps stdout and stderr in two
// goroutines, so that a line may be written after one that has a later time.
const window = time.Second

// mark is where the copy of a container goes on, and which of the lines that the Engine sends again are known.
type mark struct {
	newest time.Time
	known  map[lineKey]int
	jump   time.Time // instead: nothing older is wanted
}

type lineKey struct {
	source agentv1.LogLine_Source
	at     int64 // Unix nanoseconds
}

// since is the time to ask the Engine for; zero: everything.
func (m mark) since() time.Time {
	if m.newest.IsZero() {
		return m.jump
	}
	return m.newest.Add(-window)
}

// knows reports whether a line was copied before. Lines come in the order they were copied in, so after the first line
// that is newer than all known ones nothing more is known.
func (m *mark) knows(source agentv1.LogLine_Source, at time.Time) bool {
	if at.After(m.newest) {
		m.known = nil
	}
	key := lineKey{source, at.UnixNano()}
	if m.known[key] == 0 {
		return false
	}
	m.known[key]--
	return true
}

// resume reads the mark of a container from its newest records.
func (st *stream) resume(container uint32) (mark, error) {
	segments, end, _, _ := st.view()
	m := mark{known: map[lineKey]int{}}
	var oldest time.Time
	for i := len(segments) - 1; i >= 0 && !enough(oldest, m.newest); i-- {
		err := st.scan(segments[i], 0, end, func(r record, _ int64) bool {
			if r.container != container || r.more {
				return true
			}
			if oldest.IsZero() || r.at.Before(oldest) {
				oldest = r.at
			}
			if r.at.After(m.newest) {
				m.newest = r.at
			}
			m.known[lineKey{r.source, r.at.UnixNano()}]++
			return true
		})
		if err != nil {
			return mark{}, err
		}
	}
	for key := range m.known {
		if time.Unix(0, key.at).Before(m.newest.Add(-window)) {
			delete(m.known, key)
		}
	}
	return m, nil
}

// enough says that the records read reach back beyond the window.
func enough(oldest, newest time.Time) bool {
	return !oldest.IsZero() && oldest.Before(newest.Add(-window))
}
