package e2e

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pandu/modules/kit/pgprivate"
)

// fleet is a split installation: processes by role on one database, and one server.
type fleet struct {
	name   string
	dir    string
	common map[string]string
}

// newFleet starts an empty PostgreSQL and prepares what all processes share.
func newFleet(t *testing.T, name string) *fleet {
	t.Helper()
	f := &fleet{name: name, dir: filepath.Join(suite.dir, name)}
	if err := os.MkdirAll(f.dir, 0o755); err != nil { //nolint:gosec // PostgreSQL runs as another user
		t.Fatal(err)
	}
	database := pgprivate.New(filepath.Join(f.dir, "database"), slog.New(slog.DiscardHandler))
	if err := database.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := database.Stop(context.Background()); err != nil {
			t.Errorf("stop database: %v", err)
		}
		endAll(f.dir)
		removeContainers(t)
	})
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	f.common = map[string]string{
		"DATABASE_URL": database.DSN(), "PANDU_MASTER_KEY": base64.StdEncoding.EncodeToString(key), "PANDU_DATA_DIR": f.dir + "/data",
		"PANDU_LOG_LEVEL": "debug", "PANDU_LOG_FORMAT": "text", "PANDU_ADMIN_EMAIL": adminEmail, "PANDU_ADMIN_PASSWORD": adminPassword,
	}
	return f
}

