package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A newcomer's first hour with one site, each scenario on the state the one before it left.
func TestHello(t *testing.T) {
	p := shared(t)
	j := p.project(t, "hello")
	t.Run("zip to URL", func(t *testing.T) {
		began := time.Now()
		d := j.deploy(t, pages(t, "page one"))
		t.Logf("zip to live in %s", time.Since(began).Round(time.Millisecond))
		if !slices.Contains(d.URLs, fmt.Sprintf("http://hello.localhost:%d", p.gateway)) {
			t.Errorf("URLs are %v", d.URLs)
		}
		j.shows(t, "/", "page one")
	})
	t.Run("changed page", func(t *testing.T) {
		j.deploy(t, pages(t, "page two"))
		j.shows(t, "/", "page two")
	})
	t.Run("rollback", func(t *testing.T) {
		var releases page[struct {
			ID      string
			Current bool
		}]
		j.must(t, "GET", j.env("/releases"), nil, &releases)
		if len(releases.Items) != 2 || !releases.Items[0].Current {
			t.Fatalf("releases are %+v", releases.Items)
		}
		d := j.post(t, "/deployments", map[string]string{"release_id": releases.Items[1].ID})
		if d.Kind != "rollback" {
			t.Errorf("kind is %s", d.Kind)
		}
		j.shows(t, "/", "page one")
	})
	t.Run("scale", func(t *testing.T) {
		for _, n := range []int{3, 0, 1} {
			j.patch(t, "/services/web", map[string]int{"replicas": n})
			eventually(t, 20*time.Second, fmt.Sprintf("%d containers", n), func() bool { return len(j.containers(t)["web"]) == n })
			status, _ := answer(p.site("hello", "/"))
			if want := map[bool]int{true: 200, false: 503}[n > 0]; status != want {
				t.Errorf("with %d instances the site answers %d", n, status)
			}
		}
	})
	t.Run("stop and start", func(t *testing.T) {
		j.post(t, "/stop", nil)
		if status, body := answer(p.site("hello", "/")); status != 503 || body == "" {
			t.Errorf("a stopped site answers %d %q", status, body)
		}
		eventually(t, 20*time.Second, "no container", func() bool { return len(j.containers(t)) == 0 })
		j.post(t, "/start", nil)
		j.shows(t, "/", "page one")
	})
	t.Run("restart", func(t *testing.T) {
		before := j.containers(t)["web"]
		j.post(t, "/restart", nil)
		eventually(t, 20*time.Second, "another container", func() bool {
			now := j.containers(t)["web"]
			return len(now) == 1 && !slices.Equal(now, before)
		})
		j.shows(t, "/", "page one")
	})
	t.Run("unknown host", func(t *testing.T) {
		if status, _ := answer(p.site("nobody", "/")); status != http.StatusMisdirectedRequest {
			t.Errorf("an unknown host answers %d", status)
		}
	})
	t.Run("custom domain", func(t *testing.T) {
		var domain struct{ ID string }
		j.must(t, "POST", j.env("/domains"), map[string]string{"hostname": "www.example.org"}, &domain)
		at := fmt.Sprintf("http://www.example.org:%d/", p.gateway)
		eventually(t, 10*time.Second, "the further hostname", func() bool { status, _ := answer(at); return status == 200 })
		j.must(t, "DELETE", j.env("/domains/"+domain.ID), nil, nil)
		eventually(t, 10*time.Second, "421 at the removed hostname", func() bool { status, _ := answer(at); return status == 421 })
	})
	t.Run("own port", func(t *testing.T) {
		j.must(t, "PATCH", j.env(""), map[string]bool{"own_port": true}, nil)
		var e struct {
			OwnPort int `json:"own_port"`
		}
		j.must(t, "GET", j.env(""), nil, &e)
		if e.OwnPort == 0 {
			t.Fatal("the environment has no port of its own")
		}
		at := fmt.Sprintf("http://127.0.0.1:%d/", e.OwnPort)
		eventually(t, 10*time.Second, "the site at its own port", func() bool { status, body := answer(at); return status == 200 && strings.Contains(body, "page one") })
		j.must(t, "PATCH", j.env(""), map[string]bool{"own_port": false}, nil)
		eventually(t, 10*time.Second, "nobody at the port", func() bool { status, _ := answer(at); return status == 0 })
	})
	t.Run("delete", func(t *testing.T) { j.removedWithoutTrace(t) })
}

