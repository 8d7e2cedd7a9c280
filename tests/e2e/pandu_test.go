package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

const (
	adminEmail    = "admin@example.org"
	adminPassword = "correct-horse-battery"
	readyWithin   = 60 * time.Second
)

// pandu is one installation in the empty mode, or one process of a split one: its settings, and its present process.
type pandu struct {
	name    string
	dir     string // its data directory
	env     map[string]string
	gateway int // port of the sites
	panel   int
	ops     int
	proc    *process
	api     *api
}

// newPandu prepares an installation with ports and a directory of its own. It ends with the test run.
func newPandu(t *testing.T, name string) *pandu {
	t.Helper()
	ports := freePorts(t, 6)
	p := &pandu{name: name, dir: filepath.Join(suite.dir, name), gateway: ports[0], panel: ports[1], ops: ports[2]}
	if err := os.MkdirAll(p.dir, 0o755); err != nil { //nolint:gosec // PostgreSQL runs as another user
		t.Fatal(err)
	}
	p.env = map[string]string{
		"PANDU_DATA_DIR": p.dir + "/", "PANDU_AGENT_DOCKER_HOST": suite.engine.Host, "PANDU_AGENT_SUBNET_POOL": freeSubnet(t),
		"PANDU_GATEWAY_HTTP_LISTEN": ":" + strconv.Itoa(p.gateway), "PANDU_GATEWAY_PROJECT_PORTS": fmt.Sprintf("%d-%d", ports[4], ports[4]),
		"PANDU_PANEL_LISTEN": "127.0.0.1:" + strconv.Itoa(p.panel), "PANDU_AGENTS_LISTEN": "127.0.0.1:" + strconv.Itoa(ports[3]),
		"PANDU_OPS_LISTEN": "127.0.0.1:" + strconv.Itoa(p.ops), "PANDU_LOG_LEVEL": "debug", "PANDU_LOG_FORMAT": "text",
		"PANDU_ADMIN_EMAIL": adminEmail, "PANDU_ADMIN_PASSWORD": adminPassword,
	}
	return p
}

func (p *pandu) log() string { return filepath.Join(suite.dir, p.name+".log") }

// launch starts the process and does not wait for it.
func (p *pandu) launch(t *testing.T) {
	t.Helper()
	env := make([]string, 0, len(p.env))
	for _, k := range slices.Sorted(maps.Keys(p.env)) {
		env = append(env, k+"="+p.env[k])
	}
	p.proc = spawn(t, p.name, p.log(), env, "serve")
}

// start starts the process, waits until it is ready, and signs in when it serves requests and nobody has.
func (p *pandu) start(t *testing.T) {
	t.Helper()
	p.launch(t)
	p.waitReady(t)
	if p.api == nil {
		p.api = signIn(t, p.panel)
	}
}

func (p *pandu) waitReady(t *testing.T) {
	t.Helper()
	began := time.Now()
	for {
		if status, _ := answer(fmt.Sprintf("http://127.0.0.1:%d/readyz", p.ops)); status == 200 {
			t.Logf("%s is ready after %s", p.name, time.Since(began).Round(time.Millisecond))
			return
		}
		if p.proc.ended() || time.Since(began) > readyWithin {
			t.Fatalf("%s is not ready after %s:\n%s", p.name, time.Since(began), lastLines(p.log(), 30))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// endsWithTest ends everything of this installation with the test; its containers go too.
func (p *pandu) endsWithTest(t *testing.T) {
	t.Helper()
	p.showLogWhenFailed(t)
	t.Cleanup(func() {
		if p.proc != nil {
			if err := p.proc.stop(); err != nil {
				t.Errorf("stop: %v", err)
			}
		}
		endAll(p.dir)
		removeContainers(t)
	})
}

func (p *pandu) showLogWhenFailed(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the log of %s:\n%s", p.name, lastLines(p.log(), 60))
		}
	})
}

// site is the URL of a path of a site, at the gateway.
func (p *pandu) site(slug, path string) string {
	return fmt.Sprintf("http://%s.localhost:%d%s", slug, p.gateway, path)
}

// signal sends a signal to the gateway that the agent started: the one process of ours that runs in its own session and
// holds the gateway's port.
func (p *pandu) gatewayPID(t *testing.T) int {
	t.Helper()
	for _, pid := range of(p.dir) {
		environment, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
		line, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		if containsAll(string(environment)+string(line), "WORKER_MODE=gateway") {
			return pid
		}
	}
	t.Fatal("no gateway runs")
	return 0
}

// files lists the archives, logs and image layers in the data directory.
func (p *pandu) files() []string {
	var files []string
	for _, dir := range []string{"storage/objects", "storage/receiving"} {
		_ = filepath.WalkDir(filepath.Join(p.dir, dir), func(path string, d os.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				files = append(files, path)
			}
			return nil
		})
	}
	return files
}
