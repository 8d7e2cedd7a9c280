package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pandu/tests/engine"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// An engine runs a program of ours, survives the loss of its daemon and leaves nothing behind.
func TestEngine(t *testing.T) {
	ctx := t.Context()
	e, err := engine.Start(context.WithoutCancel(ctx))
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	defer func() {
		if !closed {
			_ = e.Close()
		}
	}()
	if _, err := e.BuildScratch(ctx, "pandu-test/web:engine", engine.WebPackage); err != nil {
		t.Fatal(err)
	}
	c, err := e.Client.ContainerCreate(ctx, client.ContainerCreateOptions{Image: "pandu-test/web:engine", Config: &container.Config{Cmd: []string{"exit", "7"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Client.ContainerStart(ctx, c.ID, client.ContainerStartOptions{}); err != nil {
		t.Fatal(err)
	}
	wait := e.Client.ContainerWait(ctx, c.ID, client.ContainerWaitOptions{})
	select {
	case r := <-wait.Result:
		if r.StatusCode != 7 {
			t.Errorf("exit status %d, want 7", r.StatusCode)
		}
	case err := <-wait.Error:
		t.Fatal(err)
	}
	if !e.Owned() {
		_, _ = e.Client.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true})
		return
	}
	e.KillDaemon()
	if err := e.StartDaemon(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Client.ContainerInspect(ctx, c.ID, client.ContainerInspectOptions{}); err != nil {
		t.Errorf("container after the daemon's return: %v", err)
	}
	closed = true
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	leftBehind(t, e.Dir)
}

func leftBehind(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("directory stays: %v", err)
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	if strings.Contains(string(mounts), dir) {
		t.Error("mounts stay")
	}
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range lines {
		b, _ := os.ReadFile(f)
		if strings.Contains(string(b), dir+"/") {
			t.Errorf("process stays: %q", b)
		}
	}
}
