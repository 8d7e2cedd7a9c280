package converge_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/converge"
	"pandu/modules/spec"

	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"google.golang.org/protobuf/types/known/durationpb"
)

// A removed instance gets no new visitors at once, finishes its requests, and is stopped after.
func TestDrain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	environment := w.environment()
	id := w.instance(environment, "web", container(w.image()), func(i *agentv1.Instance) { i.Drain = durationpb.New(30 * time.Second) })
	w.send()
	w.becomes(id, ready)
	w.setInFlight(id, 2)
	w.bury("instance/" + id)
	w.eventually("no new visitors", func() bool { return !w.address(id).GetReady() })
	w.eventually("the gateway is asked", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.asked[id] > 3
	})
	w.mustGet(id, "/") // old visitors are served
	w.setInFlight(id, 0)
	w.becomes(id, gone)
}

// Draining ends when its time is over, also when the gateway does not answer.
func TestDrainIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(d *converge.Deps) {
		d.InFlight = func(context.Context, string) (uint32, error) { return 0, errors.New("gateway is away") }
	})
	environment := w.environment()
	id := w.instance(environment, "web", container(w.image()), func(i *agentv1.Instance) { i.Drain = durationpb.New(700 * time.Millisecond) })
	w.send()
	w.becomes(id, ready)
	begun := time.Now()
	w.bury("instance/" + id)
	w.becomes(id, gone)
	if took := time.Since(begun); took < 700*time.Millisecond {
		t.Errorf("removed after %s, before its requests could end", took)
	}
}

// A program that ignores its signal is killed after its grace, which the tombstone no longer tells.
func TestStopGrace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	environment := w.environment()
	c := container(w.image(), "IGNORE_TERM=1")
	c.StopGrace = spec.Duration(time.Second)
	id := w.instance(environment, "web", c)
	w.send()
	w.becomes(id, ready)
	begun := time.Now()
	w.bury("instance/" + id)
	w.becomes(id, gone)
	if took := time.Since(begun); took < time.Second || took > 8*time.Second {
		t.Errorf("stopped after %s with a grace of 1 s", took)
	}
}

// A tombstone ends what is under way for its instance, and one slow pull delays nobody else.
func TestTombstoneDuringPull(t *testing.T) {
	w := newWorld(t)
	id, environment := w.running()
	slow := w.image("ENV SLOW_IMAGE=1")
	w.registry.SetDelay(30 * time.Second)
	late := w.instance(environment, "late", container(slow))
	w.send()
	w.becomes(late, pulling)
	w.bury("instance/" + id)
	w.becomes(id, gone)
	if s := w.status(late); s.GetState() != pulling {
		t.Fatalf("%v", s)
	}
	w.bury("instance/" + late)
	w.becomes(late, gone)
	if left := w.ours(); len(left) != 1 { // the network
		t.Errorf("left: %v", left)
	}
}

// The image, the variables: what cannot be had is tried again, then told, and tried on.
func TestMissingThings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	environment, image, absent := w.environment(), w.image(), spec.Image{Repository: "acme/none", Digest: "sha256:" + "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"}
	noImage := w.instance(environment, "image", container(absent))
	noSecrets := w.instance(environment, "secrets", container(image), func(i *agentv1.Instance) { i.VariablesVersion = 1 })
	w.send()
	w.eventually("first words", func() bool {
		return w.status(noImage).GetReason() == "image_missing" && w.status(noSecrets).GetReason() == "secrets"
	})
	if s := w.status(noSecrets).GetState(); s != pending {
		t.Errorf("after the first attempt: %s", s)
	}
	if s := w.becomes(noImage, failed); s.GetReason() != "image_missing" {
		t.Errorf("%v", s)
	}
	if s := w.becomes(noSecrets, failed); s.GetReason() != "secrets" {
		t.Errorf("%v", s)
	}
	w.mu.Lock()
	w.secrets[noSecrets] = map[string]string{}
	w.mu.Unlock()
	w.becomes(noSecrets, ready)
	w.bury("instance/" + noImage)
	w.becomes(noImage, gone)
}

// What the policy refuses never reaches Docker, and other instances go on.
func TestRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	environment, image := w.environment(), w.image()
	unlimited := container(image)
	unlimited.Resources.Memory = 0
	bad := w.instance(environment, "unlimited", unlimited)
	garbled := w.instance(environment, "garbled", container(image), func(i *agentv1.Instance) { i.Spec = []byte(`{"privileged": true}`) })
	lost := w.instance(newID(), "lost", container(image))
	good := w.instance(environment, "good", container(image))
	w.send()
	for _, id := range []string{bad, garbled} {
		if s := w.becomes(id, failed); s.GetReason() != "policy" || s.GetContainerId() != "" || s.GetMessage() == "" {
			t.Errorf("%v", s)
		}
	}
	w.becomes(good, ready)
	if s := w.status(lost); s.GetState() != pending || s.GetMessage() == "" {
		t.Errorf("without an environment: %v", s)
	}
}