// 200 requests a second while twenty deployments follow each other: not one may fail.
func TestNoFailedRequest(t *testing.T) {
	p := shared(t)
	j := p.project(t, "busy")
	j.deploy(t, pages(t, "release 0"))
	j.shows(t, "/", "release 0")
	load := besiege(p.site("busy", "/"), 200)
	var took []time.Duration
	for n := range 20 {
		began := time.Now()
		j.deploy(t, pages(t, fmt.Sprintf("release %d", n+1)))
		took = append(took, time.Since(began))
	}
	count, failed := load.end()
	slices.Sort(took)
	t.Logf("%d requests, %d failed, during 20 deployments; a deployment took %s (median), %s (longest)", count, len(failed),
		took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
	if len(failed) > 0 {
		t.Errorf("first failures: %v", failed[:min(5, len(failed))])
	}
	if count < 200 {
		t.Errorf("only %d requests", count)
	}
	j.shows(t, "/", "release 20")
	j.removedWithoutTrace(t)
}

func TestVariables(t *testing.T) {
	p := shared(t)
	j := p.project(t, "greeter")
	j.deploy(t, webSite(t, "EXPOSE 8080"))
	set := func(value string) deployment {
		return j.patch(t, "/variables", map[string]any{"apply": true, "set": []map[string]any{{"name": "GREETING", "value": value}}})
	}
	first := set("good morning")
	j.shows(t, "/env?name=GREETING", "good morning")
	second := set("good evening")
	j.shows(t, "/env?name=GREETING", "good evening")
	if first.Release == nil || second.Release == nil || first.Release.ID == second.Release.ID {
		t.Errorf("the releases are %+v and %+v", first.Release, second.Release)
	}
	j.patch(t, "/variables", map[string]any{"apply": true, "unset": []string{"GREETING"}})
	if _, body := answer(p.site("greeter", "/env?name=GREETING")); body != "" {
		t.Errorf("an unset variable is still %q", body)
	}
	j.removedWithoutTrace(t)
}

// removedWithoutTrace deletes the project and looks for what it may have left.
func (j *project) removedWithoutTrace(t *testing.T) {
	t.Helper()
	began := time.Now()
	j.remove(t, "")
	t.Logf("deleted in %s", time.Since(began).Round(time.Millisecond))
	j.withoutTrace(t)
}

// withoutTrace looks for what a deleted project may have left.
func (j *project) withoutTrace(t *testing.T) {
	t.Helper()
	if status, _ := answer(j.p.site(j.slug, "/")); status != http.StatusMisdirectedRequest {
		t.Errorf("the site of a deleted project answers %d", status)
	}
	var left map[string][]string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		left = leftovers(t)
		images := left["images"]
		delete(left, "images")
		if len(left) == 0 {
			// An image that another release or project named may wait for the agent's delay, and a file for the sweep.
			if files := j.p.files(); len(images)+len(files) > 0 {
				t.Logf("still there for a while: images %v, files %v", images, files)
			}
			break
		}
	}
	if len(left) > 0 {
		t.Errorf("the engine still has %v", left)
	}
}

// siege asks again and again.
type siege struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
	mu      sync.Mutex
	count   int
	failed  []string
}

// besiege begins perSecond requests each second, whether the earlier ones are answered or not.
func besiege(url string, perSecond int) *siege {
	ctx, cancel := context.WithCancel(context.Background())
	s := &siege{cancel: cancel}
	s.running.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				s.running.Go(func() { s.ask(url) })
			}
		}
	})
	return s
}

func (s *siege) ask(url string) {
	began := time.Now()
	why := ""
	r, err := visitor.Get(url) //nolint:noctx // bounded by the client
	switch {
	case err != nil:
		why = err.Error()
	case r.StatusCode != http.StatusOK:
		b, _ := io.ReadAll(io.LimitReader(r.Body, 200))
		why = fmt.Sprintf("%d %q", r.StatusCode, b)
	}
	if err == nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	if why != "" {
		s.failed = append(s.failed, fmt.Sprintf("%s after %s: %s", began.Format("15:04:05.000"), time.Since(began).Round(time.Millisecond), why))
	}
}

// end stops asking and says how many requests there were, and which failed.
func (s *siege) end() (count int, failed []string) {
	s.cancel()
	s.running.Wait()
	return s.count, s.failed
}

// asked is how many requests were answered, or not, until now.
func (s *siege) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}
