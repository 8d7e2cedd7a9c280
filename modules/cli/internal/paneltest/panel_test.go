// Package paneltest runs the client commands against a real panel: the program's own doors, rules and PostgreSQL, without
// workers and servers. What needs a Docker Engine is tested end to end.
package paneltest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"pandu/app"
	"pandu/config"
	"pandu/migrations"
	"pandu/modules/cli"
	"pandu/modules/kit/pgtest"
)

const (
	email    = "jo@example.com"
	password = "correct-horse-battery"
)

func TestMain(m *testing.M) {
	pgtest.Main(m, func(ctx context.Context, dsn string) error {
		return migrations.Up(ctx, dsn, slog.New(slog.DiscardHandler))
	}, migrations.Hash())
}

// panel is a running panel and a person's machine beside it.
type panel struct {
	t   *testing.T
	url string
	env map[string]string
}

func start(t *testing.T) *panel {
	t.Helper()
	ports := free(t, 3)
	cfg, err := config.Load(config.Machine{Hostname: "harbour", Environ: []string{
		"WORKER_MODE=!", "DATABASE_URL=" + pgtest.DSN(t), "PANDU_DATA_DIR=" + t.TempDir(), "PANDU_MASTER_KEY=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
		"PANDU_PANEL_LISTEN=" + ports[0], "PANDU_AGENTS_LISTEN=" + ports[1], "PANDU_OPS_LISTEN=" + ports[2], "PANDU_PUBLIC_URL=http://" + ports[0],
		"PANDU_ADMIN_EMAIL=" + email, "PANDU_ADMIN_PASSWORD=" + password, "PANDU_DRAIN_TIMEOUT=10s", "PANDU_DRAIN_DELAY=0s",
	}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := app.New(cfg, app.Options{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the panel ended with: %v", err)
		}
	})
	select {
	case <-p.Up():
	case err := <-ended:
		ended <- nil
		t.Fatalf("the panel ended at its start: %v", err)
	}
	return &panel{t: t, url: "http://" + ports[0], env: map[string]string{"XDG_CONFIG_HOME": t.TempDir()}}
}

// free finds ports that nobody has now.
func free(t *testing.T, n int) []string {
	t.Helper()
	var list []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		list = append(list, l.Addr().String())
	}
	return list
}

// run runs a command line; it fails the test unless the exit status is the wanted one. It returns both outputs.
func (p *panel) run(status int, stdin string, args ...string) (string, string) {
	p.t.Helper()
	root := &cobra.Command{Use: "pandu", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(cli.Commands(cli.Environment{Get: func(name string) string { return p.env[name] }, Hostname: "laptop", Version: "test"})...)
	var out, errs bytes.Buffer
	root.SetArgs(args)
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(&errs)
	ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second) // nobody works jobs here: what follows one never ends
	defer cancel()
	err := root.ExecuteContext(ctx)
	got := 0
	if err != nil {
		got = 1
		var coded interface{ ExitCode() int }
		if errors.As(err, &coded) {
			got = coded.ExitCode()
		}
		fmt.Fprintln(&errs, err)
	}
	if got != status {
		p.t.Fatalf("pandu %s: status %d, want %d\n%s%s", strings.Join(args, " "), got, status, errs.String(), out.String())
	}
	return out.String(), errs.String()
}

func (p *panel) login(more ...string) {
	p.t.Helper()
	p.run(0, password+"\n", append([]string{"login", p.url, "--email", email, "--password-stdin"}, more...)...)
}

func wants(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("there is no %q in:\n%s", part, text)
		}
	}
}

