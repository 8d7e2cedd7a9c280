package builds

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	control "github.com/moby/buildkit/api/services/control"
	"github.com/moby/moby/api/types/jsonstream"
	"google.golang.org/protobuf/proto"
)

// The ids of BuildKit's messages in the Engine's stream.
const (
	traceID = "moby.buildkit.trace"
	imageOf = "moby.image.id"
)

// trace turns BuildKit's progress into lines a person reads: "#5 [2/3] RUN npm ci", "#5 0.8 added 12 packages", "#5 DONE 2.1s".
type trace struct {
	line  func(string)
	steps map[string]*step // by digest
	image string
	wrong *step // the first step that failed
}

type step struct {
	number  int
	name    string
	started time.Time
	said    bool
	ended   bool
	failure string
	rest    []byte // a line that has not ended yet
}

func newTrace(line func(string)) *trace {
	return &trace{line: line, steps: map[string]*step{}}
}

// message takes one message of the stream. An error is one the Engine reports.
func (t *trace) message(m jsonstream.Message) error {
	if m.Error != nil {
		return fmt.Errorf("engine: %s", m.Error.Message)
	}
	if m.Aux == nil {
		return nil
	}
	switch m.ID {
	case imageOf:
		var id struct{ ID string }
		if err := json.Unmarshal(*m.Aux, &id); err != nil {
			return fmt.Errorf("read image id: %w", err)
		}
		t.image = id.ID
	case traceID:
		var raw []byte
		var status control.StatusResponse
		if err := json.Unmarshal(*m.Aux, &raw); err != nil {
			return fmt.Errorf("read build progress: %w", err)
		}
		if err := proto.Unmarshal(raw, &status); err != nil {
			return fmt.Errorf("read build progress: %w", err)
		}
		t.status(&status)
	}
	return nil
}

func (t *trace) status(s *control.StatusResponse) {
	for _, v := range s.GetVertexes() {
		t.begin(v)
	}
	for _, l := range s.GetLogs() {
		if st := t.steps[l.GetVertex()]; st != nil {
			t.output(st, l)
		}
	}
	for _, v := range s.GetVertexes() {
		t.finish(v)
	}
	for _, w := range s.GetWarnings() {
		t.line("WARNING: " + string(w.GetShort()))
	}
}

// plainName hides the addresses the Engine uses inside itself.
func plainName(name string) string {
	if strings.Contains(name, "http://buildkit-session/") || name == "[internal] load remote build context" {
		return "load the project's files"
	}
	if name == "copy /context /" {
		return "unpack the project's files"
	}
	return name
}

func (t *trace) begin(v *control.Vertex) {
	st := t.steps[v.GetDigest()]
	if st == nil {
		st = &step{name: plainName(v.GetName())}
		t.steps[v.GetDigest()] = st
	}
	if v.GetStarted() != nil && !st.said {
		st.said, st.started = true, v.GetStarted().AsTime()
		st.number = t.count()
		t.line(fmt.Sprintf("#%d %s", st.number, st.name))
	}
}

func (t *trace) count() (n int) {
	for _, s := range t.steps {
		if s.said {
			n++
		}
	}
	return n
}

// output writes whole lines; of what a progress bar drew over itself only the last state.
func (t *trace) output(st *step, l *control.VertexLog) {
	st.rest = append(st.rest, l.GetMsg()...)
	for {
		i := bytes.IndexByte(st.rest, '\n')
		if i < 0 {
			break
		}
		t.print(st, st.rest[:i], l.GetTimestamp().AsTime())
		st.rest = st.rest[i+1:]
	}
	if len(st.rest) > 64<<10 {
		t.print(st, st.rest, l.GetTimestamp().AsTime())
		st.rest = nil
	}
}

func (t *trace) print(st *step, text []byte, at time.Time) {
	text = bytes.TrimRight(text, "\r")
	if i := bytes.LastIndexByte(text, '\r'); i >= 0 {
		text = text[i+1:]
	}
	t.line(fmt.Sprintf("#%d %.1f %s", st.number, max(at.Sub(st.started), 0).Seconds(), text))
}

func (t *trace) finish(v *control.Vertex) {
	st := t.steps[v.GetDigest()]
	if v.GetCompleted() == nil || st.ended {
		return
	}
	st.ended = true
	if len(st.rest) > 0 {
		t.print(st, st.rest, v.GetCompleted().AsTime())
		st.rest = nil
	}
	switch {
	case v.GetError() != "":
		st.failure = v.GetError()
		if t.wrong == nil && !strings.HasSuffix(st.failure, "context canceled") {
			t.wrong = st
		}
		t.line(fmt.Sprintf("#%d ERROR: %s", st.number, st.failure))
	case v.GetCached():
		t.line(fmt.Sprintf("#%d CACHED", st.number))
	default:
		t.line(fmt.Sprintf("#%d DONE %.1fs", st.number, v.GetCompleted().AsTime().Sub(st.started).Seconds()))
	}
}
