package images_test

import (
	"context"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"pandu/tests/engine"
	"pandu/tests/images"
)

// A public name runs, twice loaded is once, and a family has all its names.
func TestEnsure(t *testing.T) {
	e, err := engine.Start(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	for range 2 {
		if err := images.Ensure(t.Context(), e.Host, "redis:7"); err != nil {
			t.Fatal(err)
		}
	}
	a, err := e.Client.ImageInspect(t.Context(), "redis:7")
	if err != nil {
		t.Fatal(err)
	}
	b, err := e.Client.ImageInspect(t.Context(), "redis:latest")
	if err != nil || a.ID != b.ID {
		t.Errorf("redis:latest is %q, redis:7 is %q, error %v", b.ID, a.ID, err)
	}
	if code := run(t, e, "redis:7", "redis-server", "--version"); code != 0 {
		t.Errorf("redis-server --version ended with %d", code)
	}
}

func run(t *testing.T, e *engine.Engine, image string, argv ...string) int64 {
	t.Helper()
	c, err := e.Client.ContainerCreate(t.Context(), client.ContainerCreateOptions{Image: image, Config: &container.Config{Cmd: argv}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = e.Client.ContainerRemove(context.WithoutCancel(t.Context()), c.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	})
	wait := e.Client.ContainerWait(t.Context(), c.ID, client.ContainerWaitOptions{Condition: container.WaitConditionNextExit})
	if _, err := e.Client.ContainerStart(t.Context(), c.ID, client.ContainerStartOptions{}); err != nil {
		t.Fatal(err)
	}
	select {
	case r := <-wait.Result:
		return r.StatusCode
	case err := <-wait.Error:
		t.Fatal(err)
		return -1
	}
}

func TestEnsureRefusesUnknownNames(t *testing.T) {
	for _, name := range []string{"oracle", "postgres:9", "../engine", ""} {
		if err := images.Ensure(t.Context(), "unix:///nowhere", name); err == nil || !strings.Contains(err.Error(), "no base image") {
			t.Errorf("%q: %v", name, err)
		}
	}
}
