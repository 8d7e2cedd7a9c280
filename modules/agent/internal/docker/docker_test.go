package docker

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pandu/tests/engine"
)

var dock *engine.Engine //nolint:gochecknoglobals // one engine for all tests of the package

func TestMain(m *testing.M) {
	engine.Main(m, func(e *engine.Engine) { dock = e })
}

const label = "pandu.server=docker-test"

func open(t *testing.T) *Engine {
	t.Helper()
	e, err := Open(dock.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// made is a container on a network of its own, with everything a specification can ask for.
func made(t *testing.T, e *Engine, change func(*Create)) (string, Create) {
	t.Helper()
	ctx := t.Context()
	image, err := dock.BuildScratch(ctx, "pandu-test/web:docker", engine.WebPackage, "EXPOSE 81/tcp 80 53/udp",
		`HEALTHCHECK --interval=7s --timeout=2s --start-period=9s --retries=4 CMD ["/program", "check", "x"]`, "ENV PORT=99", "VOLUME /anonymous")
	if err != nil {
		t.Fatal(err)
	}
	name := "docker-test-" + strings.ToLower(t.Name())
	subnet := netip.MustParsePrefix("198.18.77.0/24")
	labels := map[string]string{"pandu.server": "docker-test"}
	network, err := e.CreateNetwork(ctx, name, subnet, labels)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.CreateVolume(ctx, name, labels); err != nil {
		t.Fatal(err)
	}
	c := Create{
		Name: name, Image: image, Hostname: "web", Labels: labels, Env: []string{"VERSION=1"}, Restart: "unless-stopped",
		StopGrace: time.Second, Memory: 64 << 20, NanoCPUs: 5e8, Pids: 40, Mounts: []Mount{{Volume: name, Path: "/data"}},
		Network: name, Address: netip.MustParseAddr("198.18.77.9"), DNS: netip.MustParseAddr("198.18.77.1"), ReadOnly: true,
	}
	if change != nil {
		change(&c)
	}
	id, err := e.Create(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(ctx)
		if err := errors.Join(e.Remove(ctx, id), e.RemoveNetwork(ctx, network), e.RemoveVolume(ctx, name)); err != nil {
			t.Error(err)
		}
	})
	return id, c
}

// What Create makes is read back as asked for, harmless and bounded.
func TestCreate(t *testing.T) {
	e := open(t)
	ctx := t.Context()
	id, c := made(t, e, nil)
	if err := e.Start(ctx, id); err != nil {
		t.Fatal(err)
	}
	d, err := e.Inspect(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Harmless(); err != nil {
		t.Error(err)
	}
	if d.Limits != (Limits{Memory: c.Memory, Swap: c.Memory, NanoCPUs: c.NanoCPUs, Pids: c.Pids, Restart: c.Restart}) {
		t.Errorf("limits %+v", d.Limits)
	}
	if d.State != Running || d.PID == 0 || !d.Policy.ReadOnly || !slices.Contains(d.Volumes, c.Name) {
		t.Errorf("%+v", d)
	}
	list, err := e.Containers(ctx, label)
	if err != nil || len(list) != 1 || list[0].ID != id || list[0].Name != c.Name || list[0].State != Running {
		t.Fatalf("list %+v %v", list, err)
	}
	for _, at := range list[0].Networks {
		if at.Address != c.Address || at.Network != c.Network {
			t.Errorf("endpoint %+v", at)
		}
	}
	if _, err := e.Create(ctx, c); !errors.Is(err, ErrConflict) {
		t.Errorf("a second container of that name: %v", err)
	}
	if _, err := e.Inspect(ctx, "no-such-container"); !errors.Is(err, ErrNotFound) {
		t.Errorf("no such container: %v", err)
	}
	if err := e.Remove(ctx, "no-such-container"); err != nil {
		t.Errorf("removing what is gone: %v", err)
	}
}

// Harmless sees each thing that somebody could have changed.
func TestHarmless(t *testing.T) {
	e := open(t)
	id, _ := made(t, e, nil)
	good, err := e.Inspect(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Details){
		"privileged":   func(d *Details) { d.Policy.Privileged = true },
		"bind":         func(d *Details) { d.Policy.Binds = []string{"/:/host"} },
		"device":       func(d *Details) { d.Policy.Devices = 1 },
		"published":    func(d *Details) { d.Policy.Publishes = true },
		"no memory":    func(d *Details) { d.Limits.Memory = 0 },
		"swap":         func(d *Details) { d.Limits.Swap = -1 },
		"no cpu":       func(d *Details) { d.Limits.NanoCPUs = 0 },
		"no pids":      func(d *Details) { d.Limits.Pids = 0 },
		"capabilities": func(d *Details) { d.Policy.CapDrop = nil },
		"more of them": func(d *Details) { d.Policy.CapAdd = append(slices.Clone(d.Policy.CapAdd), "SYS_ADMIN") },
		"another one":  func(d *Details) { d.Policy.CapAdd = []string{"SYS_ADMIN"} },
		"privileges":   func(d *Details) { d.Policy.Security = nil },
		"unconfined":   func(d *Details) { d.Policy.Security = append(slices.Clone(d.Policy.Security), "seccomp=unconfined") },
		"pid":          func(d *Details) { d.Policy.PidMode = "host" },
		"ipc":          func(d *Details) { d.Policy.IpcMode = "host" },
		"network":      func(d *Details) { d.Policy.NetworkMode = "host" },
		"log":          func(d *Details) { d.Policy.LogOptions = nil },
	} {
		d := good
		spoil(&d)
		if d.Harmless() == nil {
			t.Errorf("%s is called harmless", name)
		}
	}
}

func TestImage(t *testing.T) {
	e := open(t)
	id, _ := made(t, e, nil)
	d, err := e.Inspect(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	i, err := e.ImageByID(t.Context(), d.ImageID)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(i.Ports, []int{80, 81}) || i.Env["PORT"] != "99" || !slices.Equal(i.Check, []string{"/program", "check", "x"}) ||
		i.Interval != 7*time.Second || i.Timeout != 2*time.Second || i.StartTime != 9*time.Second || i.Retries != 4 {
		t.Errorf("%+v", i)
	}
	if _, err := e.Image(t.Context(), "127.0.0.1:1", "acme/none", "sha256:"+strings.Repeat("0", 64)); !errors.Is(err, ErrNotFound) {
		t.Errorf("no such image: %v", err)
	}
	if err := e.RemoveImage(t.Context(), "pandu-test/web:docker"); err == nil {
		t.Error("an image was removed by its tag")
	}
}

// Commands, logs and events of a container that runs.
func TestTalk(t *testing.T) {
	e := open(t)
	ctx := t.Context()
	id, _ := made(t, e, func(c *Create) { c.Env = []string{"LOG_LINES=30", "NEVER_LISTEN=1"} })
	events, connected := make(chan Event, 100), make(chan struct{})
	streaming, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_ = e.Events(streaming, label, func() { close(connected) }, func(ev Event) { events <- ev })
	}()
	<-connected
	if err := e.Start(ctx, id); err != nil {
		t.Fatal(err)
	}
	await(t, events, id, "start")
	code, said, err := e.Exec(ctx, id, []string{"/program", "exit", "3"}, 10*time.Second)
	if err != nil || code != 3 || said != "ending with 3" {
		t.Errorf("exec: %d %q %v", code, said, err)
	}
	if _, _, err := e.Exec(ctx, id, []string{"/program"}, 300*time.Millisecond); err == nil {
		t.Error("an endless command ended")
	}
	var lines []string
	for deadline := time.Now().Add(10 * time.Second); len(lines) < 5 && time.Now().Before(deadline); {
		if lines, err = e.LastLines(ctx, id, 5); err != nil {
			t.Fatal(err)
		}
	}
	if len(lines) != 5 {
		t.Errorf("last lines %q", lines)
	}
	if err := e.Stop(ctx, id, time.Second); err != nil {
		t.Fatal(err)
	}
	await(t, events, id, "die")
}

func await(t *testing.T, events <-chan Event, id, action string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case ev := <-events:
			if ev.ID == id && ev.Action == action {
				return
			}
		case <-deadline:
			t.Fatalf("no event %s", action)
		}
	}
}

// An Engine that is not there is said to be away, quickly.
func TestAway(t *testing.T) {
	e, err := Open("unix:///no/such/docker.sock")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Info(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("info: %v", err)
	}
	if _, err := e.Containers(t.Context(), label); !errors.Is(err, ErrUnavailable) {
		t.Errorf("list: %v", err)
	}
}
