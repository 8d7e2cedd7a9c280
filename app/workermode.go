package app

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The words of WORKER_MODE that are not queue keys. manager and creator are other spellings of ! and *.
const (
	wordRequests   = "!"
	wordAllJobs    = "*"
	wordNothing    = "-"
	wordManager    = "manager"
	wordCreator    = "creator"
	residentAgent  = "agent"
	residentGate   = "gateway"
	residentBridge = "supervisor"
)

var residents = []string{residentAgent, residentGate, residentBridge}

// Mode is what this process does, read from WORKER_MODE. The grammar is NocoBase's made strict: every value that NocoBase
// documents keeps its meaning, and what it would silently misread is refused.
type Mode struct {
	text      string
	empty     bool
	requests  bool
	allJobs   bool
	keys      []string // queues served when not all, in the order they were written
	residents []string
}

// ParseMode reads WORKER_MODE; keys are the queue keys that exist. Items are separated by commas and trimmed, case
// matters, a repeated item counts once. The error names the known words.
func ParseMode(text string, keys []string) (Mode, error) {
	m := Mode{text: strings.TrimSpace(text)}
	if m.text == "" {
		return Mode{empty: true, requests: true, allJobs: true, residents: []string{residentAgent, residentGate}}, nil
	}
	items := distinct(strings.Split(m.text, ","))
	for _, item := range items {
		if err := m.add(item, keys); err != nil {
			return Mode{}, fmt.Errorf("WORKER_MODE %q: %w", text, err)
		}
	}
	if err := m.check(items); err != nil {
		return Mode{}, fmt.Errorf("WORKER_MODE %q: %w", text, err)
	}
	return m, nil
}

func (m *Mode) add(item string, keys []string) error {
	switch {
	case item == wordRequests || item == wordManager:
		m.requests = true
	case item == wordAllJobs || item == wordCreator:
		m.allJobs = true
	case item == wordNothing:
	case slices.Contains(residents, item):
		m.residents = append(m.residents, item)
	case slices.Contains(keys, item):
		m.keys = append(m.keys, item)
	case item == "":
		return errors.New("there is nothing between two commas")
	default:
		return fmt.Errorf("%q is not known; known are %s", item, strings.Join(words(keys), " "))
	}
	return nil
}

func (m *Mode) check(items []string) error {
	jobs := m.allJobs || len(m.keys) > 0
	switch {
	case slices.Contains(items, wordNothing) && len(items) > 1:
		return errors.New("- means nothing at all and stands alone")
	case m.allJobs && len(m.keys) > 0:
		return fmt.Errorf("* serves every queue already: leave out %s, or leave out *", strings.Join(m.keys, ","))
	case len(m.residents) > 0 && (m.requests || jobs):
		return fmt.Errorf("%s opens no database and does not go with requests or jobs: start another process for them", strings.Join(m.residents, ","))
	}
	return nil
}

// Serving reports whether this process works the queue of the key; with the empty key, whether it serves requests.
func (m Mode) Serving(key string) bool {
	if key == "" {
		return m.requests
	}
	return m.allJobs || slices.Contains(m.keys, key)
}

// Resident reports whether this process is the agent, the gateway or the supervisor.
func (m Mode) Resident(name string) bool { return slices.Contains(m.residents, name) }

// Empty reports whether nothing was asked for, so that the process is everything at once.
func (m Mode) Empty() bool { return m.empty }

// Jobs reports whether this process works any queue.
func (m Mode) Jobs() bool { return m.allJobs || len(m.keys) > 0 }

// Idle reports whether the mode is "-".
func (m Mode) Idle() bool { return !m.requests && !m.Jobs() && len(m.residents) == 0 }

// Database reports whether the process needs one. Residents on their own never open it.
func (m Mode) Database() bool { return m.requests || m.Jobs() }

// String is what WORKER_MODE said, without the blanks around it.
func (m Mode) String() string { return m.text }

// words are all that WORKER_MODE may hold, for the error.
func words(keys []string) []string {
	return append(append([]string{wordRequests, wordAllJobs, wordNothing, wordManager, wordCreator}, residents...), keys...)
}

// distinct trims the items and drops repeated ones.
func distinct(items []string) []string {
	var kept []string
	for _, item := range items {
		if item = strings.TrimSpace(item); !slices.Contains(kept, item) {
			kept = append(kept, item)
		}
	}
	return kept
}