// node prepares a process of a mode, with ports of its own.
func (f *fleet) node(t *testing.T, name, mode string) *pandu {
	t.Helper()
	ports := freePorts(t, 3)
	n := &pandu{name: f.name + "-" + name, dir: f.dir + "/data", panel: ports[0], ops: ports[1], env: map[string]string{
		"WORKER_MODE": mode, "PANDU_PANEL_LISTEN": "127.0.0.1:" + strconv.Itoa(ports[0]), "PANDU_OPS_LISTEN": "127.0.0.1:" + strconv.Itoa(ports[1]),
		"PANDU_AGENTS_LISTEN": "127.0.0.1:" + strconv.Itoa(ports[2]), "PANDU_PEER_ADDRESS": "127.0.0.1:" + strconv.Itoa(ports[2]),
	}}
	for k, v := range f.common {
		n.env[k] = v
	}
	n.showLogWhenFailed(t)
	t.Cleanup(func() {
		if n.proc == nil {
			return
		}
		if err := n.proc.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return n
}

// server starts the agent and the gateway of one server that joins the managers, and returns the gateway.
func (f *fleet) server(t *testing.T, managers ...*pandu) (agent, gateway *pandu) {
	t.Helper()
	token := filepath.Join(f.dir, "join-token")
	env := []string{}
	for k, v := range managers[0].env {
		env = append(env, k+"="+v)
	}
	add := spawn(t, "join-token", filepath.Join(suite.dir, f.name+"-join.log"), env, "admin", "join-token", "--server", "first", "--file", token)
	if err := add.stopped(); err != nil {
		t.Fatalf("%v: %s", err, lastLines(add.log, 5))
	}
	var addresses []string
	for _, m := range managers {
		addresses = append(addresses, m.env["PANDU_AGENTS_LISTEN"])
	}
	ports := freePorts(t, 1)
	shared := map[string]string{
		"PANDU_DATA_DIR": f.dir + "/server", "PANDU_GATEWAY_DIR": f.dir + "/server/gateway", "PANDU_LOG_LEVEL": "debug", "PANDU_LOG_FORMAT": "text",
		"PANDU_GATEWAY_HTTP_LISTEN": ":" + strconv.Itoa(ports[0]),
	}
	gateway = f.node(t, "gateway", "gateway")
	agent = f.node(t, "agent", "agent")
	for _, n := range []*pandu{gateway, agent} {
		n.env = map[string]string{"WORKER_MODE": n.env["WORKER_MODE"], "PANDU_OPS_LISTEN": n.env["PANDU_OPS_LISTEN"]}
		for k, v := range shared {
			n.env[k] = v
		}
		n.gateway = ports[0]
	}
	agent.env["PANDU_AGENT_MANAGERS"] = strings.Join(addresses, ",")
	agent.env["PANDU_AGENT_JOIN_TOKEN_FILE"] = token
	agent.env["PANDU_AGENT_DOCKER_HOST"] = suite.engine.Host
	agent.env["PANDU_AGENT_SUBNET_POOL"] = freeSubnet(t)
	for _, n := range []*pandu{gateway, agent} {
		n.launch(t)
		n.waitReady(t)
	}
	for _, m := range managers {
		m.gateway = ports[0]
	}
	return agent, gateway
}

// stopped waits until the process ends by itself; the error says how it did not end well.
func (p *process) stopped() error {
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		return fmt.Errorf("%s goes on", p.name)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s ended with %d", p.name, code)
	}
	return nil
}

// warnings lists the codes and queues that the API warns of.
func (a *api) warnings(t *testing.T) string {
	t.Helper()
	var system struct {
		Warnings []struct {
			Code       string
			Parameters map[string]string
		}
	}
	a.must(t, "GET", "/system", nil, &system)
	text := ""
	for _, w := range system.Warnings {
		text += w.Code + " " + w.Parameters["queue"] + "\n"
	}
	return text
}

// One node for requests, one for builds, one for everything else.
func TestThreeNodes(t *testing.T) {
	f := newFleet(t, "three")
	manager := f.node(t, "manager", "!")
	manager.start(t)
	f.server(t, manager)
	j := manager.project(t, "three")
	d := j.begin(t, webSite(t, "EXPOSE 8080", "ENV VERSION=split"))
	for _, step := range []struct{ queue, mode string }{{"project:build", "project:build"}, {"project:rollout", "project:rollout,project:remove,audit:seal"}} {
		eventually(t, 20*time.Second, "a warning of "+step.queue, func() bool {
			return strings.Contains(manager.api.warnings(t), "queue_unserved "+step.queue+"\n")
		})
		node := f.node(t, strings.ReplaceAll(strings.Split(step.mode, ",")[0], ":", "-"), step.mode)
		node.launch(t)
		node.waitReady(t)
	}
	j.live(t, d)
	j.shows(t, "/", "split")
	eventually(t, 20*time.Second, "no warning", func() bool { return manager.api.warnings(t) == "" })
	j.deploy(t, pages(t, "pages"))
	j.shows(t, "/", "pages")
	j.removedWithoutTrace(t)
}

// Two for requests and two for jobs, all started at once on an empty database; each is killed while it matters.
func TestTwoAndTwo(t *testing.T) {
	f := newFleet(t, "two")
	managers := []*pandu{f.node(t, "manager-1", "!"), f.node(t, "manager-2", "!")}
	creators := []*pandu{f.node(t, "creator-1", "*"), f.node(t, "creator-2", "*")}
	all := append(append([]*pandu{}, managers...), creators...)
	for _, n := range all {
		n.launch(t)
	}
	for _, n := range all {
		n.waitReady(t)
	}
	for _, m := range managers {
		m.api = signIn(t, m.panel)
	}
	agent, _ := f.server(t, managers...)
	j := managers[0].project(t, "two")
	j.deploy(t, webSite(t, "EXPOSE 8080", "ENV VERSION=v0 LOG_LINES=3"))
	j.shows(t, "/", "v0")

	t.Run("logs at either manager", func(t *testing.T) {
		for _, m := range managers {
			if text := readLogs(t, m.api, j.env("/logs?tail=50&follow=false")); !strings.Contains(text, "line 2") {
				t.Errorf("%s gives the log %q", m.name, text)
			}
		}
	})
	version := 0
	killing := func(name string, victim *pandu, at func(t *testing.T, d deployment)) {
		t.Run(name, func(t *testing.T) {
			version++
			text := fmt.Sprintf("v%d", version)
			through := managers[0]
			if victim == through {
				through = managers[1]
			}
			k := &project{through.api, through, "two"}
			d := k.begin(t, zipped(t, map[string]string{"program": program, "Dockerfile": dockerfile("EXPOSE 8080", "ENV START_DELAY=1s VERSION="+text)}))
			at(t, d)
			victim.proc.kill()
			killed := time.Now()
			d = k.until(t, d, recovery, "over", deployment.final)
			t.Logf("%s %s after %s was killed", d.State, time.Since(killed).Round(time.Millisecond), victim.name)
			if took := time.Since(killed); d.State != "live" || took > 30*time.Second {
				t.Errorf("%s after %s: %+v", d.State, took, d.Error)
			}
			k.shows(t, "/", text)
			victim.launch(t)
			victim.waitReady(t)
		})
	}
	for _, c := range creators {
		killing("kill "+c.name+" when queued", c, func(*testing.T, deployment) {})
		killing("kill "+c.name+" when releasing", c, func(t *testing.T, d deployment) {
			t.Helper()
			j.until(t, d, recovery, "releasing", func(d deployment) bool { return d.State == "releasing" })
		})
	}
	for i, m := range managers {
		other := &project{managers[1-i].api, managers[1-i], "two"}
		killing("kill "+m.name+" when releasing", m, func(t *testing.T, d deployment) {
			t.Helper()
			other.until(t, d, recovery, "releasing", func(d deployment) bool { return d.State == "releasing" })
		})
	}
	for _, state := range []string{"building", "releasing"} {
		t.Run("kill the agent when "+state, func(t *testing.T) {
			d := j.reaches(t, j.begin(t, webSite(t, "EXPOSE 8080", "ENV START_DELAY=1s VERSION=agent-"+state)), state)
			agent.proc.kill()
			killed := time.Now()
			agent.launch(t)
			agent.waitReady(t)
			d = j.until(t, d, recovery, "over", deployment.final)
			t.Logf("%s %s after the agent was killed: %+v", d.State, time.Since(killed).Round(time.Millisecond), d.Error)
			if d.State == "live" {
				j.shows(t, "/", "agent-"+state)
			}
		})
	}
	eventually(t, recovery, "one container", func() bool { return len(leftovers(t)["containers"]) == 1 })
	j.removedWithoutTrace(t)
}

// readLogs reads the lines that an event stream gives within five seconds.
func readLogs(t *testing.T, a *api, path string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := a.client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	var text strings.Builder
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		text.WriteString(lines.Text() + "\n")
		if strings.HasPrefix(lines.Text(), "event: end") {
			break
		}
	}
	return text.String()
}
