package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// recovery is how long a deployment may take to end by itself after everything is back.
const recovery = 60 * time.Second

// slowBuild is a build of some seconds, with a layer that takes a moment to push.
func slowBuild(t *testing.T, version string) []byte {
	t.Helper()
	noise := make([]byte, 24<<20)
	_, _ = rand.NewChaCha8([32]byte{byte(len(version)), byte(time.Now().UnixNano())}).Read(noise)
	return zipped(t, map[string]string{"program": program, "noise": string(noise), "Dockerfile": `FROM scratch AS slow
COPY program /program
ENV START_DELAY=2s EXIT_CODE=0 UNIQUE=` + strconv.FormatInt(time.Now().UnixNano(), 10) + `
RUN ["/program"]
FROM scratch
COPY --from=slow /program /program
COPY noise /noise
ENV VERSION=` + version + `
EXPOSE 8080
ENTRYPOINT ["/program"]
`})
}

// Pandu is killed with kill -9 at each step of a deployment. Started again it finishes what it began, by itself.
func TestKilledAtEachStep(t *testing.T) {
	p := newPandu(t, "killed")
	p.endsWithTest(t)
	p.start(t)
	j := p.project(t, "steps")
	j.deploy(t, webSite(t, "EXPOSE 8080", "ENV VERSION=v0 SLOW=10ms"))
	version := 0
	slow := func() []byte { version++; return slowBuild(t, fmt.Sprintf("v%d", version)) }
	quick := func(settings string) []byte {
		version++
		return webSite(t, "EXPOSE 8080", fmt.Sprintf("ENV VERSION=v%d %s", version, settings))
	}
	phase := func(t *testing.T, d deployment, names ...string) {
		t.Helper()
		j.until(t, d, 30*time.Second, strings.Join(names, " or "), func(d deployment) bool {
			return d.final() || len(d.Builds) > 0 && slices.Contains(names, d.Builds[0].Phase)
		})
	}
	shown := func(t *testing.T) { t.Helper(); j.shows(t, "/", fmt.Sprintf("v%d", version)) }
	for _, step := range []struct {
		name    string
		archive func() []byte
		reached func(t *testing.T, d deployment)
	}{
		{"queued", func() []byte { return quick("") }, func(*testing.T, deployment) {}},
		{"building", slow, func(t *testing.T, d deployment) { j.reaches(t, d, "building"); phase(t, d, "build", "building") }},
		{"push", slow, func(t *testing.T, d deployment) { j.reaches(t, d, "building"); phase(t, d, "push", "pushing") }},
		{"releasing", func() []byte { return quick("START_DELAY=3s") }, func(t *testing.T, d deployment) { j.reaches(t, d, "releasing") }},
		{"switch", func() []byte { return quick("SLOW=2s") }, func(t *testing.T, _ deployment) { shown(t) }},
		{"drain", func() []byte { return quick("") }, func(t *testing.T, _ deployment) {
			t.Helper()
			stop := openRequests(p.site("steps", "/"))
			shown(t)
			stop()
		}},
	} {
		t.Run(step.name, func(t *testing.T) {
			d := j.begin(t, step.archive())
			step.reached(t, d)
			p.proc.kill()
			began := time.Now()
			p.start(t)
			d = j.until(t, d, recovery, "over", deployment.final)
			t.Logf("killed when %s: %s %s after the restart began", step.name, d.State, time.Since(began).Round(time.Millisecond))
			if d.State != "live" && d.State != "failed" {
				t.Errorf("it is %s: %+v", d.State, d.Error)
			}
			if d.State == "live" {
				shown(t)
			} else {
				t.Logf("it failed: %+v", d.Error)
			}
			eventually(t, recovery, "one container", func() bool {
				left := leftovers(t)
				return len(left["containers"]) == 1 && len(left["networks"]) == 1 && len(j.containers(t)["web"]) == 1
			})
			// Whatever became of it, the next one works.
			if d.State == "failed" {
				j.deploy(t, quick(""))
				shown(t)
			}
		})
	}
	j.removedWithoutTrace(t)
}

