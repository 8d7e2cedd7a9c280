package logs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// stream is the log of one instance or build: segment files named by the position they begin at. One process writes it;
// any number read it. users is guarded by the Service's lock, the rest by its own.
type stream struct {
	dir   string
	limit int64
	users int

	mu       sync.Mutex
	segments []int64 // first positions, ascending; the last one is written
	end      int64   // position after the last record
	file     *os.File
	changed  chan struct{} // closed and replaced at every append
	writers  int
}

// openStream finds the segments and cuts off what a killed writer left half written.
func openStream(dir string, limit int64) (*stream, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make log directory: %w", err)
	}
	segments, err := listSegments(dir)
	if err != nil {
		return nil, err
	}
	st := &stream{dir: dir, limit: limit, segments: segments, changed: make(chan struct{})}
	if len(segments) == 0 {
		return st, st.begin(0)
	}
	last := segments[len(segments)-1]
	length, err := wholeLength(st.path(last))
	if err != nil {
		return nil, err
	}
	if st.file, err = os.OpenFile(st.path(last), os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return nil, fmt.Errorf("open log segment: %w", err)
	}
	if err := st.file.Truncate(length); err != nil {
		st.file.Close()
		return nil, fmt.Errorf("cut log segment: %w", err)
	}
	st.end = last + length
	return st, nil
}

func listSegments(dir string) ([]int64, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list log segments: %w", err)
	}
	var out []int64
	for _, n := range names {
		if p, err := strconv.ParseInt(strings.TrimSuffix(n.Name(), ".log"), 10, 64); err == nil && p >= 0 {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out, nil
}

// wholeLength is how many bytes of a segment are whole records.
func wholeLength(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("open log segment: %w", err)
	}
	defer f.Close()
	var n int64
	for from := bufio.NewReaderSize(f, 64<<10); ; {
		r, err := readRecord(from)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, errTorn):
			return n, nil
		case err != nil:
			return 0, fmt.Errorf("read log segment: %w", err)
		}
		n += r.size()
	}
}

func (st *stream) path(first int64) string {
	return filepath.Join(st.dir, fmt.Sprintf("%020d.log", first))
}

// begin starts a new segment at position first.
func (st *stream) begin(first int64) error {
	f, err := os.OpenFile(st.path(first), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("make log segment: %w", err)
	}
	if st.file != nil {
		st.file.Close()
	}
	st.file, st.end = f, first
	st.segments = append(st.segments, first)
	return nil
}

// append writes records, begins a new segment when the last is full and removes the oldest beyond the limit.
// A failed write leaves the stream as it was.
func (st *stream) append(records ...record) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.file == nil {
		return fmt.Errorf("append to log: %w", os.ErrClosed)
	}
	if st.end-st.segments[len(st.segments)-1] >= st.limit/8 {
		if err := st.begin(st.end); err != nil {
			return err
		}
		st.trim(st.limit)
	}
	var b []byte
	for _, r := range records {
		b = r.append(b)
	}
	if _, err := st.file.Write(b); err != nil {
		_ = st.file.Truncate(st.end - st.segments[len(st.segments)-1]) // half a record would end every later read
		return fmt.Errorf("append to log: %w", err)
	}
	st.end += int64(len(b))
	st.wake()
	return nil
}

// trim removes the oldest segments until at most limit bytes are left, but never the one being written.
func (st *stream) trim(limit int64) {
	for len(st.segments) > 1 && st.end-st.segments[0] > limit {
		if err := os.Remove(st.path(st.segments[0])); err != nil && !errors.Is(err, os.ErrNotExist) {
			return // tried again with the next segment
		}
		st.segments = st.segments[1:]
	}
}

func (st *stream) wake() {
	close(st.changed)
	st.changed = make(chan struct{})
}

// view is a consistent picture of what is there: segments, the position after the last record, a channel that is closed
// when there is more, and whether somebody writes.
func (st *stream) view() (segments []int64, end int64, changed <-chan struct{}, writers int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return slices.Clone(st.segments), st.end, st.changed, st.writers
}

func (st *stream) addWriter(n int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.writers += n
	st.wake()
}

func (st *stream) close() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.file != nil {
		st.file.Close()
		st.file = nil
	}
}

// scan calls each with every record of a segment between from (where a record begins) and end, and the position after
// it, until each says false. A segment that was removed meanwhile has no records.
func (st *stream) scan(first, from, end int64, each func(r record, after int64) bool) error {
	f, err := os.Open(st.path(first))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open log segment: %w", err)
	}
	defer f.Close()
	position := max(first, from)
	in := bufio.NewReaderSize(io.NewSectionReader(f, position-first, end-position), 64<<10)
	for {
		r, err := readRecord(in)
		if errors.Is(err, io.EOF) || errors.Is(err, errTorn) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read log segment: %w", err)
		}
		if position += r.size(); !each(r, position) {
			return nil
		}
	}
}
