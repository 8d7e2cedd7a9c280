package converge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/converge"
	"pandu/modules/spec"
	"pandu/tests/engine"
	"pandu/tests/engine/registry"

	"github.com/google/uuid"
	"github.com/moby/moby/client"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

var dock *engine.Engine //nolint:gochecknoglobals // one engine for all tests of the package

func TestMain(m *testing.M) {
	engine.Main(m, func(e *engine.Engine) { dock = e })
}

const (
	pending    = agentv1.InstanceState_INSTANCE_STATE_PENDING
	pulling    = agentv1.InstanceState_INSTANCE_STATE_PULLING
	starting   = agentv1.InstanceState_INSTANCE_STATE_STARTING
	ready      = agentv1.InstanceState_INSTANCE_STATE_READY
	unready    = agentv1.InstanceState_INSTANCE_STATE_UNREADY
	done       = agentv1.InstanceState_INSTANCE_STATE_COMPLETED
	failed     = agentv1.InstanceState_INSTANCE_STATE_FAILED
	restarting = agentv1.InstanceState_INSTANCE_STATE_RESTARTING
	gone       = agentv1.InstanceState_INSTANCE_STATE_GONE
	drifted    = agentv1.InstanceState_INSTANCE_STATE_DRIFTED
	quarantine = agentv1.InstanceState_INSTANCE_STATE_QUARANTINED
)

// world is one agent's server: a converger on the real engine with a registry.
type world struct {
	t        *testing.T
	ctx      context.Context
	server   string
	dir      string
	registry *registry.Registry
	c        *converge.Converger
	stop     func()

	mu       sync.Mutex
	entries  map[string]*agentv1.Entry
	revision uint64
	secrets  map[string]map[string]string
	inFlight map[string]uint32
	asked    map[string]int // InFlight calls
	adjust   []func(*converge.Deps)
}

func newWorld(t *testing.T, adjust ...func(*converge.Deps)) *world {
	t.Helper()
	w := &world{
		t: t, ctx: t.Context(), server: uuid.NewString(), dir: t.TempDir(), registry: registry.Start(t, dock), adjust: adjust,
		entries: map[string]*agentv1.Entry{}, secrets: map[string]map[string]string{}, inFlight: map[string]uint32{}, asked: map[string]int{},
	}
	t.Cleanup(w.cleanup)
	w.start()
	return w
}

// start runs a converger, as an agent that was just started.
func (w *world) start() {
	w.t.Helper()
	docker, err := converge.Open(dock.Host)
	if err != nil {
		w.t.Fatal(err)
	}
	d := converge.Deps{
		Docker: docker, ServerID: w.server, Dir: w.dir, Registry: w.registry.Address, Secrets: w.variables, InFlight: w.requests,
		Logger: slog.New(slog.NewTextHandler(testWriter{w.t}, &slog.HandlerOptions{Level: slog.LevelWarn})), Sweep: 3 * time.Second,
	}
	for _, f := range w.adjust {
		f(&d)
	}
	if w.c, err = converge.New(d); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		_ = w.c.Run(ctx)
		close(ended)
	}()
	w.stop = sync.OnceFunc(func() {
		cancel()
		<-ended
		_ = docker.Close()
	})
	w.mu.Lock()
	held := len(w.entries) > 0
	w.mu.Unlock()
	if held {
		w.send()
	}
}

func (w *world) restart() {
	w.stop()
	w.start()
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// cleanup removes what this server made, past the converger.
func (w *world) cleanup() {
	w.stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	label := make(client.Filters).Add("label", "pandu.server="+w.server)
	containers, _ := dock.Client.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: label})
	var removals sync.WaitGroup
	for _, c := range containers.Items {
		removals.Go(func() {
			_, _ = dock.Client.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true})
		})
	}
	removals.Wait()
	networks, _ := dock.Client.NetworkList(ctx, client.NetworkListOptions{Filters: label})
	for _, n := range networks.Items {
		_, _ = dock.Client.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{})
	}
	volumes, _ := dock.Client.VolumeList(ctx, client.VolumeListOptions{Filters: label})
	for _, v := range volumes.Items {
		_, _ = dock.Client.VolumeRemove(ctx, v.Name, client.VolumeRemoveOptions{})
	}
}

func (w *world) variables(_ context.Context, id string) (map[string]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v, ok := w.secrets[id]
	if !ok {
		return nil, errors.New("the manager is away")
	}
	return v, nil
}

func (w *world) requests(_ context.Context, id string) (uint32, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked[id]++
	return w.inFlight[id], nil
}

func (w *world) setInFlight(id string, n uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inFlight[id] = n
}

// put adds an entry; send gives the list to the converger.
func (w *world) put(key string, m proto.Message) {
	body, err := proto.Marshal(m)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.revision++
	w.entries[key] = &agentv1.Entry{Key: key, Revision: w.revision, Body: body}
}