// openRequests keeps some requests open all the time.
func openRequests(url string) (stop func()) {
	done := make(chan struct{})
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					answer(url)
				}
			}
		})
	}
	return func() { close(done); running.Wait() }
}

// Everything but containers and gateway is killed: the site answers. The gateway too, and started alone: it answers.
// All started again: nothing was touched.
func TestSiteOutlivesEverything(t *testing.T) {
	p := newPandu(t, "outlived")
	p.endsWithTest(t)
	p.start(t)
	j := p.project(t, "alone")
	j.deploy(t, webSite(t, "EXPOSE 8080", "ENV VERSION=alone"))
	j.patch(t, "/services/web", map[string]int{"replicas": 2})
	j.shows(t, "/", "alone")
	before := j.containers(t)["web"]
	load := besiege(p.site("alone", "/"), 50)

	gateway := p.gatewayPID(t)
	p.proc.kill()
	for _, pid := range of(p.dir) {
		if pid != gateway {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	eventually(t, 10*time.Second, "only the gateway", func() bool { return slices.Equal(of(p.dir), []int{gateway}) })
	enough := load.asked() + 100
	eventually(t, 20*time.Second, "a hundred more requests", func() bool { return load.asked() >= enough })
	count, failed := load.end()
	t.Logf("%d requests while everything else was killed, %d failed", count, len(failed))
	if len(failed) > 0 {
		t.Errorf("first failures: %v", failed[:min(5, len(failed))])
	}

	_ = syscall.Kill(gateway, syscall.SIGKILL)
	eventually(t, 10*time.Second, "nobody at the gateway's port", func() bool { status, _ := answer(p.site("alone", "/")); return status == 0 })
	began := time.Now()
	alone := spawn(t, "gateway", filepath.Join(suite.dir, "gateway-alone.log"), []string{
		"WORKER_MODE=gateway", "PANDU_DATA_DIR=" + p.dir, "PANDU_GATEWAY_HTTP_LISTEN=:" + strconv.Itoa(p.gateway), "PANDU_OPS_LISTEN=",
	}, "serve")
	t.Cleanup(alone.kill)
	j.shows(t, "/", "alone")
	t.Logf("the gateway alone served after %s", time.Since(began).Round(time.Millisecond))

	p.start(t)
	eventually(t, 30*time.Second, "instances known again", func() bool { return len(j.containers(t)["web"]) == 2 })
	if now := j.containers(t)["web"]; !slices.Equal(now, before) {
		t.Errorf("containers are %v, before %v", now, before)
	}
	j.deploy(t, webSite(t, "EXPOSE 8080", "ENV VERSION=together"))
	j.shows(t, "/", "together")
	if err := alone.stop(); err != nil {
		t.Error(err)
	}
	j.shows(t, "/", "together") // the agent starts one of its own
	j.removedWithoutTrace(t)
}

func TestEngineRestarted(t *testing.T) {
	p := newPandu(t, "engine")
	p.endsWithTest(t)
	p.start(t)
	j := p.project(t, "docker")
	j.deploy(t, webSite(t, "EXPOSE 8080", "ENV VERSION=before"))
	for name, restart := range map[string]func(){"stopped": suite.engine.StopDaemon, "killed": suite.engine.KillDaemon} {
		t.Run(name, func(t *testing.T) {
			d := j.reaches(t, j.begin(t, webSite(t, "EXPOSE 8080", "ENV START_DELAY=2s VERSION="+name)), "releasing")
			restart()
			if err := suite.engine.StartDaemon(t.Context()); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			d = j.until(t, d, recovery, "over", deployment.final)
			t.Logf("the deployment was %s %s after the engine was back: %+v", d.State, time.Since(began).Round(time.Millisecond), d.Error)
			if d.State == "live" {
				j.shows(t, "/", name)
			} else {
				eventually(t, recovery, "the site", func() bool { status, _ := answer(p.site("docker", "/")); return status == 200 })
			}
			eventually(t, recovery, "one container", func() bool { return len(leftovers(t)["containers"]) == 1 })
		})
	}
	t.Run("frozen", func(t *testing.T) {
		thaw := suite.engine.Freeze()
		d := j.begin(t, webSite(t, "EXPOSE 8080", "ENV VERSION=thawed"))
		j.reaches(t, d, "building")
		if status, _ := answer(p.site("docker", "/")); status != 200 {
			t.Errorf("with a frozen engine the site answers %d", status)
		}
		thaw()
		j.live(t, d)
		j.shows(t, "/", "thawed")
	})
	j.removedWithoutTrace(t)
}

func TestPostgresKilledUnderLoad(t *testing.T) {
	p := newPandu(t, "database")
	p.endsWithTest(t)
	p.start(t)
	j := p.project(t, "data")
	j.deploy(t, pages(t, "first"))
	load := besiege(p.site("data", "/"), 50)
	done := make(chan struct{})
	var running sync.WaitGroup
	var mu sync.Mutex
	answers := map[string]int{}
	for range 8 {
		running.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				what := "200"
				if err := p.api.call("GET", "/projects", nil, nil); err != nil {
					what = "no answer"
					if refused, ok := err.(*problem); ok { //nolint:errorlint // never wrapped
						what = strconv.Itoa(refused.Status) + " " + refused.Code
					}
				}
				mu.Lock()
				answers[what]++
				mu.Unlock()
			}
		})
	}
	d := j.begin(t, slowBuild(t, "second"))
	j.reaches(t, d, "building")
	_ = syscall.Kill(postmaster(t, p), syscall.SIGKILL)
	killed := time.Now()
	eventually(t, recovery, "an answer of the database", func() bool { return p.api.call("GET", "/projects", nil, nil) == nil })
	t.Logf("the API answered %s after its database was killed", time.Since(killed).Round(time.Millisecond))
	j.live(t, d)
	j.shows(t, "/", "second")
	close(done)
	running.Wait()
	count, failed := load.end()
	t.Logf("API calls by answer: %v; %d requests to the site, %d failed", answers, count, len(failed))
	for what := range answers {
		if what != "200" && !strings.HasPrefix(what, "503") {
			t.Errorf("a caller of the API got %q", what)
		}
	}
	if len(failed) > 0 {
		t.Errorf("first failures: %v", failed[:min(5, len(failed))])
	}
	j.removedWithoutTrace(t)
}

