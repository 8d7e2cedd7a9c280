package config_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pandu/config"
)

var update = flag.Bool("update", false, "write config.example.yaml")

func machine(environ ...string) config.Machine {
	return config.Machine{Environ: environ, Home: "/home/pilot", Hostname: "harbour"}
}

func load(t *testing.T, environ ...string) *config.Config {
	t.Helper()
	c, err := config.Load(machine(environ...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func file(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExampleIsUpToDate(t *testing.T) {
	if *update {
		if err := os.WriteFile("config.example.yaml", []byte(config.Example()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	body, err := os.ReadFile("config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if string(body) != config.Example() {
		t.Error("config.example.yaml differs from config.go: go test ./config -update")
	}
}

func TestExampleChangesNothing(t *testing.T) {
	plain, example := load(t), load(t, "PANDU_CONFIG=config.example.yaml")
	var a, b bytes.Buffer
	for _, p := range []struct {
		c *config.Config
		w *bytes.Buffer
	}{{plain, &a}, {example, &b}} {
		list := p.c.List(false)
		for i := range list {
			list[i].Source = ""
		}
		if err := config.PrintYAML(p.w, list); err != nil {
			t.Fatal(err)
		}
	}
	if a.String() != b.String() {
		t.Errorf("the example file is not the defaults:\n%s\n%s", a.String(), b.String())
	}
}

func TestDefaultsDependOnTheMachine(t *testing.T) {
	c := load(t)
	if c.DataDir != "/home/pilot/.local/share/pandu" || c.Gateway.HTTPListen != ":8081" || c.Gateway.Dir != "/home/pilot/.local/share/pandu/gateway" {
		t.Errorf("user: %s %s %s", c.DataDir, c.Gateway.HTTPListen, c.Gateway.Dir)
	}
	if c.PublicURL != "http://localhost:8080" || c.Agents.Address != "localhost:8443" || c.PeerAddress != "harbour:8443" {
		t.Errorf("addresses: %s %s %s", c.PublicURL, c.Agents.Address, c.PeerAddress)
	}
	root, err := config.Load(config.Machine{Root: true, Hostname: "harbour"})
	if err != nil || root.DataDir != "/var/lib/pandu" || root.Gateway.HTTPListen != ":80" {
		t.Errorf("root: %+v, error %v", root, err)
	}
	if xdg := load(t, "XDG_DATA_HOME=/data"); xdg.DataDir != "/data/pandu" {
		t.Errorf("XDG: %s", xdg.DataDir)
	}
	if _, err := config.Load(config.Machine{Hostname: "harbour"}); err == nil || !strings.Contains(err.Error(), "PANDU_DATA_DIR") {
		t.Errorf("without a home: %v", err)
	}
}

func TestEnvironmentWinsOverFileWinsOverDefault(t *testing.T) {
	path := file(t, "registration: open\napps_domain: file.example\nagent:\n  managers: [a:1, b:2]\ndrain:\n  delay: 5s\n")
	c := load(t, "PANDU_CONFIG="+path, "PANDU_APPS_DOMAIN=environment.example", "PANDU_LOG_LEVEL=")
	if c.AppsDomain != "environment.example" || c.Registration != "open" || c.Log.Level != "info" || c.Drain.Delay != 5*time.Second {
		t.Errorf("got %s %s %s %s", c.AppsDomain, c.Registration, c.Log.Level, c.Drain.Delay)
	}
	if !slices.Equal(c.Agent.Managers, []string{"a:1", "b:2"}) {
		t.Errorf("managers %q", c.Agent.Managers)
	}
	want := map[string]string{
		"apps_domain": "environment PANDU_APPS_DOMAIN", "registration": "file " + path, "log.level": "default", "drain.delay": "file " + path,
	}
	for _, p := range c.List(false) {
		if w, ok := want[p.Key]; ok && p.Source != w {
			t.Errorf("%s comes from %q, want %q", p.Key, p.Source, w)
		}
	}
	if n := len(c.List(true)); n != 4 {
		t.Errorf("%d settings differ from their defaults", n)
	}
}

func TestEveryKindOfValue(t *testing.T) {
	c := load(t, "WORKER_MODE=!,*", "DATABASE_URL=postgres://u:p@h/d", "PANDU_DATA_DIR_SHARED=true", "PANDU_AGENT_MANAGERS= a:1 , b:2,",
		"PANDU_PANEL_TRUSTED_PROXIES=10.0.0.0/8, 192.0.2.1,2001:db8::/32", "PANDU_AGENT_BUILD_CONCURRENCY=7", "PANDU_DRAIN_TIMEOUT=90s",
		"PANDU_GATEWAY_PROJECT_PORTS=30000-30100", "PANDU_AGENT_SUBNET_POOL=10.0.0.0/14")
	if c.WorkerMode != "!,*" || c.DatabaseURL.Reveal() != "postgres://u:p@h/d" || !c.DataShared || c.Agent.BuildConcurrency != 7 {
		t.Errorf("got %+v", c)
	}
	if !slices.Equal(c.Agent.Managers, []string{"a:1", "b:2"}) || c.Drain.Timeout != 90*time.Second {
		t.Errorf("managers %q, timeout %s", c.Agent.Managers, c.Drain.Timeout)
	}
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("2001:db8::/32")}
	if !slices.Equal(c.Panel.TrustedProxies, proxies) {
		t.Errorf("proxies %v", c.Panel.TrustedProxies)
	}
	if c.Gateway.ProjectPorts != (config.PortRange{First: 30000, Last: 30100}) || c.Agent.SubnetPool.Bits() != 14 {
		t.Errorf("ports %s, pool %s", c.Gateway.ProjectPorts, c.Agent.SubnetPool)
	}
}

func TestEmptyVariableIsNoneOnlyWhereThatMeansSomething(t *testing.T) {
	c := load(t, "PANDU_OPS_LISTEN=", "PANDU_GATEWAY_PROJECT_PORTS=", "PANDU_PANEL_LISTEN=", "PANDU_APPS_DOMAIN=")
	if c.Ops.Listen != "" || !c.Gateway.ProjectPorts.IsZero() || c.Panel.Listen != ":8080" || c.AppsDomain != "localhost" {
		t.Errorf("got %q %q %q %q", c.Ops.Listen, c.Gateway.ProjectPorts, c.Panel.Listen, c.AppsDomain)
	}
	c = load(t, "PANDU_CONFIG="+file(t, "ops:\n  listen: ''\npanel:\n  listen: ''\n"))
	if c.Ops.Listen != "" || c.Panel.Listen != ":8080" {
		t.Errorf("got %q %q", c.Ops.Listen, c.Panel.Listen)
	}
}

func TestDerived(t *testing.T) {
	c := load(t, "PANDU_PUBLIC_URL=https://Panel.example.com:444", "PANDU_APPS_DOMAIN=sites.example.org", "PANDU_DATA_DIR=/data")
	if c.PanelHost() != "panel.example.com" || c.StorageDir() != "/data/storage" || c.Gateway.HTTPPort() != 8081 {
		t.Errorf("got %s %s %d", c.PanelHost(), c.StorageDir(), c.Gateway.HTTPPort())
	}
	if p := load(t, "PANDU_GATEWAY_HTTP_LISTEN=0.0.0.0:80").Gateway.HTTPPort(); p != 0 {
		t.Errorf("port %d, want the scheme's own", p)
	}
}

func TestFileVariants(t *testing.T) {
	path := file(t, "postgres://u:p%2Fw@h/d\n")
	c := load(t, "DATABASE_URL_FILE="+path, "PANDU_APPS_DOMAIN_FILE="+file(t, "apps.example"))
	if c.DatabaseURL.Reveal() != "postgres://u:p%2Fw@h/d" || c.AppsDomain != "apps.example" {
		t.Errorf("got %q, %q", c.DatabaseURL.Reveal(), c.AppsDomain)
	}
	fails(t, "are both set", "DATABASE_URL_FILE="+path, "DATABASE_URL=postgres://u@h/d")
	fails(t, "named by DATABASE_URL_FILE", "DATABASE_URL_FILE="+path+".missing")
	fails(t, "longer than 1 MiB", "PANDU_APPS_DOMAIN_FILE="+file(t, strings.Repeat("a", 1<<20+1)))
}

func TestUnknownIsRefusedWithTheNearest(t *testing.T) {
	cases := []struct{ variable, says string }{
		{"PANDU_APP_DOMAIN=x", "did you mean PANDU_APPS_DOMAIN?"},
		{"PANDU_PANEL_LISTENS=x", "did you mean PANDU_PANEL_LISTEN?"},
		{"PANDU_DATABASE_URL=postgres://u@h/d", "it is written DATABASE_URL"},
		{"PANDU_WORKER_MODE=!", "it is written WORKER_MODE"},
		{"PANDU_MASTERKEY_FILE=/x", "did you mean PANDU_MASTER_KEY_FILE?"},
		{"PANDU_PORT=8080", "unknown variable PANDU_PORT"},
		{"PANDU_ZZZZZZZZZZZZZZZZZZZZ=x", "pandu config print"},
	}
	for _, c := range cases {
		fails(t, c.says, c.variable)
	}
	fails(t, "did you mean panel.listen?", "PANDU_CONFIG="+file(t, "panel:\n  listn: ':1'\n"))
	fails(t, "unknown setting colour", "PANDU_CONFIG="+file(t, "colour: blue\n"))
}

// What kubelet puts into every container of a namespace with the services pandu and pandu-gateway.
func TestKubernetesServiceVariablesAreIgnored(t *testing.T) {
	load(t, "PANDU_PORT=tcp://10.96.0.7:8080", "PANDU_SERVICE_HOST=10.96.0.7", "PANDU_SERVICE_PORT=8080", "PANDU_SERVICE_PORT_HTTP=8080",
		"PANDU_PORT_8080_TCP=tcp://10.96.0.7:8080", "PANDU_PORT_8080_TCP_PROTO=tcp", "PANDU_PORT_8080_TCP_PORT=8080", "PANDU_PORT_8080_TCP_ADDR=10.96.0.7",
		"PANDU_GATEWAY_SERVICE_HOST=10.96.0.8", "PANDU_GATEWAY_PORT=udp://10.96.0.8:53", "PANDU_GATEWAY_PORT_53_UDP_ADDR=10.96.0.8",
		"PANDU_URL=https://panel.example", "PANDU_TOKEN=abc", "PANDU_TOKEN_FILE=/run/token", "PANDU_PROJECT=hello", "PANDU_TEST_DATABASE_URL=postgres://localhost")
}

func TestRefusals(t *testing.T) {
	cases := []struct{ says, variable string }{
		{"not one of open, invite, closed", "PANDU_REGISTRATION=everyone"},
		{"not one of debug", "PANDU_LOG_LEVEL=loud"},
		{"log.format", "PANDU_LOG_FORMAT=xml"},
		{"absolute path", "PANDU_DATA_DIR=data"},
		{"postgres://user:password", "DATABASE_URL=mysql://root:topsecret@h/d"},
		{"openssl rand", "PANDU_MASTER_KEY=topsecret"},
		{"public_url", "PANDU_PUBLIC_URL=panel.example.com"},
		{"public_url", "PANDU_PUBLIC_URL=https://panel.example.com/path"},
		{"apps_domain", "PANDU_APPS_DOMAIN=Apps.Example"},
		{"apps_domain", "PANDU_APPS_DOMAIN=*.apps.example"},
		{"PANDU_ADMIN_PASSWORD", "PANDU_ADMIN_EMAIL=a@example.com"},
		{"host:port", "PANDU_PANEL_LISTEN=8080"},
		{"port 8080 is taken by panel.listen", "PANDU_AGENTS_LISTEN=:8080"},
		{"holds port 20000", "PANDU_PANEL_LISTEN=:20000"},
		{"agent.managers", "PANDU_AGENT_MANAGERS=panel.example.com"},
		{"which host", "PANDU_AGENT_MANAGERS=:8443"},
		{"docker_host", "PANDU_AGENT_DOCKER_HOST=/var/run/docker.sock"},
		{"private IPv4", "PANDU_AGENT_SUBNET_POOL=8.8.0.0/16"},
		{"private IPv4", "PANDU_AGENT_SUBNET_POOL=10.0.0.0/24"},
		{"between 1 and 64", "PANDU_AGENT_BUILD_CONCURRENCY=0"},
		{"build_concurrency", "PANDU_AGENT_BUILD_CONCURRENCY=many"},
		{"range of ports", "PANDU_GATEWAY_PROJECT_PORTS=30100-30000"},
		{"trusts everybody", "PANDU_PANEL_TRUSTED_PROXIES=0.0.0.0/0"},
		{"trusted_proxies", "PANDU_PANEL_TRUSTED_PROXIES=proxy.example"},
		{"drain.timeout", "PANDU_DRAIN_TIMEOUT=0s"},
		{"PANDU_CONFIG", "PANDU_CONFIG=/does/not/exist"},
	}
	for _, c := range cases {
		t.Run(c.variable, func(t *testing.T) { fails(t, c.says, c.variable) })
	}
	fails(t, "at least 12", "PANDU_ADMIN_EMAIL=a@example.com", "PANDU_ADMIN_PASSWORD=topsecret")
	fails(t, "quotes", "PANDU_CONFIG="+file(t, "admin:\n  email: a@example.com\n  password: 0123456701234567\n"))
	fails(t, "read ", "PANDU_CONFIG="+file(t, "a: b: c"))
}

func TestPanelAndSitesMustNotContainEachOther(t *testing.T) {
	for _, c := range []struct {
		url, domain string
		ok          bool
	}{
		{"https://example.com", "example.com", false},
		{"https://panel.example.com", "example.com", false},
		{"https://example.com", "apps.example.com", false},
		{"https://EXAMPLE.com", "apps.example.com", false},
		{"https://panel.example.com", "apps.example.com", true},
		{"https://myexample.com", "example.com", true},
		{"http://localhost:8080", "localhost", true},
		{"http://panel.localhost:8080", "localhost", true},
		{"https://192.0.2.1", "apps.example.com", true},
	} {
		_, err := config.Load(machine("PANDU_PUBLIC_URL="+c.url, "PANDU_APPS_DOMAIN="+c.domain))
		if (err == nil) != c.ok {
			t.Errorf("%s beside %s: %v", c.url, c.domain, err)
		}
	}
}

func TestAllMistakesAreToldAtOnce(t *testing.T) {
	_, err := config.Load(machine("PANDU_REGISTRATION=x", "PANDU_LOG_LEVEL=y"))
	if err == nil || !strings.Contains(err.Error(), "registration") || !strings.Contains(err.Error(), "log.level") {
		t.Errorf("error %v", err)
	}
}

func TestNothingPrintedShowsASecret(t *testing.T) {
	const hidden = "correct-horse-battery"
	key := strings.Repeat("a1", 32)
	c := load(t, "DATABASE_URL=postgres://u:"+hidden+"@h/d", "PANDU_ADMIN_EMAIL=a@example.com", "PANDU_ADMIN_PASSWORD="+hidden,
		"PANDU_MASTER_KEY="+key, "PANDU_AGENT_JOIN_TOKEN="+hidden)
	var out bytes.Buffer
	if err := config.PrintYAML(&out, c.List(false)); err != nil {
		t.Fatal(err)
	}
	if err := config.PrintJSON(&out, c.List(false)); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), hidden) || strings.Contains(out.String(), key) {
		t.Error("a secret is printed")
	}
	if n := strings.Count(out.String(), "[redacted]"); n != 8 {
		t.Errorf("%d redacted values, want 4 in each of two forms:\n%s", n, out.String())
	}
}

func TestPrintedJSONIsJSON(t *testing.T) {
	var out bytes.Buffer
	if err := config.PrintJSON(&out, load(t).List(false)); err != nil {
		t.Fatal(err)
	}
	var list []config.Printed
	if err := json.Unmarshal(out.Bytes(), &list); err != nil || len(list) < 20 {
		t.Errorf("%d settings, error %v", len(list), err)
	}
}

// fails wants the load to fail with a message that says so, and never a secret.
func fails(t *testing.T, says string, environ ...string) {
	t.Helper()
	_, err := config.Load(machine(environ...))
	switch {
	case err == nil:
		t.Errorf("%q was accepted", environ)
	case !strings.Contains(err.Error(), says):
		t.Errorf("%q: the error does not say %q: %v", environ, says, err)
	case strings.Contains(err.Error(), "topsecret"):
		t.Errorf("%q: the error shows the secret: %v", environ, err)
	}
}
