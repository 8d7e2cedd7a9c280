package cli

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const deployment = `{"id":"d1","number":1,"kind":"deploy","project":{"id":"p1","slug":"hello"},"environment":{"id":"e1","slug":"production"},
	"created_at":"2026-05-04T11:59:00Z","services":[{"name":"web","wanted":2,"ready":1,"message":"starting"}],"urls":["http://hello.localhost"],`

// deploying are the answers around one deployment that ends as given.
func deploying(end string) map[string]string {
	answers := maps.Clone(recorded)
	answers["GET /projects/hello"] = `{"slug":"hello","id":"p1"}`
	answers["POST /projects/hello/uploads"] = `{"id":"u1","detected":{"kind":"compose","services":["web","db"],"notes":[{"location":"compose.yaml:5","code":"n","message":"Port 5432 stays inside."}],"problems":[]}}`
	answers["POST "+at+"/deployments"] = deployment + `"state":"queued","timeline":[{"state":"queued"}]}`
	answers["GET /changes"] = "event: change\ndata: {\"kind\":\"deployment\",\"id\":\"d1\"}\n\nevent: end\ndata: {}\n\n"
	answers["GET /deployments/d1/log"] = "id: 1\nevent: line\ndata: {\"text\":\"#1 COPY app\"}\n\nevent: end\ndata: {}\n\n"
	answers["GET /deployments/d1"] = deployment + end
	return answers
}

const (
	endedLive   = `"state":"live","finished_at":"2026-05-04T11:59:02Z","timeline":[{"state":"queued"},{"state":"building"},{"state":"releasing"},{"state":"live"}]}`
	endedFailed = `"state":"failed","retryable":true,"release":{"id":"r1","number":1},"error":{"code":"x","service":"web","message":"The program ended with status 3","last_lines":["\u001b[31mfatal\u001b[0m","bye\u0007"]},"timeline":[{"state":"queued"},{"state":"failed"}]}`
)

func folder(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "site")
	write(t, dir, "compose.yaml", "services: {}")
	return dir
}

func TestDeployEndsWithTheURL(t *testing.T) {
	m := newMachine(t)
	asked := m.replay(deploying(endedLive))
	r := m.run("", "deploy", folder(t))
	if r.status != 0 || r.out != "http://hello.localhost\n" {
		t.Fatalf("status %d:\n%s", r.status, r.text())
	}
	for _, want := range []string{"Found a compose file with the services web, db.", "Note: compose.yaml:5: Port 5432 stays inside.", "Deployment 1 of hello is queued", "| #1 COPY app", "Live after 2s."} {
		if !strings.Contains(r.err, want) {
			t.Errorf("it does not say %q:\n%s", want, r.err)
		}
	}
	if !slices.Contains(*asked, `POST `+at+`/deployments {"upload_id":"u1"}`) {
		t.Errorf("asked %q", *asked)
	}
}

func TestDeployOfAnImageMakesTheProject(t *testing.T) {
	m := newMachine(t)
	answers := deploying(endedLive)
	delete(answers, "GET /projects/hello")
	answers["POST /projects"] = `{"slug":"hello"}`
	asked := m.replay(answers)
	r := m.run("", "deploy", "--image", "nginx:1", "--json")
	if r.status != 0 || !strings.Contains(r.out, `"state": "live"`) || r.err != "" {
		t.Fatalf("status %d:\n%s", r.status, r.text())
	}
	if !slices.Contains(*asked, `POST /projects {"name":"hello","slug":"hello"}`) || !slices.Contains(*asked, `POST `+at+`/deployments {"image":"nginx:1"}`) {
		t.Errorf("asked %q", *asked)
	}
}

func TestDeployThatFails(t *testing.T) {
	m := newMachine(t)
	m.replay(deploying(endedFailed))
	r := m.run("", "deploy", folder(t))
	want := "Deployment 1 of hello failed. web: The program ended with status 3.\n  | fatal\n  | bye\\x07\nTry it again: pandu retry 1 --project hello"
	if r.status != exitFailed || r.out != "" || r.failure.Error() != want {
		t.Errorf("status %d:\n%s", r.status, r.text())
	}
}

