package builds

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

	"pandu/modules/spec"
)

// silentRegistry accepts everything and answers nothing but the greeting until the test ends; called gets a value at
// the first upload.
func silentRegistry(t *testing.T) (address string, called chan struct{}) {
	t.Helper()
	called = make(chan struct{}, 100)
	end := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			return
		}
		called <- struct{}{}
		select {
		case <-end:
		case <-r.Context().Done():
		}
	}))
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server.Listener = listener
	server.Start()
	t.Cleanup(func() { close(end); server.Close() })
	return listener.Addr().String(), called
}

func TestCancelWhileItPushes(t *testing.T) {
	address, called := silentRegistry(t)
	b := newBench(t, func(d *Deps) { d.Registry = address; d.Self = fileserverProgram(t) })
	for name, build := range map[string]spec.Build{"by the Engine": {Kind: spec.Dockerfile}, "by ourselves": {Kind: spec.Static}} {
		t.Run(name, func(t *testing.T) {
			a := b.attempt(build, map[string]string{"Dockerfile": dockerfile("FROM scratch", "COPY index.html /x"), "index.html": "x"})
			b.manager.assign(a)
			<-called
			b.manager.mu.Lock()
			b.manager.cancelled[a.GetAttemptId()] = true
			b.manager.mu.Unlock()
			if r := b.result(); r.GetErrorCode() != codeCancelled {
				t.Errorf("result = %v", r)
			}
			if !b.manager.phases[phasePush] {
				t.Error("the phase push was never told")
			}
		})
	}
}

func TestLostLeaseStopsTheBuild(t *testing.T) {
	b := newBench(t)
	a := b.attempt(spec.Build{Kind: spec.Dockerfile}, map[string]string{"step": string(stepProgram(t)),
		"Dockerfile": dockerfile("FROM scratch", "COPY step /step", `RUN ["/step", "hang"]`)})
	b.manager.assign(a)
	b.shown(a, "hanging")
	b.manager.mu.Lock()
	b.manager.refuse = connect.NewError(connect.CodeFailedPrecondition, errors.New("not yours"))
	b.manager.mu.Unlock()
	b.idle(t)
	if len(b.manager.results) != 0 {
		t.Errorf("a result nobody waits for: %v", <-b.manager.results)
	}
}

func TestConcurrencyIsALimit(t *testing.T) {
	b := newBench(t, func(d *Deps) { d.Concurrency = 1 })
	files := map[string]string{"step": string(stepProgram(t)), "Dockerfile": dockerfile("FROM scratch", "COPY step /step", `RUN ["/step", "hang"]`)}
	first, second := b.attempt(spec.Build{Kind: spec.Dockerfile, Memory: 256 << 20, MilliCPU: 500}, files), b.attempt(spec.Build{Kind: spec.Dockerfile}, map[string]string{"Dockerfile": "FROM scratch\nCOPY x /x\n", "x": "x"})
	b.manager.assign(first, second)
	b.shown(first, "hanging")
	b.service.mu.Lock()
	running := len(b.service.running)
	b.service.mu.Unlock()
	if running != 1 {
		t.Errorf("%d attempts run at once", running)
	}
	switch g := b.service.limits.group.(type) {
	case *groupV1:
		if m, c := content(g.memory+"/memory.limit_in_bytes"), content(g.cpu+"/cpu.cfs_quota_us"); m != "268435456" || c != "50000" {
			t.Errorf("limits are %s bytes, %s µs", m, c)
		}
	case groupV2:
		if m, c := content(g.dir+"/memory.max"), content(g.dir+"/cpu.max"); m != "268435456" || c != "50000 100000" {
			t.Errorf("limits are %s bytes, %s", m, c)
		}
	case nil:
		t.Error("the build is not limited")
	}
	b.manager.assign(second)
	if r := b.result(); r.GetAttemptId() != second.GetAttemptId() || r.GetErrorCode() != "" {
		t.Errorf("result = %v", r)
	}
}

func TestStopOfTheProcessGivesUpWithoutAResult(t *testing.T) {
	var b *bench
	t.Cleanup(func() { // runs last, when the bench has stopped the service
		if len(b.manager.results) != 0 {
			t.Errorf("result = %v", <-b.manager.results)
		}
	})
	b = newBench(t)
	a := b.attempt(spec.Build{Kind: spec.Dockerfile}, map[string]string{"step": string(stepProgram(t)),
		"Dockerfile": dockerfile("FROM scratch", "COPY step /step", `RUN ["/step", "hang"]`)})
	b.manager.assign(a)
	b.shown(a, "hanging")
}

