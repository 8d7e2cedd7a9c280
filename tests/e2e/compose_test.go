package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// stack is a compose file with five services: a database on a volume, a task that waits for it, two that wait for the
// task, and one on its own. version goes to the web service only.
func stack(t *testing.T, version string) []byte {
	t.Helper()
	return zipped(t, map[string]string{"Dockerfile": dockerfile(), "program": program, "compose.yaml": `
services:
  web:
    build: .
    ports: ["8080:8080"]
    environment: {VERSION: "` + version + `"}
    depends_on:
      migrate: {condition: service_completed_successfully}
  worker:
    build: .
    environment: {NEVER_LISTEN: "1"}
    depends_on:
      migrate: {condition: service_completed_successfully}
  migrate:
    build: .
    command: ["exit", "0"]
    depends_on:
      db: {condition: service_healthy}
  db:
    build: .
    volumes: ["data:/tmp"]
    healthcheck:
      test: ["CMD", "/program", "check", "http://127.0.0.1:8080/"]
      interval: 1s
    stop_grace_period: 2s
  cache:
    build: .
    expose: ["8080"]
volumes:
  data:
`})
}

func TestFiveServices(t *testing.T) {
	p := shared(t)
	j := p.project(t, "stack")
	began := time.Now()
	j.deploy(t, stack(t, "first"))
	t.Logf("five services from one build live in %s", time.Since(began).Round(time.Millisecond))
	j.shows(t, "/", "first")
	if _, body := answer(p.site("stack", "/lookup?name=db")); !strings.HasPrefix(body, "10.") {
		t.Errorf("db resolves to %q", body)
	}
	before := j.containers(t)
	t.Run("an update of one service keeps the others", func(t *testing.T) {
		j.deploy(t, stack(t, "second"))
		j.shows(t, "/", "second")
		now := j.containers(t)
		for _, service := range []string{"worker", "db", "cache"} {
			if len(now[service]) != 1 || !slices.Equal(now[service], before[service]) {
				t.Errorf("%s has the containers %v, before %v", service, now[service], before[service])
			}
		}
		if slices.Equal(now["web"], before["web"]) {
			t.Error("web kept its container")
		}
	})
	t.Run("delete", func(t *testing.T) {
		ask := j.refused(t, "volumes_ask", "DELETE", "/projects/stack", nil)
		if ask.Status != http.StatusConflict {
			t.Errorf("deleting volumes without a word gives %d", ask.Status)
		}
		j.remove(t, "delete")
		j.withoutTrace(t)
	})
}

// keeper is one service that writes to a volume.
func keeper(t *testing.T, settings ...string) []byte {
	t.Helper()
	return zipped(t, map[string]string{"Dockerfile": dockerfile(settings...), "program": program, "compose.yaml": `
services:
  web:
    build: .
    ports: ["8080"]
    volumes: ["data:/tmp"]
    stop_grace_period: 2s
volumes:
  data:
`})
}

func TestVolume(t *testing.T) {
	p := shared(t)
	j := p.project(t, "keeper")
	j.deploy(t, keeper(t, "ENV VERSION=one"))
	j.shows(t, "/", "one")
	r, err := visitor.Post(p.site("keeper", "/file?path=/tmp/note"), "text/plain", strings.NewReader("remember me")) //nolint:noctx // bounded by the client
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
	before := j.containers(t)["web"]
	j.deploy(t, keeper(t, "ENV VERSION=two"))
	j.shows(t, "/", "two")
	j.shows(t, "/file?path=/tmp/note", "remember me")
	if now := j.containers(t)["web"]; len(now) != 1 || slices.Equal(now, before) {
		t.Errorf("containers are %v, before %v", now, before)
	}
	t.Run("a failed gate goes back", func(t *testing.T) {
		j.patch(t, "/services/web", map[string]any{"health": map[string]string{"kind": "tcp", "gate": "3s"}})
		d := j.expect(t, j.begin(t, keeper(t, "ENV EXIT_CODE=7 VERSION=three")), "failed")
		t.Logf("the reason: %+v", *d.Error)
		j.shows(t, "/", "two")
		j.shows(t, "/file?path=/tmp/note", "remember me")
	})
	t.Run("delete keeping the volume", func(t *testing.T) {
		j.remove(t, "keep")
		left := leftovers(t)
		if len(left["volumes"]) != 1 || len(left["containers"])+len(left["networks"]) > 0 {
			t.Errorf("the engine has %v", left)
		}
		suite.kept = left["volumes"] // for good: the server goes on holding it
	})
}

