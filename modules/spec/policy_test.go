package spec_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pandu/modules/kit/fault"
	"pandu/modules/spec"
)

func allowed() spec.Container {
	return spec.Container{
		Image:      spec.Image{Repository: "acme/web", Digest: "sha256:" + strings.Repeat("a1", 32)},
		Entrypoint: []string{"/bin/server"}, Command: []string{"--fast", ""},
		Env: []spec.Env{{Name: "A_1", Value: "x=y"}, {Name: "SPRING.NAME", FromVariable: true}},
		Mounts: []spec.Mount{
			{Volume: "data", ID: "01890a5d-ac96-774b-bcce-b302099a8057", Path: "/var/lib/data"},
			{Volume: "devices", ID: "01890a5d-ac96-774b-bcce-b302099a8058", Path: "/development"},
		},
		User: "65532:65532", WorkingDir: "/", StopSignal: "SIGQUIT", StopGrace: spec.Duration(time.Minute), Restart: spec.RestartAlways,
		Resources: spec.Resources{Memory: 64 << 20, MilliCPU: 500, Pids: 100},
		Health:    &spec.Health{Kind: spec.HealthHTTP, Path: "/healthz?deep=1", Port: 8080, Retries: 3, Interval: spec.Duration(time.Second)},
		Labels:    map[string]string{"pandu.release": "12"},
	}
}

func TestPolicyAllows(t *testing.T) {
	for name, change := range map[string]func(*spec.Container){
		"everything": func(*spec.Container) {},
		"little": func(c *spec.Container) {
			*c = spec.Container{Image: c.Image, Resources: c.Resources}
		},
		"command check":  func(c *spec.Container) { c.Health = &spec.Health{Kind: spec.HealthCommand, Command: []string{"true"}} },
		"signal number":  func(c *spec.Container) { c.StopSignal = "15" },
		"realtime":       func(c *spec.Container) { c.StopSignal = "SIGRTMIN+3" },
		"nested storage": func(c *spec.Container) { c.Image.Repository = "acme/shop/web-1" },
	} {
		t.Run(name, func(t *testing.T) {
			c := allowed()
			change(&c)
			if err := spec.Policy(c); err != nil {
				t.Errorf("refused: %v", fault.From(err).Details)
			}
		})
	}
}

