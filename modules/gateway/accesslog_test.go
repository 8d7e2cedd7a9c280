package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type loggedLine struct {
	Time       time.Time `json:"time"`
	Host       string    `json:"host"`
	Method     string    `json:"method"`
	Path       string    `json:"path"`
	Status     int       `json:"status"`
	Bytes      int64     `json:"bytes"`
	DurationMS float64   `json:"duration_ms"`
	Instance   string    `json:"instance"`
	Client     string    `json:"client"`
	RequestID  string    `json:"request_id"`
}

func readLog(t *testing.T, path string) (lines []loggedLine) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var l loggedLine
		decoder := json.NewDecoder(bytes.NewReader(line))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&l); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		lines = append(lines, l)
	}
	return lines
}

func TestAccessLogTellsEveryRequest(t *testing.T) {
	r := newRig(t)
	r.site("a.test", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, "12345")
	}))
	response, _ := r.get("http://a.test/x%22%0A?secret=1")
	r.get("http://unknown.test/")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(r.dir, accessLogFile)
	lines := readLog(t, path)
	if len(lines) != 2 {
		t.Fatalf("got %v", lines)
	}
	first := lines[0]
	if first.Time.IsZero() || first.DurationMS <= 0 || first.RequestID != response.Header.Get("X-Request-Id") {
		t.Errorf("got %+v", first)
	}
	first.Time, first.DurationMS, first.RequestID = time.Time{}, 0, ""
	want := loggedLine{Host: "a.test", Method: "GET", Path: "/x\"\n", Status: 201, Bytes: 5, Instance: "a.test", Client: "127.0.0.1"}
	if first != want {
		t.Errorf("got %+v, want %+v", first, want)
	}
	if lines[1].Status != http.StatusMisdirectedRequest || lines[1].Instance != "" {
		t.Errorf("got %+v", lines[1])
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestAccessLogIsBounded(t *testing.T) {
	dir := t.TempDir()
	l := newAccessLog(dir, AccessLog{MaxBytes: 4 * accessBatch, Files: 3}, slog.New(slog.DiscardHandler))
	go l.run()
	line := entry{host: "a.test", path: "/" + strings.Repeat("x", 500), client: netip.MustParseAddr("192.0.2.1")}
	for range 5000 {
		l.queue <- line // unlike write, this waits
	}
	l.close()
	files, err := filepath.Glob(filepath.Join(dir, accessLogFile+"*"))
	if err != nil || len(files) != 3 {
		t.Fatalf("got %v, %v", files, err)
	}
	for _, f := range files {
		if info, _ := os.Stat(f); info.Size() > 4*accessBatch+1000 || info.Size() == 0 {
			t.Errorf("%s has %d bytes", f, info.Size())
		}
		readLog(t, f)
	}
}

// A log that cannot be written costs lines, which is said, and nothing else.
func TestAccessLogThatCannotBeWritten(t *testing.T) {
	r := newRig(t)
	if err := os.Mkdir(filepath.Join(r.dir, accessLogFile), 0o700); err != nil {
		t.Fatal(err)
	}
	r.site("a.test", says("hello"))
	if _, body := r.get("http://a.test/"); body != "hello" {
		t.Errorf("got %q", body)
	}
	await(t, "problem", func() bool { return strings.Contains(fmt.Sprint(r.gateway.Status().GetProblems()), "access log") })
}

func TestAccessLogNeverBlocks(t *testing.T) {
	l := newAccessLog(t.TempDir(), AccessLog{}, slog.New(slog.DiscardHandler)) // nobody reads the queue
	for range accessQueue + 10 {
		l.write(entry{})
	}
	if n := l.dropped.Load(); n != 10 {
		t.Errorf("dropped %d", n)
	}
}

func FuzzLoggedText(f *testing.F) {
	f.Add("plain", "\x00\n\"\\ü\xff")
	f.Fuzz(func(t *testing.T, host, path string) {
		e := entry{host: host, path: path}
		b := e.appendJSON(nil)
		if bytes.Count(b, []byte("\n")) != 1 || !json.Valid(b) {
			t.Errorf("got %q", b)
		}
	})
}
