package agent

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/moby/moby/client"
	"google.golang.org/protobuf/proto"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/internal/managertest"
	"pandu/modules/gateway"
	"pandu/modules/spec"
	"pandu/tests/engine"
	"pandu/tests/engine/registry"
)

// TestWalkOnARealEngine goes from desired entries to a site that answers, through a real Engine, the real gateway and
// images that come over the agent's own connection; then takes everything away but container and gateway.
func TestWalkOnARealEngine(t *testing.T) {
	dock, image, images := imageOfWeb(t)
	m := managertest.Start(t, managertest.NewCA(t, time.Now))
	m.SetRegistry(images.Address)
	o := options(t, t.TempDir(), m)
	o.Docker = dock.Host
	address := freeAddress(t)
	runGateway(t, o.GatewayDir, address)
	t.Cleanup(func() { removeAll(dock) })

	_, stop := start(t, o)
	s := m.Session(t)
	s.Welcome(epoch, beat)
	environment, id := uuid.NewString(), uuid.NewString()
	m.SetVariables(id, map[string]string{"GREETING": "ahoy"})
	entries := []*agentv1.Entry{
		entry(t, "environment/"+environment, 1, &agentv1.Environment{Id: environment, OrganizationId: uuid.NewString(), Project: "walk", Environment: "production"}),
		entry(t, "instance/"+id, 2, webInstance(t, environment, id, image)),
	}
	s.Snapshot(instances, epoch, 2, entries...)
	ready := waitStatus(t, s, id, agentv1.InstanceState_INSTANCE_STATE_READY)
	route := entry(t, "routes/"+environment, 1, &agentv1.RouteSet{EnvironmentId: environment, OrganizationId: "o", Routes: []*agentv1.Route{
		{Host: "walk.localhost", Path: "/", Service: "web", InstanceIds: []string{id}, State: agentv1.Route_STATE_SERVING},
	}})
	s.Snapshot(routes, epoch, 1, route)
	s.Applied(t, routes, 1)
	if status := get(t, address, "walk.localhost"); status != http.StatusOK {
		t.Fatalf("site answers %d when its route is acknowledged", status)
	}
	if _, body := fetch(t, address, "walk.localhost", "/env?name=GREETING"); strings.TrimSpace(body) != "ahoy" {
		t.Errorf("the container's variable is %q", body)
	}
	s.Request(&agentv1.Request{Id: "log", Request: &agentv1.Request_Log{Log: &agentv1.LogRequest{InstanceId: id, Tail: 10}}})
	if c := m.Chunk(t); c.GetRequestId() != "log" {
		t.Errorf("chunk is %v", c)
	}

	stop()
	if status := get(t, address, "walk.localhost"); status != http.StatusOK {
		t.Errorf("without an agent the site answers %d", status)
	}
	// As if a kill had come before the last addresses were written.
	if err := agentv1.WriteAddressBook(o.GatewayDir, &agentv1.AddressBook{Version: 9}); err != nil {
		t.Fatal(err)
	}
	_, stop = start(t, o)
	defer stop()
	s = m.Session(t)
	s.Welcome(epoch, beat)
	if again := waitStatus(t, s, id, agentv1.InstanceState_INSTANCE_STATE_READY); again.GetContainerId() != ready.GetContainerId() || again.GetRestarts() != ready.GetRestarts() {
		t.Errorf("container was %s, after the agent's restart it is %s", ready.GetContainerId(), again.GetContainerId())
	}
	waitFor(t, func() bool { return get(t, address, "walk.localhost") == http.StatusOK })

	// A server that has lost its ledger knows of no wish; it must not take that for the wish that nothing runs.
	stop()
	if err := os.RemoveAll(filepath.Join(o.Dir, "ledger")); err != nil {
		t.Fatal(err)
	}
	a, stop := start(t, o)
	defer stop()
	s = m.Session(t)
	if len(s.Hello.GetRevisions()) != 0 && s.Hello.GetRevisions()[int32(instances)] != 0 {
		t.Errorf("hello says %v", s.Hello.GetRevisions())
	}
	s.Welcome(epoch, beat)
	waitFor(t, func() bool { return a.State().Server.GetEngineVersion() != "" })
	if status := get(t, address, "walk.localhost"); status != http.StatusOK {
		t.Errorf("without its ledger the site answers %d", status)
	}
	s.Snapshot(instances, epoch, 2, entries...)
	if again := waitStatus(t, s, id, agentv1.InstanceState_INSTANCE_STATE_READY); again.GetContainerId() != ready.GetContainerId() {
		t.Errorf("container was %s, with a new ledger it is %s", ready.GetContainerId(), again.GetContainerId())
	}
	s.Snapshot(routes, epoch, 1, route)
	s.Applied(t, routes, 1)
	if status := get(t, address, "walk.localhost"); status != http.StatusOK {
		t.Errorf("with a new ledger the site answers %d", status)
	}

	s.Delta(routes, epoch, 1, 2, []*agentv1.Entry{{Key: route.GetKey(), Revision: 2, Tombstone: true, Cause: "delete"}}, nil)
	s.Applied(t, routes, 2)
	tombstones := []*agentv1.Entry{
		{Key: entries[0].GetKey(), Revision: 3, Tombstone: true, Cause: "delete"},
		{Key: entries[1].GetKey(), Revision: 4, Tombstone: true, Cause: "delete"},
	}
	s.Delta(instances, epoch, 2, 4, tombstones, nil)
	waitStatus(t, s, id, agentv1.InstanceState_INSTANCE_STATE_GONE)
	if _, err := dock.Client.ContainerInspect(t.Context(), ready.GetContainerId(), client.ContainerInspectOptions{}); err == nil {
		t.Error("the container is still there")
	}
}