func TestPolicyRefuses(t *testing.T) {
	for name, change := range map[string]func(*spec.Container){
		"no memory limit":       func(c *spec.Container) { c.Resources.Memory = 0 },
		"unlimited memory":      func(c *spec.Container) { c.Resources.Memory = -1 },
		"endless memory":        func(c *spec.Container) { c.Resources.Memory = spec.MaxMemory + 1 },
		"no cpu limit":          func(c *spec.Container) { c.Resources.MilliCPU = 0 },
		"no pids limit":         func(c *spec.Container) { c.Resources.Pids = 0 },
		"unlimited pids":        func(c *spec.Container) { c.Resources.Pids = -1 },
		"image by tag":          func(c *spec.Container) { c.Image.Digest = "latest" },
		"image of a host":       func(c *spec.Container) { c.Image.Repository = "docker.io:443/library/nginx" },
		"image with a tag":      func(c *spec.Container) { c.Image.Repository = "acme/web:1" },
		"image path":            func(c *spec.Container) { c.Image.Repository = "../web" },
		"bind mount":            func(c *spec.Container) { c.Mounts[0].ID = "/etc" },
		"mount by name":         func(c *spec.Container) { c.Mounts[0].ID = "" },
		"mount on root":         func(c *spec.Container) { c.Mounts[0].Path = "/" },
		"mount on proc":         func(c *spec.Container) { c.Mounts[0].Path = "/proc" },
		"mount in sys":          func(c *spec.Container) { c.Mounts[0].Path = "/sys/fs/cgroup" },
		"mount in dev":          func(c *spec.Container) { c.Mounts[0].Path = "/dev/shm" },
		"mount by detour":       func(c *spec.Container) { c.Mounts[0].Path = "/var/../proc" },
		"relative mount":        func(c *spec.Container) { c.Mounts[0].Path = "data" },
		"mount with options":    func(c *spec.Container) { c.Mounts[0].Path = "/data:rw" },
		"double slash":          func(c *spec.Container) { c.Mounts[0].Path = "//proc" },
		"two on one path":       func(c *spec.Container) { c.Mounts[1].Path = c.Mounts[0].Path },
		"one volume twice":      func(c *spec.Container) { c.Mounts[1].ID = c.Mounts[0].ID },
		"too many mounts":       func(c *spec.Container) { c.Mounts = make([]spec.Mount, spec.MaxMounts+1) },
		"variable without name": func(c *spec.Container) { c.Env[0].Name = "" },
		"variable with =":       func(c *spec.Container) { c.Env[0].Name = "A=B" },
		"variable with NUL":     func(c *spec.Container) { c.Env[0].Value = "a\x00b" },
		"variable twice":        func(c *spec.Container) { c.Env[1].Name = "A_1" },
		"huge variable":         func(c *spec.Container) { c.Env[0].Value = strings.Repeat("x", 200<<10) },
		"argument with NUL":     func(c *spec.Container) { c.Command = []string{"a\x00"} },
		"many arguments":        func(c *spec.Container) { c.Entrypoint = make([]string, 2000) },
		"huge argv": func(c *spec.Container) {
			c.Command = slicesOf(strings.Repeat("x", 100<<10), 20)
		},
		"user":                 func(c *spec.Container) { c.User = "root; id" },
		"working dir":          func(c *spec.Container) { c.WorkingDir = "app" },
		"signal":               func(c *spec.Container) { c.StopSignal = "TERM now" },
		"endless grace":        func(c *spec.Container) { c.StopGrace = spec.Duration(time.Hour) },
		"negative grace":       func(c *spec.Container) { c.StopGrace = -1 },
		"restart":              func(c *spec.Container) { c.Restart = "sometimes" },
		"port":                 func(c *spec.Container) { c.Port = 70000 },
		"health kind":          func(c *spec.Container) { c.Health.Kind = "grpc" },
		"health port":          func(c *spec.Container) { c.Health.Port = -1 },
		"health path":          func(c *spec.Container) { c.Health.Path = "health" },
		"health split request": func(c *spec.Container) { c.Health.Path = "/ HTTP/1.1\r\nHost: x" },
		"health no command":    func(c *spec.Container) { c.Health = &spec.Health{Kind: spec.HealthCommand} },
		"health gate":          func(c *spec.Container) { c.Health.Gate = spec.Duration(48 * time.Hour) },
		"label of Docker":      func(c *spec.Container) { c.Labels = map[string]string{"com.docker.compose.project": "x"} },
		"label of identity":    func(c *spec.Container) { c.Labels = map[string]string{"pandu.instance": "x"} },
	} {
		t.Run(name, func(t *testing.T) {
			c := allowed()
			change(&c)
			err := spec.Policy(c)
			if !errors.Is(err, fault.New(fault.Invalid, "policy", "")) {
				t.Fatalf("got %v, want a policy fault", err)
			}
			if len(fault.From(err).Details) == 0 {
				t.Error("the fault names no rule")
			}
		})
	}
}

// The words of a refusal reach logs and dashboards: no value of a variable may stand in them.
func TestPolicyKeepsSecrets(t *testing.T) {
	c := allowed()
	c.Env[0].Value = "hunter2\x00"
	f := fault.From(spec.Policy(c))
	for _, d := range f.Details {
		if strings.Contains(f.Message+d.Location+d.Message, "hunter2") {
			t.Errorf("secret in %q", d)
		}
	}
}

func slicesOf(s string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = s
	}
	return out
}
