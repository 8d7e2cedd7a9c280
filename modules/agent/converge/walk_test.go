package converge_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/converge"
	"pandu/modules/spec"

	"github.com/moby/moby/client"
)

// An instance is pulled, made by the policy, started, found ready at its own address, and taken away by its tombstone
// together with network and volume.
func TestWalk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	environment, volume := w.environment(), newID()
	w.put("volume/"+volume, &agentv1.Volume{Id: volume, EnvironmentId: environment, OrganizationId: newID(), Name: "data"})
	c := container(w.image("EXPOSE 8080"), "VERSION=one")
	c.AllVariables, c.Env = true, append(c.Env, spec.Env{Name: "URL", Value: "db://${PASSWORD}@$$x"})
	c.Mounts = []spec.Mount{{Volume: "data", ID: volume, Path: "/data"}}
	id := w.instance(environment, "web", c, func(i *agentv1.Instance) { i.VariablesVersion = 3 })
	w.secrets[id] = map[string]string{"PASSWORD": "hunter2"}
	w.send()
	s := w.becomes(id, ready)
	if s.GetPort() != 8080 || s.GetSpecHash() != c.Hash() || s.GetEnvironmentId() != environment || s.GetHealed() != 0 {
		t.Errorf("status %v", s)
	}
	if got := w.mustGet(id, "/"); got != "one" {
		t.Errorf("answered %q", got)
	}
	for name, want := range map[string]string{"URL": "db://hunter2@$x", "PASSWORD": "hunter2", "PORT": "8080"} {
		if got := w.mustGet(id, "/env?name="+name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := w.mustGet(id, "/hostname"); got != "web" {
		t.Errorf("host name %q", got)
	}
	w.judgeContainer(id, c)
	if k := w.key("environment/" + environment); k.GetState() != agentv1.KeyStatus_STATE_READY || !strings.HasPrefix(k.GetSubnet(), "10.192.") {
		t.Errorf("environment %v", k)
	}
	_, networks := w.c.Addresses()
	if len(networks) != 1 || networks[0].GetEnvironmentId() != environment || !strings.HasSuffix(networks[0].GetBridgeIp(), ".1") {
		t.Errorf("networks %v", networks)
	}

	w.bury("instance/"+id, "environment/"+environment, "volume/"+volume)
	w.becomes(id, gone)
	w.eventually("environment and volume are gone", func() bool {
		return w.key("environment/"+environment).GetState() == agentv1.KeyStatus_STATE_GONE && w.key("volume/"+volume).GetState() == agentv1.KeyStatus_STATE_GONE
	})
	if left := w.ours(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if a := w.address(id); a != nil {
		t.Errorf("address stays: %v", a)
	}
	w.forget("instance/"+id, "environment/"+environment, "volume/"+volume)
	w.eventually("nothing is reported", func() bool {
		instances, keys := w.c.Statuses()
		return len(instances)+len(keys) == 0
	})
}

// judgeContainer reads the container back from Docker.
func (w *world) judgeContainer(id string, c spec.Container) {
	w.t.Helper()
	e, err := converge.Open(dock.Host)
	if err != nil {
		w.t.Fatal(err)
	}
	d, err := e.Inspect(w.ctx, w.status(id).GetContainerId())
	if err != nil {
		w.t.Fatal(err)
	}
	if err := d.Harmless(); err != nil {
		w.t.Error(err)
	}
	if d.Limits.Memory != c.Resources.Memory || d.Limits.NanoCPUs != c.Resources.MilliCPU*1e6 || d.Limits.Pids != c.Resources.Pids || d.Limits.Restart != "unless-stopped" {
		w.t.Errorf("limits %+v", d.Limits)
	}
	if !strings.HasPrefix(d.Name, "pandu-shop-production-web-") {
		w.t.Errorf("name %q", d.Name)
	}
	for label, want := range map[string]string{"pandu.server": w.server, "pandu.instance": id, "pandu.service": "web", "pandu.spec": c.Hash(), "com.docker.compose.service": "web"} {
		if d.Labels[label] != want {
			w.t.Errorf("label %s is %q, want %q", label, d.Labels[label], want)
		}
	}
	for label, value := range d.Labels {
		if strings.Contains(value, "hunter2") {
			w.t.Errorf("secret in label %s", label)
		}
	}
}

// ours lists the names of everything with this server's label.
func (w *world) ours() []string {
	label := make(client.Filters).Add("label", "pandu.server="+w.server)
	var out []string
	containers, _ := dock.Client.ContainerList(w.ctx, client.ContainerListOptions{All: true, Filters: label})
	for _, c := range containers.Items {
		out = append(out, c.Names...)
	}
	networks, _ := dock.Client.NetworkList(w.ctx, client.NetworkListOptions{Filters: label})
	for _, n := range networks.Items {
		out = append(out, n.Name)
	}
	volumes, _ := dock.Client.VolumeList(w.ctx, client.VolumeListOptions{Filters: label})
	for _, v := range volumes.Items {
		out = append(out, v.Name)
	}
	return out
}

// The port is found where the program listens, and what is wrong is said in words that help.
func TestPorts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	environment, plain, exposed := w.environment(), w.image(), w.image("EXPOSE 80")
	gate := func(c spec.Container) spec.Container {
		c.Health = &spec.Health{Kind: spec.HealthTCP, Gate: spec.Duration(2 * time.Second)}
		return c
	}
	with := func(c spec.Container, change func(*spec.Container)) spec.Container {
		change(&c)
		return c
	}
	type wanted struct {
		spec    spec.Container
		state   agentv1.InstanceState
		port    uint32
		reason  string
		message string
	}
	cases := map[string]wanted{
		"exposed":        {container(exposed), ready, 80, "", ""},
		"probed":         {container(plain, "PORTS=3000"), ready, 3000, "", ""},
		"told":           {container(plain), ready, 8080, "", ""},
		"specified":      {with(container(plain, "PORTS=3000,4000"), func(c *spec.Container) { c.Port = 4000 }), ready, 4000, "", ""},
		"beside-metrics": {container(plain, "PORTS=8080,9090"), ready, 8080, "", ""},
		"several":        {gate(container(plain, "PORTS=3000,4000")), failed, 0, "many_ports", "3000, 4000"},
		"other-port":     {gate(container(exposed, "PORTS=3000")), failed, 0, "no_port", "listens on port 3000, but the image (EXPOSE) says 80"},
		"loopback":       {gate(container(plain, "LISTEN=127.0.0.1", "PORTS=3000")), failed, 0, "no_port", "127.0.0.1:3000 only"},
		"never":          {gate(container(plain, "NEVER_LISTEN=1")), failed, 0, "no_port", "does not listen on any port"},
		"quiet":          {with(container(plain, "NEVER_LISTEN=1"), func(c *spec.Container) { c.Listens = false }), ready, 0, "", ""},
	}
	ids := map[string]string{}
	for name, c := range cases {
		ids[name] = w.instance(environment, name, c.spec)
	}
	w.send()
	for name, c := range cases {
		s := w.becomes(ids[name], c.state)
		if s.GetPort() != c.port || s.GetReason() != c.reason || !strings.Contains(s.GetMessage(), c.message) {
			t.Errorf("%s: %v, want port %d, reason %q, message with %q", name, s, c.port, c.reason, c.message)
		}
		if a := w.address(ids[name]); a.GetReady() != (c.state == ready) {
			t.Errorf("%s: address %v", name, a)
		}
	}
	failures := map[string]string{"several": ids["several"], "never": ids["never"]}
	for name, id := range failures { // stopped, and kept for its log
		w.eventually(name+" is stopped", func() bool { return w.inspect(id).State.Status == "exited" })
	}
}

// Every kind of check, as gate and afterwards.
func TestChecks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	environment, image := w.environment(), w.image()
	check := func(h spec.Health, env ...string) spec.Container {
		c := container(image, env...)
		h.Gate, h.Interval, h.Retries = spec.Duration(3*time.Second), spec.Duration(100*time.Millisecond), 2
		c.Health = &h
		return c
	}
	well := map[string]spec.Container{
		"http":    check(spec.Health{Kind: spec.HealthHTTP, Path: "/"}),
		"late":    check(spec.Health{Kind: spec.HealthHTTP}, "START_DELAY=1s"),
		"tcp":     check(spec.Health{Kind: spec.HealthTCP}),
		"command": check(spec.Health{Kind: spec.HealthCommand, Command: []string{"/program", "check", "http://127.0.0.1:8080/"}}),
		"none":    check(spec.Health{Kind: spec.HealthNone}),
	}
	ill := map[string]spec.Container{
		"http-500":       check(spec.Health{Kind: spec.HealthHTTP, Path: "/file?path=/proc/1/mem"}),
		"http-slow":      check(spec.Health{Kind: spec.HealthHTTP, Timeout: spec.Duration(100 * time.Millisecond)}, "SLOW=1s"),
		"command-fails":  check(spec.Health{Kind: spec.HealthCommand, Command: []string{"/program", "exit", "4"}}),
		"command-absent": check(spec.Health{Kind: spec.HealthCommand, Command: []string{"/no/such/program"}}),
	}
	ids := map[string]string{}
	for name, c := range well {
		ids[name] = w.instance(environment, name, c)
	}
	for name, c := range ill {
		ids[name] = w.instance(environment, name, c)
	}
	w.send()
	for name := range well {
		w.becomes(ids[name], ready)
	}
	for name := range ill {
		if s := w.becomes(ids[name], failed); s.GetReason() != "gate_timeout" || len(s.GetLastLines()) == 0 {
			t.Errorf("%s: %v", name, s)
		}
	}
	if s := w.status(ids["command-fails"]); !strings.Contains(s.GetMessage(), "status 4: ending with 4") {
		t.Errorf("the command's words are missing: %v", s)
	}

	for _, name := range []string{"http", "command"} { // ready once: fails, leaves, comes back
		w.mustGet(ids[name], "/fail")
		s := w.becomes(ids[name], unready)
		if s.GetReason() != "unready" || w.address(ids[name]).GetReady() {
			t.Errorf("%s: %v", name, s)
		}
		_, _ = w.get(ids[name], "/heal")
		w.becomes(ids[name], ready)
	}
}

