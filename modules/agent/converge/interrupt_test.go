package converge_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"pandu/modules/agent/agentv1"
	"pandu/modules/spec"
)

// Docker hangs: calls end by their time limits, what was true stays, visitors are still sent, and all goes on afterwards.
func TestEngineHangs(t *testing.T) {
	if !dock.Owned() {
		t.Skip("a reused engine is not stopped")
	}
	w := newWorld(t)
	id, environment := w.running()
	started := w.inspect(id).State.StartedAt
	image := w.image()
	thaw := sync.OnceFunc(dock.Freeze())
	defer thaw()
	late := w.instance(environment, "late", container(image))
	w.send()
	w.eventually("the error is told", func() bool { return w.c.Engine().Error != "" })
	if s := w.status(id); s.GetState() != ready || !w.address(id).GetReady() {
		t.Errorf("while Docker hangs: %v %v", s, w.address(id))
	}
	w.mustGet(id, "/")
	thaw()
	w.becomes(late, ready)
	if s := w.becomes(id, ready); s.GetHealed() != 0 || w.inspect(id).State.StartedAt != started {
		t.Errorf("touched: %v", s)
	}
}

// The agent ends at any moment of a start: the next one finishes it, with one container, and a task still runs once.
func TestInterrupted(t *testing.T) {
	w := newWorld(t)
	environment, volume, image := w.environment(), newID(), w.image()
	w.put("volume/"+volume, &agentv1.Volume{Id: volume, EnvironmentId: environment, OrganizationId: newID(), Name: "data"})
	reader := container(image)
	reader.Mounts = []spec.Mount{{Volume: "data", ID: volume, Path: "/data"}}
	web := w.instance(environment, "web", reader)
	w.send()
	w.becomes(web, ready)
	addresses := map[string]bool{w.address(web).GetIp(): true}
	instances := 1
	for n := range 10 {
		file := fmt.Sprint("/data/runs", n)
		task := container(image)
		task.Listens, task.Restart, task.Command, task.Mounts = false, spec.RestartNever, []string{"touch", file}, reader.Mounts
		job, server := w.instance(environment, fmt.Sprint("job", n), task), w.instance(environment, fmt.Sprint("server", n), container(image))
		instances += 2
		w.send()
		interrupt := time.After(time.Duration(n) * 60 * time.Millisecond)
		<-interrupt
		w.restart()
		w.becomes(job, done)
		w.becomes(server, ready)
		addresses[w.address(server).GetIp()] = true
		if got := w.mustGet(web, "/file?path="+file); got != "ran\n" {
			t.Errorf("interrupted after %d ms the task wrote %q", n*60, got)
		}
	}
	if n := len(w.ours()) - 2; n != instances { // beside the network and the volume
		t.Errorf("%d containers for %d instances", n, instances)
	}
	if len(addresses) != 11 {
		t.Errorf("%d addresses for 11 servers", len(addresses))
	}
}

// The agent ends at any moment of a removal: the next one finishes it.
func TestInterruptedRemoval(t *testing.T) {
	w := newWorld(t)
	environment, image := w.environment(), w.image()
	for n := range 6 {
		id := w.instance(environment, fmt.Sprint("web", n), container(image))
		w.send()
		w.becomes(id, ready)
		w.bury("instance/" + id)
		interrupt := time.After(time.Duration(n) * 60 * time.Millisecond)
		<-interrupt
		w.restart()
		w.becomes(id, gone)
	}
	if left := w.ours(); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}