// Nothing that is not ours is touched, whatever it looks like; what carries our label unasked is shown and left alone.
func TestForeignThings(t *testing.T) {
	w := newWorld(t)
	image := w.image()
	make := func(name string, labels map[string]string) string {
		c, err := dock.Client.ContainerCreate(w.ctx, client.ContainerCreateOptions{
			Name: name, Config: &dockercontainer.Config{Image: w.pulled(image), Labels: labels}, HostConfig: &dockercontainer.HostConfig{NetworkMode: "none"},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_, _ = dock.Client.ContainerRemove(context.WithoutCancel(w.ctx), c.ID, client.ContainerRemoveOptions{Force: true})
		})
		if _, err := dock.Client.ContainerStart(w.ctx, c.ID, client.ContainerStartOptions{}); err != nil {
			t.Fatal(err)
		}
		return c.ID
	}
	foreign := []string{
		make("pandu-shop-production-web-foreign", nil),
		make("pandu-other-server-"+newID(), map[string]string{"pandu.server": newID(), "pandu.instance": newID()}),
	}
	wild := newID()
	unasked := make("pandu-unasked-"+wild, map[string]string{"pandu.server": w.server, "pandu.instance": wild})
	volume, network := "pandu-"+newID(), "pandu-foreign-"+newID()
	if _, err := dock.Client.VolumeCreate(w.ctx, client.VolumeCreateOptions{Name: volume}); err != nil {
		t.Fatal(err)
	}
	n, err := dock.Client.NetworkCreate(w.ctx, network, client.NetworkCreateOptions{Driver: "bridge"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(w.ctx)
		_, _ = dock.Client.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{})
		_, _ = dock.Client.VolumeRemove(ctx, volume, client.VolumeRemoveOptions{})
	})
	started := map[string]string{}
	for _, id := range append(slices.Clone(foreign), unasked) {
		started[id] = w.startedAt(id)
	}

	id, environment := w.running()
	w.eventually("the unasked one is shown", func() bool { return w.status(wild).GetState() == quarantine })
	if s := w.status(wild); s.GetContainerId() != unasked {
		t.Errorf("%v", s)
	}
	w.bury("instance/"+id, "environment/"+environment)
	w.becomes(id, gone)
	w.restart()
	w.eventually("the environment is gone", func() bool {
		return w.key("environment/"+environment).GetState() == agentv1.KeyStatus_STATE_GONE && w.status(wild).GetState() == quarantine
	})
	for id, at := range started {
		if got := w.startedAt(id); got != at {
			t.Errorf("container %s was touched: started %q, then %q", id, at, got)
		}
	}
	if _, err := dock.Client.VolumeInspect(w.ctx, volume, client.VolumeInspectOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := dock.Client.NetworkInspect(w.ctx, n.ID, client.NetworkInspectOptions{}); err != nil {
		t.Error(err)
	}
}

func (w *world) startedAt(container string) string {
	r, err := dock.Client.ContainerInspect(w.ctx, container, client.ContainerInspectOptions{})
	if err != nil || !r.Container.State.Running {
		return "does not run"
	}
	return r.Container.State.StartedAt
}

// pulled fetches an image from the registry and returns its name.
func (w *world) pulled(image spec.Image) string {
	w.t.Helper()
	name := w.registry.Address + "/" + image.Repository + "@" + image.Digest
	p, err := dock.Client.ImagePull(w.ctx, name, client.ImagePullOptions{})
	if err == nil {
		err = p.Wait(w.ctx)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return name
}

// Images of the panel's registry leave some time after the last entry that names them, and no others do.
func TestImagesAreCollected(t *testing.T) {
	w := newWorld(t, func(d *converge.Deps) { d.ImageDelay, d.Sweep = 300*time.Millisecond, 100*time.Millisecond })
	environment, used, unused := w.environment(), w.image("ENV KIND=used"), w.image("ENV KIND=unused")
	if _, err := dock.BuildScratch(w.ctx, "pandu-test/foreign:images", "pandu/tests/engine/images/web", "ENV KIND=foreign"); err != nil {
		t.Fatal(err)
	}
	id := w.instance(environment, "web", container(used))
	old := w.instance(environment, "old", container(unused))
	w.send()
	w.becomes(id, ready)
	w.becomes(old, ready)
	present := func(name string) bool {
		_, err := dock.Client.ImageInspect(w.ctx, name)
		return err == nil
	}
	name := func(i spec.Image) string { return w.registry.Address + "/" + i.Repository + "@" + i.Digest }
	if !present(name(unused)) {
		t.Fatal("the image is not there at all")
	}
	w.bury("instance/" + old)
	w.eventually("the unused image is gone", func() bool { return !present(name(unused)) })
	if !present(name(used)) || !present("pandu-test/foreign:images") {
		t.Error("an image left that is used or not ours")
	}
}
