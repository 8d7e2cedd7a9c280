package logs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pandu/modules/agent/agentv1"
	"pandu/modules/kit/fault"
)

func newStore(t *testing.T, dir string, options ...func(*Deps)) *Service {
	t.Helper()
	deps := Deps{Docker: docker.Host, Server: t.Name(), Dir: dir, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: time.Now}
	for _, change := range options {
		change(&deps)
	}
	s, err := New(deps)
	if err != nil {
		t.Fatal(err)
	}
	s.retry = 10 * time.Millisecond
	return s
}

// read collects what a request gives without following.
func read(t *testing.T, s *Service, request *agentv1.LogRequest) (lines []*agentv1.LogLine, dropped uint64) {
	t.Helper()
	err := s.Read(t.Context(), request, func(c *agentv1.LogChunk) error {
		lines, dropped = append(lines, c.GetLines()...), dropped+c.GetDropped()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines, dropped
}

func texts(lines []*agentv1.LogLine) string {
	var out []string
	for _, l := range lines {
		out = append(out, l.GetText())
	}
	return strings.Join(out, " ")
}

func TestReadByPositionAndTail(t *testing.T) {
	s := newStore(t, t.TempDir())
	w, err := s.Writer("a1")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if err := w.Line(agentv1.LogLine_SOURCE_STDOUT, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	all, _ := read(t, s, &agentv1.LogRequest{BuildAttemptId: "a1"})
	if texts(all) != "0 1 2 3 4" {
		t.Fatalf("all = %s", texts(all))
	}
	for tail, want := range map[uint32]string{1: "4", 3: "2 3 4", 5: "0 1 2 3 4", 50: "0 1 2 3 4"} {
		if got, _ := read(t, s, &agentv1.LogRequest{BuildAttemptId: "a1", Tail: tail}); texts(got) != want {
			t.Errorf("tail %d = %s, want %s", tail, texts(got), want)
		}
	}
	for i, l := range all {
		rest, dropped := read(t, s, &agentv1.LogRequest{BuildAttemptId: "a1", After: l.GetPosition()})
		if len(rest) != 4-i || dropped != 0 {
			t.Errorf("after line %d came %q, %d dropped", i, texts(rest), dropped)
		}
		inside, _ := read(t, s, &agentv1.LogRequest{BuildAttemptId: "a1", After: l.GetPosition() - 1})
		if texts(inside) != texts(rest) {
			t.Errorf("inside line %d came %q", i, texts(inside))
		}
	}
	if lost, _ := read(t, s, &agentv1.LogRequest{BuildAttemptId: "a1", After: 1 << 40}); texts(lost) != "0 1 2 3 4" {
		t.Errorf("after a position of another log came %q", texts(lost))
	}
	w.Close()
}

func TestReadRefuses(t *testing.T) {
	s := newStore(t, t.TempDir())
	for name, test := range map[string]struct {
		request *agentv1.LogRequest
		kind    fault.Kind
	}{
		"nothing":       {&agentv1.LogRequest{}, fault.Invalid},
		"both":          {&agentv1.LogRequest{InstanceId: "a", BuildAttemptId: "b"}, fault.Invalid},
		"path":          {&agentv1.LogRequest{InstanceId: "../x"}, fault.Invalid},
		"no such log":   {&agentv1.LogRequest{InstanceId: "none"}, fault.NotFound},
		"no such build": {&agentv1.LogRequest{BuildAttemptId: "none"}, fault.NotFound},
	} {
		if err := s.Read(t.Context(), test.request, nil); fault.KindOf(err) != test.kind || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFollowEndsWithTheBuild(t *testing.T) {
	s := newStore(t, t.TempDir())
	w, err := s.Writer("a2")
	if err != nil {
		t.Fatal(err)
	}
	got, ended := make(chan string), make(chan error, 1)
	go func() {
		ended <- s.Read(t.Context(), &agentv1.LogRequest{BuildAttemptId: "a2", Follow: true}, func(c *agentv1.LogChunk) error {
			for _, l := range c.GetLines() {
				got <- l.GetText()
			}
			if c.GetEnd() {
				got <- "end"
			}
			return nil
		})
	}()
	for _, text := range []string{"one", "two"} {
		if err := w.Line(agentv1.LogLine_SOURCE_STDERR, text); err != nil {
			t.Fatal(err)
		}
		if g := <-got; g != text {
			t.Errorf("got %s, want %s", g, text)
		}
	}
	w.Close()
	if g := <-got; g != "end" {
		t.Errorf("got %s, want the end", g)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Read(ctx, &agentv1.LogRequest{BuildAttemptId: "a2", Follow: true}, func(*agentv1.LogChunk) error { return nil }); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestOldSegmentsGo(t *testing.T) {
	dir := t.TempDir()
	s := newStore(t, dir, func(d *Deps) { d.MaxBytesPerInstance = 8 << 10 })
	w, err := s.Writer("a3")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for i := range 1000 {
		if err := w.Line(agentv1.LogLine_SOURCE_STDOUT, fmt.Sprintf("line %04d of the log", i)); err != nil {
			t.Fatal(err)
		}
	}
	lines, dropped := read(t, s, &agentv1.LogRequest{BuildAttemptId: "a3"})
	size := int64(headerSize + len("line 0000 of the log"))
	if first := lines[0]; dropped == 0 || int64(dropped) != int64(first.GetPosition())-size || lines[len(lines)-1].GetPosition() != uint64(1000*size) {
		t.Errorf("%d lines from position %d, %d dropped", len(lines), first.GetPosition(), dropped)
	}
	if onDisk := int64(len(lines)) * size; onDisk > 10<<10 || onDisk < 6<<10 {
		t.Errorf("%d bytes are kept of 8 KiB", onDisk)
	}
	if tail, _ := read(t, s, &agentv1.LogRequest{BuildAttemptId: "a3", Tail: 100}); len(tail) != 100 || tail[99].GetText() != "line 0999 of the log" {
		t.Errorf("tail of %d lines", len(tail))
	}
}

func TestTornEndIsCutOff(t *testing.T) {
	dir := t.TempDir()
	whole := record{source: agentv1.LogLine_SOURCE_STDOUT, at: time.Unix(1, 2), text: "whole"}.append(nil)
	for cut := range len(whole) {
		folder := filepath.Join(dir, "build-torn")
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		content := append(append([]byte{}, whole...), whole[:cut]...)
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%020d.log", 1000)), content, 0o600); err != nil {
			t.Fatal(err)
		}
		s := newStore(t, dir)
		w, err := s.Writer("torn")
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Line(agentv1.LogLine_SOURCE_STDOUT, "next"); err != nil {
			t.Fatal(err)
		}
		lines, _ := read(t, s, &agentv1.LogRequest{BuildAttemptId: "torn"})
		if texts(lines) != "whole next" || lines[0].GetPosition() != 1000+uint64(len(whole)) {
			t.Errorf("after a cut at %d: %q", cut, texts(lines))
		}
		w.Close()
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRetention(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	s := newStore(t, dir, func(d *Deps) { d.Now = func() time.Time { return now }; d.MaxTotal = 3000 })
	for key, age := range map[string]time.Duration{"instance-old": 8 * 24 * time.Hour, "instance-oldest": 9 * 24 * time.Hour, "build-1": 2 * time.Hour, "instance-2": time.Hour, "build-3": time.Minute} {
		folder := filepath.Join(dir, key)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(folder, fmt.Sprintf("%020d.log", 0))
		if err := os.WriteFile(file, bytes.Repeat([]byte{0}, 1200), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.retain(map[string]bool{"instance-old": true}); err != nil {
		t.Fatal(err)
	}
	entries, _ := os.ReadDir(dir)
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if strings.Join(left, " ") != "build-3 instance-old" {
		t.Errorf("left = %v", left)
	}
}

func TestSplit(t *testing.T) {
	for text, want := range map[string]int{"": 1, "x\r\n": 1, strings.Repeat("x", maxText): 1, strings.Repeat("x", maxText+1): 2, strings.Repeat("ä", maxText): 2, "x" + strings.Repeat("ä", maxText): 3} {
		records := split(agentv1.LogLine_SOURCE_STDOUT, 1, time.Now(), text)
		joined := ""
		for i, r := range records {
			if len(r.text) > maxText || r.more != (i > 0) {
				t.Errorf("record %d has %d bytes, more %v", i, len(r.text), r.more)
			}
			joined += r.text
		}
		if len(records) != want || joined != strings.TrimRight(text, "\r\n") {
			t.Errorf("%d bytes gave %d records", len(text), len(records))
		}
	}
}

// FuzzRecord reads anything: whole records come back as they were written, everything else is an end or torn.
func FuzzRecord(f *testing.F) {
	f.Add(record{source: 1, at: time.Unix(1, 2), text: "x"}.append(nil))
	f.Add([]byte{0x81, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		var out []byte
		for in := bufio.NewReader(bytes.NewReader(data)); ; {
			r, err := readRecord(in)
			if err != nil {
				break
			}
			out = r.append(out)
		}
		if !bytes.HasPrefix(data, out) {
			t.Errorf("%x was read as %x", data, out)
		}
	})
}

// FuzzFrame must never panic, nor take more than the limit.
func FuzzFrame(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x00\x242026-11-20T16:00:00.000000000Z hello\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		in := bufio.NewReader(bytes.NewReader(data))
		for {
			if _, err := readFrame(in); err != nil {
				return
			}
		}
	})
}