// postmaster is the first process of the private PostgreSQL.
func postmaster(t *testing.T, p *pandu) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(p.dir, "postgres", "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestDiskFull(t *testing.T) {
	p := newPandu(t, "full")
	if err := syscall.Mount("tmpfs", p.dir, "tmpfs", 0, "size=400m,mode=755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(p.dir, syscall.MNT_DETACH) })
	p.endsWithTest(t)
	p.start(t)
	j := p.project(t, "full")
	j.deploy(t, pages(t, "there is room"))
	fill := filepath.Join(p.dir, "fill")
	f, err := os.Create(fill) //nolint:gosec // our own directory
	if err != nil {
		t.Fatal(err)
	}
	for block := 1 << 20; block >= 4096; block /= 2 {
		for b := make([]byte, block); err == nil; {
			_, err = f.Write(b)
		}
		err = nil
	}
	_ = f.Close()
	noise := make([]byte, 8<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	big := zipped(t, map[string]string{"index.html": "big", "noise.bin": string(noise)})
	refused, _ := p.api.call("POST", "/projects/full/uploads?filename=big.zip", big, nil).(*problem) //nolint:errorlint // never wrapped
	t.Logf("an upload to a full disk gives %v", refused)
	if refused == nil || refused.Status != http.StatusInsufficientStorage && refused.Status != http.StatusServiceUnavailable {
		t.Errorf("an upload to a full disk gives %v", refused)
	}
	j.shows(t, "/", "there is room")
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	eventually(t, recovery, "an upload that works again", func() bool { return j.call("POST", "/projects/full/uploads?filename=big.zip", big, nil) == nil })
	j.deploy(t, pages(t, "room again"))
	j.shows(t, "/", "room again")
}
