package builds

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/internal/logs"
)

const (
	journalLimit = 16 << 20 // bytes of one build's log that are kept
	lastLines    = 20
	maskFrom     = 4 // shorter secret values would blank out ordinary words
)

// journal is the log of one attempt: live for readers, in a file for the end, with secret values masked. A nil journal
// takes everything and keeps nothing.
type journal struct {
	mu    sync.Mutex
	live  *logs.Writer
	path  string
	file  *os.File
	out   *bufio.Writer
	size  int
	full  bool
	tail  []string
	masks *strings.Replacer
	now   func() time.Time
}

func newJournal(store *logs.Service, attempt, path string, now func() time.Time) (*journal, error) {
	live, err := store.Writer(attempt)
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		live.Close()
		return nil, fmt.Errorf("make build log: %w", err)
	}
	return &journal{live: live, path: path, file: file, out: bufio.NewWriter(file), now: now}, nil
}

// hide masks these values from now on, longest first, also each line of one that has several.
func (j *journal) hide(secrets map[string]string) {
	var values []string
	for _, v := range secrets {
		for _, part := range append(strings.Split(v, "\n"), v) {
			if part = strings.TrimSpace(part); len(part) >= maskFrom {
				values = append(values, part)
			}
		}
	}
	slices.SortFunc(values, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	var pairs []string
	for _, v := range values {
		pairs = append(pairs, v, "***")
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.masks = strings.NewReplacer(pairs...)
}

func (j *journal) mask(text string) string {
	if j == nil {
		return text
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.masks == nil {
		return text
	}
	return j.masks.Replace(text)
}

// line writes what the build itself printed.
func (j *journal) line(text string) { j.write(agentv1.LogLine_SOURCE_STDOUT, text) }

// note writes a line of ours.
func (j *journal) note(format string, args ...any) {
	j.write(agentv1.LogLine_SOURCE_PANDU, fmt.Sprintf(format, args...))
}

func (j *journal) write(source agentv1.LogLine_Source, text string) {
	if j == nil {
		return
	}
	text = strings.ToValidUTF8(j.mask(text), "\uFFFD")
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return
	}
	if j.tail = append(j.tail, text); len(j.tail) > lastLines {
		j.tail = j.tail[1:]
	}
	if j.size += len(text) + 1; j.size > journalLimit && source != agentv1.LogLine_SOURCE_PANDU {
		if j.full {
			return
		}
		j.full, text = true, fmt.Sprintf("The log is longer than %d MiB; the rest is not kept.", journalLimit>>20)
	}
	// The live log and the file are a convenience of the build: a disk that fills up fails the build elsewhere.
	_ = j.live.Line(source, text)
	_, _ = j.out.WriteString(j.now().UTC().Format("15:04:05.000 ") + text + "\n")
}

// last is the newest lines, at most lastLines, each cut to a length that fits in a message.
func (j *journal) last() []string {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []string
	for _, l := range j.tail {
		if len(l) > 1000 {
			l = strings.ToValidUTF8(l[:1000], "") + "…"
		}
		out = append(out, l)
	}
	return out
}

func (j *journal) close() {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return
	}
	_ = errors.Join(j.out.Flush(), j.file.Close()) // a log that is cut short is still a log
	j.file = nil
	j.live.Close()
}

// open is the whole log for reading, after close; nil when there is none.
func (j *journal) open() (*os.File, error) {
	if j == nil {
		return nil, nil
	}
	f, err := os.Open(j.path)
	if err != nil {
		return nil, fmt.Errorf("open build log: %w", err)
	}
	return f, nil
}
