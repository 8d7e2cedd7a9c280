package ledger

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"pandu/modules/agent/agentv1"
)

const instances = agentv1.Stream_STREAM_INSTANCES

func discard() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func open(t testing.TB, dir string) *Ledger {
	t.Helper()
	l, err := Open(dir, discard())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// adding is a good delta that adds one instance.
func adding(l *Ledger, key string) *agentv1.Delta {
	s := l.streams[instances].state
	epoch := s.Epoch
	if epoch.GetNumber() == 0 {
		epoch = first
	}
	c := honest(s, live(key, s.Revision+1))
	return &agentv1.Delta{Stream: instances, Epoch: epoch, From: c.from, Revision: c.revision, Entries: c.entries, Count: c.count, Hash: c.hash}
}

func mustDelta(t testing.TB, l *Ledger, d *agentv1.Delta) {
	t.Helper()
	if changed, err := l.Delta(d); err != nil || !changed {
		t.Fatalf("delta: %v, %v", changed, err)
	}
}

func TestSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	mustDelta(t, l, adding(l, "instance/a"))
	mustDelta(t, l, adding(l, "instance/b"))
	stopA := honest(l.streams[instances].state, stop("instance/a", 3, "scale"))
	mustDelta(t, l, &agentv1.Delta{Stream: instances, Epoch: first, From: 2, Revision: 3, Entries: stopA.entries, Count: stopA.count, Hash: stopA.hash})
	if _, err := Open(dir, discard()); !errors.Is(err, ErrInUse) {
		t.Errorf("a second agent got the directory: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir)
	defer l.Close()
	epoch, revisions := l.Hello()
	if epoch.GetLineage() != "one" || revisions[int32(instances)] != 3 || revisions[int32(agentv1.Stream_STREAM_ROUTES)] != 0 {
		t.Errorf("hello says %v %v", epoch, revisions)
	}
	entries := l.Entries(instances)
	if len(entries) != 2 || !entries[0].GetTombstone() || entries[1].GetKey() != "instance/b" {
		t.Errorf("entries are %v", entries)
	}
	l.CarriedOut(instances, "instance/a", "instance/b")
	if left := l.Entries(instances); len(left) != 1 || left[0].GetKey() != "instance/b" {
		t.Errorf("after carrying out: %v", left)
	}
}

func TestTornEndIsCutOff(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	mustDelta(t, l, adding(l, "instance/a"))
	path := filepath.Join(dir, fileNames[instances])
	kept := l.streams[instances].file.size
	mustDelta(t, l, adding(l, "instance/b"))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for cut := kept; cut < int64(len(whole)); cut++ {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		l := open(t, dir)
		if head := l.Head(instances); head.Revision != 1 || head.Live != 1 {
			t.Fatalf("cut at %d: %+v", cut, head)
		}
		mustDelta(t, l, adding(l, "instance/c"))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDamagedFileIsPutAside(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, fileNames[instances]), []byte("not a ledger at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, dir)
	defer l.Close()
	if _, revisions := l.Hello(); revisions[int32(instances)] != 0 {
		t.Errorf("revisions %v", revisions)
	}
	if _, err := os.Stat(filepath.Join(dir, fileNames[instances]+".damaged")); err != nil {
		t.Error(err)
	}
}

func TestMismatchAsksForEverything(t *testing.T) {
	l := open(t, t.TempDir())
	defer l.Close()
	mustDelta(t, l, adding(l, "instance/a"))
	bad := adding(l, "instance/b")
	bad.Hash = []byte("other")
	if _, err := l.Delta(bad); !errors.Is(err, ErrMismatch) {
		t.Fatalf("error is %v", err)
	}
	if _, revisions := l.Hello(); revisions[int32(instances)] != 0 {
		t.Errorf("revisions %v: a whole snapshot must be asked for", revisions)
	}
	part := &agentv1.Snapshot{Stream: instances, Epoch: first, Revision: 2, Entries: []*agentv1.Entry{live("instance/a", 1)}}
	if done, _, err := l.Chunk(part); done || err != nil {
		t.Fatalf("first chunk: %v, %v", done, err)
	}
	c := snapshot(first, 2, live("instance/a", 1), live("instance/b", 2))
	last := &agentv1.Snapshot{Stream: instances, Epoch: first, Revision: 2, Entries: []*agentv1.Entry{live("instance/b", 2)}, Last: true, Count: c.count, Hash: c.hash}
	if done, changed, err := l.Chunk(last); !done || !changed || err != nil {
		t.Fatalf("last chunk: %v, %v, %v", done, changed, err)
	}
	if _, revisions := l.Hello(); revisions[int32(instances)] != 2 {
		t.Errorf("revisions %v", revisions)
	}
}

func TestChunksOfTwoSnapshotsAreRefused(t *testing.T) {
	l := open(t, t.TempDir())
	defer l.Close()
	if _, _, err := l.Chunk(&agentv1.Snapshot{Stream: instances, Epoch: first, Revision: 2}); err != nil {
		t.Fatal(err)
	}
	c := snapshot(first, 3)
	_, _, err := l.Chunk(&agentv1.Snapshot{Stream: instances, Epoch: first, Revision: 3, Last: true, Count: c.count, Hash: c.hash})
	if !errors.Is(err, ErrMismatch) {
		t.Errorf("error is %v", err)
	}
}

func TestBrakedDeltaWaitsForItsConfirmation(t *testing.T) {
	l := open(t, t.TempDir())
	defer l.Close()
	for i := range 5 {
		mustDelta(t, l, adding(l, fmt.Sprintf("instance/%d", i)))
	}
	var stops []*agentv1.Entry
	for i := range 5 {
		stops = append(stops, stop(fmt.Sprintf("instance/%d", i), 6, ""))
	}
	c := honest(l.streams[instances].state, stops...)
	d := &agentv1.Delta{Stream: instances, Epoch: first, From: 5, Revision: 6, Entries: c.entries, Count: c.count, Hash: c.hash}
	if _, err := l.Delta(d); !errors.Is(err, ErrBraked) {
		t.Fatalf("error is %v", err)
	}
	later := &agentv1.Delta{Stream: instances, Epoch: first, From: 6, Revision: 7, Entries: []*agentv1.Entry{live("instance/x", 7)}}
	if _, err := l.Delta(later); !errors.Is(err, ErrBraked) {
		t.Errorf("what builds on it: %v", err)
	}
	if head := l.Head(instances); head.Revision != 5 || head.Live != 5 || head.Held == nil || head.Held.Stops != 5 || head.Held.Revision != 7 {
		t.Errorf("head is %+v", head)
	}
	d.Confirmed = true
	mustDelta(t, l, d)
	if head := l.Head(instances); head.Revision != 6 || head.Live != 0 || head.Held != nil {
		t.Errorf("head after confirmation is %+v", head)
	}
}

func TestFailedWriteChangesNothingAndIsMadeGood(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	mustDelta(t, l, adding(l, "instance/a"))
	if err := l.streams[instances].file.file.Close(); err != nil { // every write fails from here on
		t.Fatal(err)
	}
	d := adding(l, "instance/b")
	if changed, err := l.Delta(d); err == nil || changed || errors.Is(err, ErrRefused) {
		t.Fatalf("delta: %v, %v", changed, err)
	}
	if head := l.Head(instances); head.Revision != 1 || head.Live != 1 {
		t.Errorf("head is %+v", head)
	}
	mustDelta(t, l, d)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir)
	defer l.Close()
	if head := l.Head(instances); head.Revision != 2 || head.Live != 2 {
		t.Errorf("after the restart head is %+v", head)
	}
}

func TestFileStaysProportionate(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	defer l.Close()
	for range 3000 {
		s := l.streams[instances].state
		c := honest(s, live("instance/a", s.Revision+1))
		mustDelta(t, l, &agentv1.Delta{Stream: instances, Epoch: first, From: c.from, Revision: c.revision, Entries: c.entries, Count: c.count, Hash: c.hash})
	}
	info, err := os.Stat(filepath.Join(dir, fileNames[instances]))
	if err != nil || info.Size() > minCompact+4096 {
		t.Errorf("file of one entry has %d bytes, %v", info.Size(), err)
	}
}

// TestMain lets the test binary be the agent that is killed.
func TestMain(m *testing.M) {
	dir := os.Getenv("LEDGER_TEST_DIR")
	if dir == "" {
		os.Exit(m.Run())
	}
	l, err := Open(dir, discard())
	if err != nil {
		os.Exit(3)
	}
	for i := 0; ; i++ {
		if _, err := l.Delta(adding(l, fmt.Sprintf("instance/%d", i%50))); err != nil {
			os.Exit(4)
		}
		fmt.Println(l.Head(instances).Revision)
	}
}

func TestKilledWhileWriting(t *testing.T) {
	dir := t.TempDir()
	for round := range 8 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = []string{"LEDGER_TEST_DIR=" + dir}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(60+round*23)*time.Millisecond, func() { _ = cmd.Process.Signal(syscall.SIGKILL) })
		var revision, acknowledged uint64
		for {
			if _, err := fmt.Fscanln(out, &revision); err != nil {
				break
			}
			acknowledged = revision
		}
		timer.Stop()
		if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
			t.Fatalf("writer ended by itself: %v", err)
		}
		l := open(t, dir)
		if held := l.Head(instances).Revision; held < acknowledged || held > acknowledged+1 {
			t.Errorf("round %d: %d was acknowledged, %d is held", round, acknowledged, held)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzReplay(f *testing.F) {
	base, _ := encode(recordBase, &agentv1.Snapshot{Epoch: first, Revision: 1, Entries: []*agentv1.Entry{live("instance/a", 1)}})
	f.Add(base)
	f.Add([]byte("B"))
	f.Fuzz(func(t *testing.T, b []byte) {
		state, good, base := replay(b)
		if good > len(b) || base > good || state == nil {
			t.Errorf("good %d, base %d of %d", good, base, len(b))
		}
	})
}