func (w *world) bury(keys ...string) {
	w.mu.Lock()
	for _, key := range keys {
		w.revision++
		w.entries[key] = &agentv1.Entry{Key: key, Revision: w.revision, Tombstone: true, Cause: "deployment"}
	}
	w.mu.Unlock()
	w.send()
}

func (w *world) forget(keys ...string) {
	w.mu.Lock()
	for _, key := range keys {
		delete(w.entries, key)
	}
	w.mu.Unlock()
	w.send()
}

func (w *world) send() {
	w.mu.Lock()
	list := make([]*agentv1.Entry, 0, len(w.entries))
	for _, e := range w.entries {
		list = append(list, e)
	}
	w.mu.Unlock()
	w.c.SetDesired(list)
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func (w *world) environment() string {
	id := newID()
	w.put("environment/"+id, &agentv1.Environment{Id: id, OrganizationId: newID(), Project: "shop", Environment: "production"})
	return id
}

// image pushes the web program and returns where it is. changes are Dockerfile instructions.
func (w *world) image(changes ...string) spec.Image {
	w.t.Helper()
	name := "pandu-test/web:" + strings.ToLower(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, w.t.Name()+strings.Join(changes, "")))
	name = name[:min(len(name), 100)]
	if _, err := dock.BuildScratch(w.ctx, name, engine.WebPackage, changes...); err != nil {
		w.t.Fatal(err)
	}
	digest, err := w.registry.Push(w.ctx, name, "acme/web")
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := dock.Client.ImageRemove(w.ctx, name, client.ImageRemoveOptions{}); err != nil {
		w.t.Fatal(err)
	}
	return spec.Image{Repository: "acme/web", Digest: digest}
}

func container(image spec.Image, env ...string) spec.Container {
	c := spec.Container{
		Image: image, Listens: true, StopGrace: spec.Duration(2 * time.Second),
		Resources: spec.Resources{Memory: 64 << 20, MilliCPU: 500, Pids: 50},
	}
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		c.Env = append(c.Env, spec.Env{Name: name, Value: value})
	}
	return c
}

// instance puts an instance and returns its id.
func (w *world) instance(environment, service string, c spec.Container, change ...func(*agentv1.Instance)) string {
	w.t.Helper()
	b, err := json.Marshal(c)
	if err != nil {
		w.t.Fatal(err)
	}
	i := &agentv1.Instance{
		Id: newID(), OrganizationId: newID(), EnvironmentId: environment, Project: "shop", Environment: "production", Service: service,
		Spec: b, SpecHash: c.Hash(), Drain: durationpb.New(5 * time.Second),
	}
	for _, f := range change {
		f(i)
	}
	w.put("instance/"+i.GetId(), i)
	return i.GetId()
}

func (w *world) status(id string) *agentv1.InstanceStatus {
	instances, _ := w.c.Statuses()
	for _, s := range instances {
		if s.GetInstanceId() == id {
			return s
		}
	}
	return nil
}

func (w *world) key(key string) *agentv1.KeyStatus {
	_, keys := w.c.Statuses()
	for _, s := range keys {
		if s.GetKey() == key {
			return s
		}
	}
	return nil
}

func (w *world) address(id string) *agentv1.Address {
	addresses, _ := w.c.Addresses()
	for _, a := range addresses {
		if a.GetInstanceId() == id {
			return a
		}
	}
	return nil
}

// eventually waits until ok; it looks after every change and each 20 ms.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	deadline := time.After(40 * time.Second)
	for !ok() {
		select {
		case <-w.c.Changed():
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			instances, keys := w.c.Statuses()
			w.t.Fatalf("never: %s\ninstances %v\nkeys %v\nengine %+v", what, instances, keys, w.c.Engine())
		}
	}
}

func (w *world) becomes(id string, state agentv1.InstanceState) *agentv1.InstanceStatus {
	w.t.Helper()
	w.eventually(fmt.Sprintf("instance %s is %s", id, state), func() bool { return w.status(id).GetState() == state })
	return w.status(id)
}

// get asks an instance over HTTP at the address the gateway would use.
func (w *world) get(id, path string) (string, error) {
	a := w.address(id)
	if a == nil {
		return "", errors.New("no address")
	}
	ctx, cancel := context.WithTimeout(w.ctx, 5*time.Second)
	defer cancel()
	url := "http://" + net.JoinHostPort(a.GetIp(), strconv.Itoa(int(a.GetPort()))) + path
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	b, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", answer.StatusCode, b)
	}
	return string(b), err
}

func (w *world) mustGet(id, path string) string {
	w.t.Helper()
	s, err := w.get(id, path)
	if err != nil {
		w.t.Fatalf("get %s: %v", path, err)
	}
	return s
}

// running is one ready web instance in an environment of its own.
func (w *world) running(env ...string) (id, environment string) {
	w.t.Helper()
	environment = w.environment()
	id = w.instance(environment, "web", container(w.image(), env...))
	w.send()
	w.becomes(id, ready)
	return id, environment
}
