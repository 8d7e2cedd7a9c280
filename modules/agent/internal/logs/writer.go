package logs

import (
	"fmt"
	"sync"

	"pandu/modules/agent/agentv1"
	"pandu/modules/kit/fault"
)

// Writer writes the live log of one build attempt. Safe for use by several goroutines.
type Writer struct {
	service *Service
	key     string
	stream  *stream
	once    sync.Once
}

// Writer opens the log of a build attempt. Readers that follow it get its end when it is closed.
func (s *Service) Writer(attemptID string) (*Writer, error) {
	if !idPattern.MatchString(attemptID) {
		return nil, fault.New(fault.Invalid, "log_attempt", "A build attempt's id is not one.")
	}
	key := buildKey(attemptID)
	st, err := s.acquire(key, true)
	if err != nil {
		return nil, fmt.Errorf("open build log: %w", err)
	}
	st.addWriter(1)
	return &Writer{service: s, key: key, stream: st}, nil
}

// Line appends one line: of the build itself (stdout, stderr) or a note of ours.
func (w *Writer) Line(source agentv1.LogLine_Source, text string) error {
	return w.stream.append(split(source, 0, w.service.deps.Now(), text)...)
}

// Close ends the log.
func (w *Writer) Close() {
	w.once.Do(func() {
		w.stream.addWriter(-1)
		w.service.release(w.key, w.stream)
	})
}
