package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const saved = `current: a
contexts:
    - {name: a, url: "https://a.example", token: token-a, organization: acme}
    - {name: b, url: "https://b.example", token: token-b}
`

func TestTargets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name  string
		flags globals
		env   map[string]string
		want  target
	}{
		{"the current context", globals{}, nil, target{"https://a.example", "token-a", "acme", "a"}},
		{"another context", globals{context: "b"}, nil, target{"https://b.example", "token-b", "", "b"}},
		{"another organization", globals{organization: "x"}, nil, target{"https://a.example", "token-a", "x", "a"}},
		{"a panel without its token", globals{url: "https://c.example"}, nil, target{"https://c.example", "", "", "a"}},
		{"a panel that only looks like it", globals{url: "http://a.example"}, nil, target{"http://a.example", "", "", "a"}},
		{"the same panel, named", globals{url: "a.example/"}, nil, target{"a.example/", "token-a", "acme", "a"}},
		{"flags win over variables", globals{url: "https://c.example", token: "t"}, map[string]string{"PANDU_URL": "https://d.example", "PANDU_TOKEN": "v"}, target{"https://c.example", "t", "", ""}},
		{"variables", globals{}, map[string]string{"PANDU_URL": "https://d.example", "PANDU_TOKEN": "v"}, target{"https://d.example", "v", "", ""}},
		{"a token in a file", globals{url: "https://c.example"}, map[string]string{"PANDU_TOKEN_FILE": file}, target{"https://c.example", "from-file", "", ""}},
		{"a token from the standard input", globals{url: "https://c.example", token: "-"}, nil, target{"https://c.example", "piped", "", ""}},
		{"an own token for the current panel", globals{token: "t"}, nil, target{"https://a.example", "t", "acme", "a"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			m.save(saved, 0o600)
			for k, v := range c.env {
				m.env[k] = v
			}
			cli := &cli{env: Environment{Get: func(name string) string { return m.env[name] }}, flags: c.flags}
			got, err := cli.target(strings.NewReader("piped\n"))
			if err != nil || got != c.want {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func (m *machine) save(text string, mode os.FileMode) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(m.config), 0o700); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(m.config, []byte(text), mode); err != nil {
		m.t.Fatal(err)
	}
}

func TestWithoutSigningIn(t *testing.T) {
	for _, c := range []struct {
		args   string
		env    map[string]string
		file   string
		status int
		says   string
	}{
		{"projects", nil, "", exitSignIn, "pandu login https://YOUR-PANEL"},
		{"projects --url https://a.example", nil, "", exitSignIn, "pandu login https://a.example"},
		{"projects --context x", nil, saved, exitNotFound, `no context "x"`},
		{"projects --url https://other.example", nil, saved, exitSignIn, "not signed in at https://other.example"},
		{"projects --url ftp://a --token t", nil, "", exitUsage, "no address of a panel"},
		{"projects -o yaml", nil, saved, exitUsage, "table or json"},
		{"projects", map[string]string{"PANDU_TOKEN_FILE": "/does/not/exist"}, saved, exitUsage, "PANDU_TOKEN_FILE"},
		{"projects --token -", nil, saved, exitUsage, "no token in the standard input"},
		{"projects", map[string]string{"XDG_CONFIG_HOME": ""}, "", exitUsage, "XDG_CONFIG_HOME"},
		{"projects", nil, "contexts: [{nome: a}]", exitFailed, "nome"},
		{"projects more", nil, saved, exitUsage, "Usage: pandu projects"},
		{"scale web", nil, saved, exitUsage, "SERVICE=COUNT"},
		{"login", nil, "", exitUsage, "which panel"},
		{"logout", nil, "", exitSignIn, "not signed in"},
	} {
		m := newMachine(t)
		if c.file != "" {
			m.save(c.file, 0o600)
		}
		for k, v := range c.env {
			m.env[k] = v
		}
		if r := m.run("", strings.Fields(c.args)...); r.status != c.status || !strings.Contains(r.failure.Error(), c.says) {
			t.Errorf("%s: status %d, %v", c.args, r.status, r.failure)
		}
	}
}

func TestTokensThatOthersCanReadAreNotUsed(t *testing.T) {
	m := newMachine(t)
	m.save(saved, 0o640)
	if r := m.run("", "projects"); r.status != exitFailed || !strings.Contains(r.failure.Error(), "chmod 600") {
		t.Errorf("status %d, %v", r.status, r.failure)
	}
}

func TestLoginKeepsTheTokenForItselfAndLogoutForgetsIt(t *testing.T) {
	m := newMachine(t)
	answers := map[string]string{
		"GET /auth/setup": `{"pending":false}`, "POST /auth/login": `{"user_id":"u"}`, "POST /tokens": `{"id":"t1","secret":"made-token"}`, "POST /auth/logout": `{}`,
		"GET /me": recorded["GET /me"], "DELETE /tokens/t1": `{}`, "GET /projects": recorded["GET /projects"],
	}
	asked := m.replay(answers)
	url := m.env["PANDU_URL"]
	delete(m.env, "PANDU_URL")
	delete(m.env, "PANDU_TOKEN")
	r := m.run("correct horse\n", "login", url, "--email", "jo@example.com", "--password-stdin", "--context", "home")
	if r.status != 0 || strings.Contains(r.text(), "made-token") {
		t.Fatalf("status %d:\n%s", r.status, r.text())
	}
	if want := `POST /auth/login {"email":"jo@example.com","password":"correct horse"}`; (*asked)[1] != want {
		t.Errorf("asked %q", *asked)
	}
	info, err := os.Stat(m.config)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	if text, err := os.ReadFile(m.config); err != nil || !strings.Contains(string(text), "made-token") || strings.Contains(string(text), "horse") {
		t.Errorf("%s, %v", text, err)
	}
	if r := m.run("", "projects"); r.status != 0 {
		t.Errorf("projects: %s", r.text())
	}
	if r := m.run("", "context"); !strings.Contains(r.out, "*         home") || strings.Contains(r.out, "made-token") {
		t.Errorf("context: %s", r.text())
	}
	if r := m.run("", "context", "use", "away"); r.status != exitNotFound {
		t.Errorf("context use away: %s", r.text())
	}
	if r := m.run("", "logout"); r.status != 0 || (*asked)[len(*asked)-1] != "DELETE /tokens/t1" {
		t.Errorf("logout: %s, asked %q", r.text(), *asked)
	}
	if text, err := os.ReadFile(m.config); err != nil || strings.Contains(string(text), "made-token") {
		t.Errorf("after logout: %s, %v", text, err)
	}
}

func TestLoginWithATokenFromTheStandardInput(t *testing.T) {
	m := newMachine(t)
	m.replay(map[string]string{"GET /me": recorded["GET /me"]})
	url := m.env["PANDU_URL"]
	m.env["PANDU_URL"], m.env["PANDU_TOKEN"] = "", ""
	if r := m.run("piped-token\n", "login", url, "--token", "-"); r.status != 0 {
		t.Fatal(r.text())
	}
	if text, err := os.ReadFile(m.config); err != nil || !strings.Contains(string(text), "piped-token") {
		t.Errorf("%s, %v", text, err)
	}
}

func TestLoginBeforeThereIsAnAdministrator(t *testing.T) {
	m := newMachine(t)
	m.replay(map[string]string{"GET /auth/setup": `{"pending":true}`})
	m.env["PANDU_TOKEN"] = ""
	if r := m.run("x\n", "login", "--email", "a@b", "--password-stdin"); r.status != exitSignIn || !strings.Contains(r.failure.Error(), "setup-link") {
		t.Errorf("status %d, %v", r.status, r.failure)
	}
}