func TestCacheIsPrunedNowAndThen(t *testing.T) {
	asked := make(chan string, 10)
	engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		if strings.HasSuffix(r.URL.Path, "/build/prune") {
			asked <- r.URL.Query().Get("keep-storage")
			_, _ = w.Write([]byte(`{"SpaceReclaimed":1}`))
		}
	}))
	t.Cleanup(engine.Close)
	now := time.Now()
	b := newBench(t, func(d *Deps) {
		d.Docker, d.CacheBytes = "tcp://"+strings.TrimPrefix(engine.URL, "http://"), 7<<30
		d.Now = func() time.Time { return now }
	})
	for _, later := range []time.Duration{0, pruneEvery - 1, 1} {
		now = now.Add(later)
		b.service.pruneCache(t.Context())
	}
	if len(asked) != 2 || <-asked != fmt.Sprint(7<<30) {
		t.Errorf("asked %d times", len(asked))
	}
}

func TestBadSources(t *testing.T) {
	b := newBench(t)
	for name, test := range map[string]struct {
		source  []byte
		message string
	}{
		"no archive":     {[]byte("hello"), "archive"},
		"not there":      {nil, "Upload it again"},
		"leaves":         {pack(t, map[string]string{"../../etc/x": "x"}), ""},
		"no Dockerfile":  {pack(t, map[string]string{"main.go": "x"}), "There is no Dockerfile in the source"},
		"folder instead": {pack(t, map[string]string{"Dockerfile/x": "x"}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := b.attempt(spec.Build{Kind: spec.Dockerfile}, nil)
			if test.source != nil {
				b.manager.sources[a.GetAttemptId()] = test.source
			}
			r := b.build(a)
			if code := r.GetErrorCode(); code != codeSource && code != codeDockerfile || r.GetRetryable() || !strings.Contains(r.GetError(), test.message) {
				t.Errorf("result = %v", r)
			}
		})
	}
}

func TestUnknownSpecification(t *testing.T) {
	b := newBench(t)
	a := b.attempt(spec.Build{Kind: "nixpacks"}, nil)
	if r := b.build(a); r.GetErrorCode() != codeDockerfile || !strings.Contains(r.GetError(), "nixpacks") {
		t.Errorf("result = %v", r)
	}
	a = b.attempt(spec.Build{}, nil)
	a.Spec = []byte("{")
	if r := b.build(a); r.GetErrorCode() != codeDockerfile {
		t.Errorf("result = %v", r)
	}
}

func TestClassify(t *testing.T) {
	for name, test := range map[string]struct {
		err     error
		code    string
		message string
		passing bool
	}{
		"left":           {errLeft, codeCancelled, "cancelled", false},
		"time":           {fmt.Errorf("x: %w", errTime), codeTimeout, "", false},
		"disk":           {diskFailure("write", fmt.Errorf("write: %w", syscall.ENOSPC)), codeEngine, "disk", false},
		"disk in a push": {failed(codePush, "x").because(syscall.ENOSPC), codeEngine, "disk", false},
		"input":          {diskFailure("write it", errors.New("input/output error")), codeEngine, "could not write it", true},
		"unknown":        {errors.New("x"), codeEngine, "", true},
		"deadline":       {context.DeadlineExceeded, codeTimeout, "", false},
		"broken":         {buildFailure(fmt.Errorf("read: %w", errBroken), newTrace(nil), &hold{}), codeEngine, "broke off", true},
		"engine's disk":  {buildFailure(errors.New("engine: write /x: no space left on device"), newTrace(nil), &hold{}), codeEngine, "disk of the build server is full", false},
		"exit 137":       {buildFailure(errors.New("engine: process \"x\" did not complete successfully: exit code: 137"), newTrace(nil), &hold{}), codeCommand, "137", false},
		"away":           {pushFailure(fmt.Errorf("x: %w", statusError{503, ""})), codePush, "", true},
		"refused":        {pushFailure(fmt.Errorf("x: %w", statusError{403, ""})), codePush, "", false},
	} {
		if f := classify(test.err); f.code != test.code || f.passing != test.passing || !strings.Contains(f.message, test.message) {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestJournalIsBounded(t *testing.T) {
	b := newBench(t)
	j, err := newJournal(b.logs, "bounded", t.TempDir()+"/log", b.service.deps.Now)
	if err != nil {
		t.Fatal(err)
	}
	j.hide(map[string]string{"A": "first line\nsecond line", "B": "abc", "C": "first line and more"})
	long := strings.Repeat("x", 10_000)
	for range 2 * journalLimit / len(long) {
		j.line(long)
	}
	j.line("it says first line and more, second line, abc")
	last := j.last()
	j.close()
	if len(last) != lastLines || last[lastLines-1] != "it says ***, ***, abc" || len(last[0]) > 1010 {
		t.Errorf("last = %d lines, the last %q", len(last), last[len(last)-1])
	}
	file, err := j.open()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || info.Size() > journalLimit*11/10 {
		t.Errorf("%d bytes are kept: %v", info.Size(), err)
	}
	j.line("after the end") // must not panic
	var none *journal
	none.line("x")
	none.close()
}
