package logs

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"pandu/modules/agent/agentv1"
	"pandu/tests/engine"
)

var docker *engine.Engine

func TestMain(m *testing.M) { engine.Main(m, func(e *engine.Engine) { docker = e }) }

const printerImage = "pandu-test/printer:1"

// start runs the printer as an instance of this test's server and returns container and instance.
func start(t *testing.T, arguments ...string) (containerID, instance string) {
	t.Helper()
	if _, err := docker.BuildScratch(t.Context(), printerImage, "pandu/modules/agent/internal/logs/testdata/printer"); err != nil {
		t.Fatal(err)
	}
	instance = uuid.NewString()
	made, err := docker.Client.ContainerCreate(t.Context(), client.ContainerCreateOptions{
		Config:     &container.Config{Image: printerImage, Cmd: arguments, Labels: map[string]string{labelServer: t.Name(), labelInstance: instance}},
		HostConfig: &container.HostConfig{LogConfig: container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "20m", "max-file": "2"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = docker.Client.ContainerRemove(context.Background(), made.ID, client.ContainerRemoveOptions{Force: true})
	})
	if _, err := docker.Client.ContainerStart(t.Context(), made.ID, client.ContainerStartOptions{}); err != nil {
		t.Fatal(err)
	}
	return made.ID, instance
}

// running runs a store on dir until stop is called. The stop is as good as a kill: nothing is written at the end that
// would not have been written before.
func running(t *testing.T, s *Service) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.Run(ctx) }()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

// until reads the log again and again until it is as wanted.
func until(t *testing.T, s *Service, instance string, wanted func([]*agentv1.LogLine) bool) []*agentv1.LogLine {
	t.Helper()
	var lines []*agentv1.LogLine
	for limit := time.Now().Add(30 * time.Second); ; <-time.After(10 * time.Millisecond) {
		if _, err := os.Stat(s.deps.Dir + "/" + instanceKey(instance)); err == nil {
			lines, _ = read(t, s, &agentv1.LogRequest{InstanceId: instance})
		}
		if wanted(lines) {
			return lines
		}
		if time.Now().After(limit) {
			t.Fatalf("the log stayed at %d lines, the last of them %q", len(lines), texts(lines[max(len(lines)-3, 0):]))
		}
	}
}

// checkNumbers fails unless lines are "line 0" to "line count-1", each count times and no other. The Engine keeps no
// order between the two streams, so order is judged in each.
func checkNumbers(t *testing.T, lines []*agentv1.LogLine, count, times int) {
	t.Helper()
	seen, last := map[string]int{}, map[agentv1.LogLine_Source]int{}
	for _, l := range lines {
		seen[l.GetText()]++
		var n int
		if _, err := fmt.Sscanf(l.GetText(), "line %d", &n); err != nil {
			t.Errorf("foreign line %q", l.GetText())
		}
		if times == 1 && n < last[l.GetSource()] {
			t.Errorf("line %d came after %d", n, last[l.GetSource()])
		}
		last[l.GetSource()] = n
		if (n%3 == 0) != (l.GetSource() == agentv1.LogLine_SOURCE_STDERR) {
			t.Errorf("line %d is from %v", n, l.GetSource())
		}
	}
	for i := range count {
		if seen[fmt.Sprintf("line %d", i)] != times {
			t.Fatalf("line %d is there %d times, want %d", i, seen[fmt.Sprintf("line %d", i)], times)
		}
	}
}

func atLeast(n int) func([]*agentv1.LogLine) bool {
	return func(lines []*agentv1.LogLine) bool { return len(lines) >= n }
}

func TestAgentRestartsNeitherLoseNorDouble(t *testing.T) {
	const count = 3000
	dir := t.TempDir()
	_, instance := start(t, "lines", fmt.Sprint(count), "300us")
	for n := 200; n < count; n += 400 {
		s := newStore(t, dir)
		stop := running(t, s)
		until(t, s, instance, atLeast(n))
		stop()
	}
	s := newStore(t, dir)
	running(t, s)
	checkNumbers(t, until(t, s, instance, atLeast(count)), count, 1)
}

func TestLinesOfOneMomentAreNotDoubled(t *testing.T) {
	const count = 2000 // written at once, many share a time
	dir := t.TempDir()
	_, instance := start(t, "lines", fmt.Sprint(count))
	for range 3 {
		s := newStore(t, dir)
		stop := running(t, s)
		checkNumbers(t, until(t, s, instance, atLeast(count)), count, 1)
		stop()
	}
}

func TestContainerRestartAndRemoval(t *testing.T) {
	s := newStore(t, t.TempDir())
	running(t, s)
	id, instance := start(t, "once", "50")
	until(t, s, instance, atLeast(50))
	for n := 2; n <= 3; n++ {
		if _, err := docker.Client.ContainerRestart(t.Context(), id, client.ContainerRestartOptions{}); err != nil {
			t.Fatal(err)
		}
		checkNumbers(t, until(t, s, instance, atLeast(50*n)), 50, n)
	}
	if _, err := docker.Client.ContainerRemove(t.Context(), id, client.ContainerRemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	checkNumbers(t, until(t, s, instance, atLeast(150)), 50, 3)
}

func TestStoppedContainerIsReadAfterwards(t *testing.T) {
	id, instance := start(t, "once", "20")
	waiting := docker.Client.ContainerWait(t.Context(), id, client.ContainerWaitOptions{})
	select {
	case <-waiting.Result:
	case err := <-waiting.Error:
		t.Fatal(err)
	}
	s := newStore(t, t.TempDir())
	running(t, s)
	checkNumbers(t, until(t, s, instance, atLeast(20)), 20, 1)
}

func TestOddLines(t *testing.T) {
	s := newStore(t, t.TempDir())
	running(t, s)
	_, instance := start(t, "odd")
	lines := until(t, s, instance, func(l []*agentv1.LogLine) bool { return len(l) > 0 && l[len(l)-1].GetText() == "no end" })
	all := texts(lines)
	if !strings.Contains(all, "broken \uFFFD") || strings.Count(all, "ä") < 20<<10-2 {
		t.Errorf("%d lines with %d of 20480 letters", len(lines), strings.Count(all, "ä"))
	}
	for _, l := range lines {
		if len(l.GetText()) > maxText {
			t.Errorf("a line of %d bytes", len(l.GetText()))
		}
	}
}

func TestFloodIsBounded(t *testing.T) {
	s := newStore(t, t.TempDir(), func(d *Deps) { d.Rate = 64 << 10 })
	running(t, s)
	begun := time.Now()
	_, instance := start(t, "flood")
	lines := until(t, s, instance, func(l []*agentv1.LogLine) bool {
		for _, line := range l {
			if line.GetSource() == agentv1.LogLine_SOURCE_PANDU && strings.Contains(line.GetText(), "lines were dropped") {
				return true
			}
		}
		return false
	})
	size, notes := int64(0), 0
	for _, l := range lines {
		size += int64(len(l.GetText()))
		if l.GetSource() == agentv1.LogLine_SOURCE_PANDU {
			notes++
		}
	}
	if limit := int(time.Since(begun).Seconds()) + 1; notes > limit {
		t.Errorf("%d notes in %d seconds", notes, limit)
	}
	if allowed := int64(64<<10) * (burstSeconds + int64(time.Since(begun).Seconds()) + 2); size > allowed {
		t.Errorf("%d bytes were kept, %d allowed", size, allowed)
	}
}