// The image's own HEALTHCHECK is the gate when the specification has none, and Docker does not run it beside us.
func TestImageCheck(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	environment := w.environment()
	image := w.image(`HEALTHCHECK --interval=1s --retries=1 CMD ["/program", "check", "http://127.0.0.1:8080/"]`, "EXPOSE 8080")
	id := w.instance(environment, "web", container(image))
	w.send()
	w.becomes(id, ready)
	if test := w.inspect(id).Config.Healthcheck.Test; !slices.Equal(test, []string{"NONE"}) {
		t.Errorf("Docker checks with %v", test)
	}
	w.mustGet(id, "/fail")
	w.becomes(id, unready)
}

// A program that ends while it should not is told with its status and its last words.
func TestExits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	environment, image := w.environment(), w.image()
	restart := func(c spec.Container, r spec.Restart) spec.Container {
		c.Restart = r
		return c
	}
	hungry := container(image, "MEMORY=200000000")
	hungry.Listens = true
	absent := container(image)
	absent.Entrypoint = []string{"/no/such/program"}
	loops := w.instance(environment, "loops", container(image, "EXIT_CODE=7", "LOG_LINES=30"))
	once := w.instance(environment, "once", restart(container(image, "EXIT_CODE=6"), spec.RestartNever))
	killed := w.instance(environment, "hungry", hungry)
	missing := w.instance(environment, "absent", absent)
	later := w.instance(environment, "later", container(image))
	w.send()
	s := w.becomes(loops, failed)
	if s.GetReason() != "exited" || s.GetExitCode() != 7 || s.GetRestarts() < 3 || len(s.GetLastLines()) != 20 || s.GetLastLines()[19] != "ending with 7" {
		t.Errorf("loops: %v", s)
	}
	w.eventually("the loop is stopped", func() bool { return w.inspect(loops).State.Status == "exited" })
	if s := w.becomes(once, failed); s.GetReason() != "exited" || s.GetExitCode() != 6 || s.GetRestarts() != 0 {
		t.Errorf("once: %v", s)
	}
	if s := w.becomes(killed, failed); s.GetReason() != "exited" || !strings.Contains(s.GetMessage(), "memory limit of 64 MiB") {
		t.Errorf("hungry: %v", s)
	}
	if s := w.becomes(missing, failed); s.GetReason() != "exited" || !strings.Contains(s.GetMessage(), "could not be started") {
		t.Errorf("absent: %v", s)
	}
	w.becomes(later, ready) // ended after it was ready: started again, never given up
	_, _ = w.get(later, "/crash")
	w.eventually("a restart is counted", func() bool { return w.status(later).GetRestarts() == 1 })
	w.becomes(later, ready)
	if w.status(later).GetHealed() != 0 {
		t.Error("a crash was counted as a healing")
	}
}