// Each way in which a new release can be bad: the old one goes on serving, and the reason is told.
func TestFailedGates(t *testing.T) {
	p := shared(t)
	j := p.project(t, "gates")
	j.deploy(t, webSite(t, "EXPOSE 8080", "ENV VERSION=good"))
	j.patch(t, "/services/web", map[string]any{"health": map[string]string{"kind": "tcp", "gate": "2s"}})
	j.shows(t, "/", "good")
	for name, c := range map[string]struct {
		settings []string
		says     string // in the error's message
		line     string // among the last lines
	}{
		"ends at once":      {[]string{"EXPOSE 8080", "ENV EXIT_CODE=7 LOG_LINES=3"}, "7", "ending with 7"},
		"never listens":     {[]string{"EXPOSE 8080", "ENV NEVER_LISTEN=1 LOG_LINES=3"}, "does not listen", "line 2"},
		"listens locally":   {[]string{"EXPOSE 8080", "ENV LISTEN=127.0.0.1"}, "127.0.0.1", "listening on 127.0.0.1:8080"},
		"listens elsewhere": {[]string{"EXPOSE 8080", "ENV PORT=9999"}, "9999", "listening on [::]:9999"},
	} {
		t.Run(name, func(t *testing.T) {
			d := j.expect(t, j.begin(t, webSite(t, c.settings...)), "failed")
			if d.Error == nil || d.Error.Service != "web" || !strings.Contains(d.Error.Message, c.says) {
				t.Fatalf("the error is %+v", d.Error)
			}
			if !slices.ContainsFunc(d.Error.LastLines, func(l string) bool { return strings.Contains(l, c.line) }) {
				t.Errorf("the last lines are %q", d.Error.LastLines)
			}
			j.shows(t, "/", "good")
		})
	}
	eventually(t, 20*time.Second, "one container", func() bool { return len(j.containers(t)["web"]) == 1 })
	j.removedWithoutTrace(t)
}

func TestBuildFailure(t *testing.T) {
	p := shared(t)
	j := p.project(t, "broken")
	d := j.expect(t, j.begin(t, zipped(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY missing /missing\n"})), "failed")
	t.Logf("the reason: %+v", *d.Error)
	if !strings.Contains(d.Error.Message+strings.Join(d.Error.LastLines, "\n"), "missing") {
		t.Errorf("the error does not name the file: %+v", d.Error)
	}
	j.removedWithoutTrace(t)
}

// hanging is a build that does not end by itself.
func hanging(t *testing.T) []byte {
	t.Helper()
	return zipped(t, map[string]string{"program": program, "Dockerfile": "FROM scratch\nCOPY program /program\nENV NEVER_LISTEN=1\nRUN [\"/program\"]\n"})
}

func TestCancel(t *testing.T) {
	p := shared(t)
	j := p.project(t, "cancel")
	j.deploy(t, pages(t, "kept"))
	cancel := func(t *testing.T, d deployment) {
		t.Helper()
		began := time.Now()
		j.must(t, "POST", "/deployments/"+d.ID+"/cancel", nil, nil)
		j.expect(t, d, "cancelled")
		t.Logf("cancelled in %s", time.Since(began).Round(time.Millisecond))
		j.shows(t, "/", "kept")
		eventually(t, 20*time.Second, "one container", func() bool { return len(j.containers(t)["web"]) == 1 })
	}
	t.Run("at once", func(t *testing.T) { cancel(t, j.begin(t, hanging(t))) })
	t.Run("building", func(t *testing.T) {
		d := j.reaches(t, j.begin(t, hanging(t)), "building")
		j.until(t, d, 20*time.Second, "building with a step under way", func(d deployment) bool { return len(d.Builds) > 0 && d.Builds[0].State == "progress" })
		cancel(t, d)
	})
	t.Run("releasing", func(t *testing.T) {
		cancel(t, j.reaches(t, j.begin(t, webSite(t, "EXPOSE 8080", "ENV START_DELAY=1h")), "releasing"))
	})
	t.Run("live cannot be cancelled", func(t *testing.T) {
		d := j.deploy(t, pages(t, "kept"))
		if p, ok := j.call("POST", "/deployments/"+d.ID+"/cancel", nil, nil).(*problem); !ok || p.Status != http.StatusConflict { //nolint:errorlint // never wrapped
			t.Errorf("cancelling what is live gives %v", p)
		}
	})
	eventually(t, 20*time.Second, "no process of a cancelled build", func() bool { return len(runningPrograms()) == 0 })
	j.removedWithoutTrace(t)
}

func TestTwoDeploymentsAtOnce(t *testing.T) {
	p := shared(t)
	j := p.project(t, "twice")
	older := j.upload(t, webSite(t, "EXPOSE 8080", "ENV START_DELAY=2s VERSION=older"))
	newer := j.upload(t, pages(t, "newer"))
	first := j.deployUpload(t, older)
	second := j.deployUpload(t, newer)
	j.live(t, second)
	j.expect(t, first, "superseded")
	j.shows(t, "/", "newer")
	j.removedWithoutTrace(t)
}

func TestRefusedCompose(t *testing.T) {
	p := shared(t)
	j := p.project(t, "refused")
	for key, line := range map[string]string{
		"privileged":   "privileged: true",
		"host network": "network_mode: host",
		"docker.sock":  "volumes: [\"/var/run/docker.sock:/var/run/docker.sock\"]",
		"capability":   "cap_add: [SYS_ADMIN]",
		"pid":          "pid: host",
		"device":       "devices: [\"/dev/sda\"]",
		"unknown":      "replicaz: 3",
	} {
		t.Run(key, func(t *testing.T) {
			u := j.upload(t, zipped(t, map[string]string{"compose.yaml": "services:\n  web:\n    image: x\n    " + line + "\n"}))
			if len(u.Detected.Problems) != 1 || u.Detected.Problems[0].Location != "compose.yaml:4" {
				t.Fatalf("problems are %+v", u.Detected.Problems)
			}
			refused := j.refused(t, "compose_refused", "POST", j.env("/deployments"), map[string]string{"upload_id": u.ID})
			if refused.Status != 422 || len(refused.Errors) != 1 || refused.Errors[0].Location != "compose.yaml:4" {
				t.Errorf("refused with %+v", refused)
			}
		})
	}
	j.removedWithoutTrace(t)
}