// The log of a build that failed is on the screen already: its last lines are not repeated.
func TestDeployWhoseBuildFails(t *testing.T) {
	m := newMachine(t)
	m.replay(deploying(strings.Replace(endedFailed, `"release":{"id":"r1","number":1},`, "", 1)))
	r := m.run("", "deploy", folder(t))
	want := "Deployment 1 of hello failed. web: The program ended with status 3.\nTry it again: pandu retry 1 --project hello"
	if r.status != exitFailed || r.failure.Error() != want || !strings.Contains(r.err, "| #1 COPY app") {
		t.Errorf("status %d:\n%s", r.status, r.text())
	}
}

func TestDeployThatIsRefused(t *testing.T) {
	m := newMachine(t)
	answers := deploying(endedLive)
	answers["POST /projects/hello/uploads"] = `{"id":"u1","detected":{"kind":"none","problems":[{"location":"compose.yaml:5","code":"c","message":"privileged is not allowed."},{"location":"","code":"d","message":"Nothing to run."}]}}`
	asked := m.replay(answers)
	r := m.run("", "deploy", folder(t))
	if r.status != exitRefused || r.failure.Error() != "This cannot be deployed:\ncompose.yaml:5: privileged is not allowed.\nNothing to run." {
		t.Errorf("status %d:\n%s", r.status, r.text())
	}
	if slices.ContainsFunc(*asked, func(s string) bool { return strings.HasPrefix(s, "POST "+at) }) {
		t.Errorf("it was deployed: %q", *asked)
	}
}

func TestDeployDetachedAndNotStarted(t *testing.T) {
	m := newMachine(t)
	asked := m.replay(deploying(endedLive))
	if r := m.run("", "deploy", folder(t), "--detach"); r.status != 0 || r.out != "" || !strings.Contains(r.err, "Deployment 1 of hello is under way") {
		t.Errorf("status %d:\n%s", r.status, r.text())
	}
	*asked = nil
	r := m.run("", "deploy", folder(t), "--no-start")
	if r.status != 0 || r.out != "u1\n" || slices.ContainsFunc(*asked, func(s string) bool { return strings.HasPrefix(s, "POST "+at) }) {
		t.Errorf("status %d, asked %q:\n%s", r.status, *asked, r.text())
	}
}

func TestDeployRefusesBeforeItAsksAnybody(t *testing.T) {
	junk := filepath.Join(t.TempDir(), "a.zip")
	if err := os.WriteFile(junk, []byte("no archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	linked := folder(t)
	if err := os.Symlink("/etc/passwd", filepath.Join(linked, "x")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   []string
		status int
	}{
		{[]string{junk}, exitRefused}, {[]string{linked}, exitRefused}, {[]string{t.TempDir()}, exitRefused}, {[]string{"/does/not/exist"}, exitUsage},
		{[]string{"--image", "a", "b"}, exitUsage}, {[]string{"--image", "a", "--no-start"}, exitUsage}, {[]string{"a", "b"}, exitUsage}, {[]string{"--bogus"}, exitUsage},
	} {
		m := newMachine(t)
		asked := m.replay(deploying(endedLive))
		if r := m.run("", append([]string{"deploy"}, c.args...)...); r.status != c.status || len(*asked) != 0 {
			t.Errorf("%q: status %d, asked %q:\n%s", c.args, r.status, *asked, r.text())
		}
	}
}

func TestProjectIsNamedLikeWhatIsDeployed(t *testing.T) {
	for path, want := range map[string]string{"/srv/My Site": "my-site", "/srv/shop.ZIP": "shop", "/srv/shop.tar.gz": "shop", "/srv/shop.tgz": "shop"} {
		s := session{guessed: true}
		if s.nameAfter(path); s.project != want {
			t.Errorf("%s is %s", path, s.project)
		}
	}
	s := session{project: "said"}
	if s.nameAfter("/srv/other"); s.project != "said" {
		t.Errorf("a name that was said is now %s", s.project)
	}
}

func TestStopPrintsNoAddress(t *testing.T) {
	m := newMachine(t)
	answers := deploying(strings.Replace(endedLive, `"state"`, `"kind":"stop","state"`, 1))
	answers["POST "+at+"/stop"] = deployment + `"state":"releasing","timeline":[]}`
	m.replay(answers)
	if r := m.run("", "stop"); r.status != 0 || r.out != "" || !strings.Contains(r.err, "Stopped") {
		t.Errorf("status %d:\n%s", r.status, r.text())
	}
}
