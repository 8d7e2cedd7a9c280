package servers

import (
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"pandu/modules/agent/agentv1"
)

// Held is a session in this process's memory, for the ops page.
type Held struct {
	ServerID  uuid.UUID         `json:"server_id"`
	Session   int64             `json:"session"`
	Synced    bool              `json:"synced"`
	HeardAt   time.Time         `json:"heard_at"`
	Sent      map[string]uint64 `json:"sent"`      // revision by stream
	Instances map[string]int    `json:"instances"` // count by state
}

// Memory lists the sessions that this process holds, by server.
func (s *Service) Memory() []Held {
	s.mu.Lock()
	live := make([]*session, 0, len(s.sessions))
	for _, l := range s.sessions {
		live = append(live, l)
	}
	s.mu.Unlock()
	list := make([]Held, 0, len(live))
	for _, l := range live {
		list = append(list, l.held())
	}
	slices.SortFunc(list, func(a, b Held) int { return strings.Compare(a.ServerID.String(), b.ServerID.String()) })
	return list
}

func (l *session) held() Held {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := Held{ServerID: l.server, Session: l.number, Synced: l.synced, HeardAt: time.Unix(0, l.beat.Load()).UTC(), Instances: map[string]int{}}
	for _, i := range l.statuses {
		name := strings.TrimPrefix(i.GetState().String(), "INSTANCE_STATE_")
		h.Instances[strings.ToLower(name)]++
	}
	h.Sent = map[string]uint64{
		"instances": l.revision[agentv1.Stream_STREAM_INSTANCES].Load(), "routes": l.revision[agentv1.Stream_STREAM_ROUTES].Load(),
	}
	return h
}