func TestSigningInAndOut(t *testing.T) {
	p := start(t)
	p.run(3, "", "projects")
	_, says := p.run(3, "wrong-password\n", "login", p.url, "--email", email, "--password-stdin")
	if strings.Contains(says, "Sign in again") {
		t.Errorf("a wrong password is told to sign in again: %s", says)
	}
	p.login()
	out, _ := p.run(0, "", "whoami")
	wants(t, out, email, "owner", "operator       no")
	_, says = p.run(1, "", "servers")
	wants(t, says, "pandu login --operator")
	p.login("--operator")
	p.run(0, "", "servers")
	out, _ = p.run(0, "", "tokens", "--json")
	var tokens []map[string]any
	if err := json.Unmarshal([]byte(out), &tokens); err != nil || len(tokens) != 1 {
		t.Errorf("signing in again left %d tokens, %v", len(tokens), err)
	}
	text, err := os.ReadFile(filepath.Join(p.env["XDG_CONFIG_HOME"], "pandu", "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	_, kept, _ := strings.Cut(string(text), "token: ")
	kept, _, _ = strings.Cut(kept, "\n")
	p.run(0, "", "logout")
	p.env["PANDU_TOKEN"], p.env["PANDU_URL"] = kept, p.url
	_, says = p.run(3, "", "projects")
	wants(t, says, "pandu login")
}

func TestProjectsFromTheirBeginningToTheirEnd(t *testing.T) {
	p := start(t)
	p.login()
	out, _ := p.run(0, "", "projects", "create", "My Shop")
	wants(t, out, "http://my-shop.localhost")
	out, _ = p.run(0, "", "projects")
	wants(t, out, "my-shop", "My Shop")
	p.run(0, "", "projects", "rename", "my-shop", "Our Shop")
	out, says := p.run(1, "", "projects", "create", "x", "--slug", "my-shop", "--json")
	wants(t, out, `"code":"slug_taken"`)
	wants(t, says, "my-shop-2")
	p.run(4, "", "status", "-p", "nobody")
	p.run(5, "", "projects", "create", "x", "--slug", "Not A Slug")
	p.env["PANDU_PROJECT"] = "my-shop"
	out, _ = p.run(0, "", "status")
	wants(t, out, "my-shop", "production", "pending")
	p.run(0, "", "ps")
	p.run(0, "", "releases")
	p.run(4, "", "rollback")
	p.run(4, "", "cancel")
	p.run(2, "", "projects", "delete", "my-shop")
	p.run(0, "", "projects", "delete", "my-shop", "--yes")
}

func TestVariablesAndHostnames(t *testing.T) {
	p := start(t)
	p.login()
	p.run(0, "", "projects", "create", "shop")
	p.env["PANDU_PROJECT"] = "shop"
	out, _ := p.run(0, "A=from the file\nB=2\n", "variables", "set", "--file", "-", "A=from the line", "--build", "--no-apply")
	if out != "" {
		t.Errorf("it prints %s", out)
	}
	out, _ = p.run(0, "", "variables")
	wants(t, out, "A      yes", "B      yes")
	if strings.Contains(out, "from the") {
		t.Errorf("a value is shown: %s", out)
	}
	p.run(0, "", "variables", "unset", "A", "--no-apply")
	if out, _ = p.run(0, "", "__complete", "variables", "unset", ""); !strings.HasPrefix(out, "B\n") {
		t.Errorf("completion offers %s", out)
	}
	p.run(5, "", "variables", "set", "1BAD=x", "--no-apply")
	p.run(0, "", "domains", "add", "www.example.com")
	p.run(5, "", "domains", "add", "other.localhost")
	out, _ = p.run(0, "", "domains")
	wants(t, out, "www.example.com", "shop.localhost")
	p.run(5, "", "domains", "remove", "shop.localhost")
	p.run(0, "", "domains", "remove", "WWW.example.com")
	p.run(4, "", "domains", "remove", "www.example.com")
}

func TestUploadsAreJudged(t *testing.T) {
	p := start(t)
	p.login()
	dir := filepath.Join(t.TempDir(), "Danger Zone")
	compose := "services:\n  web:\n    image: nginx\n    privileged: true\n    ports: [\"80\"]\n"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte(compose), 0o600); err != nil {
		t.Fatal(err)
	}
	_, says := p.run(5, "", "deploy", dir)
	wants(t, says, "Made the project danger-zone.", "compose.yaml:4: privileged")
	if err := os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte(strings.Replace(compose, "    privileged: true\n", "", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, says := p.run(0, "", "deploy", dir, "--no-start")
	wants(t, says, "Found a compose file.", "pandu start --project danger-zone")
	if len(strings.TrimSpace(out)) != 36 {
		t.Errorf("no upload's id: %q", out)
	}
	_, says = p.run(0, "", "start", "-p", "danger-zone", "--detach")
	wants(t, says, "Deployment 1 of danger-zone is under way.")
	p.run(0, "", "cancel", "-p", "danger-zone")
	out, _ = p.run(0, "", "deployments", "-p", "danger-zone")
	wants(t, out, "cancelled", "Danger Zone.tar.gz")
	p.run(1, "", "cancel", "1", "-p", "danger-zone")
}