func imageOfWeb(t *testing.T) (*engine.Engine, spec.Image, *registry.Registry) {
	t.Helper()
	dock, err := engine.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dock.Close(); err != nil {
			t.Error(err)
		}
	})
	images := registry.Start(t, dock)
	const name = "pandu-test/web:agentwalk"
	if _, err := dock.BuildScratch(t.Context(), name, engine.WebPackage); err != nil {
		t.Fatal(err)
	}
	digest, err := images.Push(t.Context(), name, "acme/web")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dock.Client.ImageRemove(t.Context(), name, client.ImageRemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	return dock, spec.Image{Repository: "acme/web", Digest: digest}, images
}

func runGateway(t *testing.T, dir, address string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	g := gateway.New(gateway.Options{Dir: dir, HTTPAddress: address, DrainTimeout: time.Second, Version: "test"})
	go func() { ended <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func entry(t *testing.T, key string, revision uint64, m proto.Message) *agentv1.Entry {
	t.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return &agentv1.Entry{Key: key, Revision: revision, Body: body}
}

func webInstance(t *testing.T, environment, id string, image spec.Image) *agentv1.Instance {
	t.Helper()
	c := spec.Container{
		Image: image, Listens: true, StopGrace: spec.Duration(2 * time.Second),
		Env:       []spec.Env{{Name: "GREETING", FromVariable: true}, {Name: "LOG_LINES", Value: "3"}},
		Resources: spec.Resources{Memory: 64 << 20, MilliCPU: 500, Pids: 50},
	}
	body, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return &agentv1.Instance{
		Id: id, OrganizationId: uuid.NewString(), EnvironmentId: environment, Project: "walk", Environment: "production", Service: "web",
		Spec: body, SpecHash: c.Hash(), VariablesVersion: 1,
	}
}

// waitStatus reads reports until an instance has a state. An end that cannot lead there fails at once.
func waitStatus(t *testing.T, s *managertest.Session, id string, state agentv1.InstanceState) *agentv1.InstanceStatus {
	t.Helper()
	var found *agentv1.InstanceStatus
	s.Wait(t, state.String(), func(m *agentv1.AgentMessage) bool {
		for _, status := range m.GetReport().GetInstances() {
			if status.GetInstanceId() != id {
				continue
			}
			if status.GetState() == agentv1.InstanceState_INSTANCE_STATE_FAILED {
				t.Fatalf("instance failed: %v", status)
			}
			found = status
		}
		return found.GetState() == state
	})
	return found
}

// removeAll leaves nothing of this test's server on the engine, whatever happened before.
func removeAll(dock *engine.Engine) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	label := make(client.Filters).Add("label", "pandu.server="+managertest.ServerID)
	containers, _ := dock.Client.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: label})
	for _, c := range containers.Items {
		_, _ = dock.Client.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true})
	}
	networks, _ := dock.Client.NetworkList(ctx, client.NetworkListOptions{Filters: label})
	for _, n := range networks.Items {
		_, _ = dock.Client.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{})
	}
}
