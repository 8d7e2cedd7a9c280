package browser

import (
	"archive/zip"
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pandu/tests/engine"
)

// suite is what both flows share.
var suite struct {
	dir   string // everything of this run
	ui    string // the folder whose node_modules the flows use
	panel *pandu
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	say := func(what string, err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, what+":", err)
			code = 1
		}
	}
	dir, err := os.MkdirTemp("", "pandu-browser-")
	if err == nil {
		err = os.Chmod(dir, 0o755) //nolint:gosec // PostgreSQL runs as another user
	}
	if say("make directory", err); code != 0 {
		return code
	}
	defer func() { say("remove directory", os.RemoveAll(dir)) }()
	suite.dir = dir
	e, err := engine.Start(context.Background())
	if say("start docker engine", err); code != 0 {
		return code
	}
	defer func() { say("close docker engine", e.Close()) }()
	if say("prepare", prepare(e.Host)); code != 0 {
		return code
	}
	defer func() { say("end pandu", suite.panel.leave(e.Client)) }()
	if say("start pandu", suite.panel.start()); code != 0 {
		return code
	}
	return m.Run()
}

func prepare(host string) error {
	ui, err := dashboard(suite.dir)
	if err != nil {
		return err
	}
	suite.ui = ui
	binary, err := build(suite.dir, ui)
	if err != nil {
		return err
	}
	if suite.panel, err = newPandu(binary, suite.dir, host); err != nil {
		return err
	}
	return archives()
}

// archives writes what the flows drop: a service whose build takes some seconds, a static page, a program that ends.
func archives() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	web, err := engine.Binary(ctx, engine.WebPackage)
	if err != nil {
		return err
	}
	begin := "FROM scratch\nCOPY program /program\n"
	var steps strings.Builder
	for i := range 12 { // each starts a container, so that there is something to watch; none may come from a cache
		fmt.Fprintf(&steps, "RUN [\"/program\", \"touch\", \"/step-%d-%d\"]\n", time.Now().UnixNano(), i)
	}
	end := "ENTRYPOINT [\"/program\"]\n"
	for name, files := range map[string]map[string]string{
		"first.zip":  {"program": string(web), "Dockerfile": begin + steps.String() + "ENV VERSION=\"The first harbour\"\n" + end},
		"second.zip": {"index.html": "<!doctype html><title>Second</title><h1>The second harbour</h1>"},
		"exits.zip":  {"program": string(web), "Dockerfile": begin + "ENV EXIT_CODE=3 LOG_LINES=5\n" + end},
	} {
		if err := pack(filepath.Join(suite.dir, name), files); err != nil {
			return err
		}
	}
	return nil
}

func pack(file string, files map[string]string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	w := zip.NewWriter(f)
	for name, content := range files {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(0o755)
		entry, err := w.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(entry, content); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return f.Close()
}

// TestDashboard runs the flows one after the other on one panel: the first administrator, then a newcomer.
func TestDashboard(t *testing.T) {
	p := suite.panel
	p.showLogWhenFailed(t)
	link, err := p.command("admin", "setup-link").Output()
	if err != nil {
		t.Fatalf("setup link: %v", err)
	}
	if !t.Run("set up", func(t *testing.T) { play(t, "setup.mjs", "BROWSER_SETUP="+strings.TrimSpace(string(link))) }) {
		t.Fatal("without an administrator nobody can register")
	}
	t.Run("journey", func(t *testing.T) { play(t, "journey.mjs", "BROWSER_PANEL="+p.url(), "BROWSER_ZIPS="+suite.dir) })
}

// play runs a flow and does to the panel what it asks for. Pictures of a failure stay.
func play(t *testing.T, script string, env ...string) {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	shots := filepath.Join(os.TempDir(), "pandu-browser-pictures")
	cmd := exec.CommandContext(ctx, "node", script) //nolint:gosec // our own script
	cmd.Env = append(os.Environ(), append(env, "BROWSER_UI="+suite.ui, "BROWSER_PROGRAM="+chromium, "BROWSER_SHOTS="+shots)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		t.Log(line)
		if what, asked := strings.CutPrefix(line, "ask: "); asked {
			_, _ = fmt.Fprintln(in, obey(what))
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%s: %v", script, err)
	}
}

// obey does what a flow asks for and says how it went.
func obey(what string) string {
	var err error
	switch what {
	case "stop":
		err = suite.panel.stop()
	case "start":
		err = suite.panel.start()
	default:
		err = fmt.Errorf("nobody knows how to %q", what)
	}
	if err != nil {
		return err.Error()
	}
	return "done"
}
