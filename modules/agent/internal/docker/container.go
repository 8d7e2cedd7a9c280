package docker

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// Container is one line of a list.
type Container struct {
	ID       string
	Name     string // without the slash
	State    State
	ExitCode int // only filled by Inspect
	Labels   map[string]string
	Networks map[string]Endpoint // by network id
	Volumes  []string            // names of mounted volumes
	ImageID  string
}

// Endpoint is a container's place in a network.
type Endpoint struct {
	Network string // name
	Address netip.Addr
}

// State is the state of a container in Docker's words.
type State string

// The states.
const (
	Created    State = "created"
	Running    State = "running"
	Paused     State = "paused"
	Restarting State = "restarting"
	Removing   State = "removing"
	Exited     State = "exited"
	Dead       State = "dead"
)

// Details is what Inspect tells beyond the list.
type Details struct {
	Container
	PID          int
	StartedAt    string // as Docker writes it; two equal ones are one run
	OOMKilled    bool
	Error        string // why it could not be started
	RestartCount int
	Limits       Limits
	Policy       Policy
}

// Limits are what bounds a container.
type Limits struct {
	Memory, Swap, NanoCPUs, Pids int64
	Restart                      string
}

// Policy is what keeps a container harmless.
type Policy struct {
	CapDrop, CapAdd, Security, Binds []string
	Privileged, Publishes, ReadOnly  bool
	NetworkMode, PidMode, IpcMode    string
	Log                              string
	LogOptions                       map[string]string
	Devices                          int
}

// Containers lists all containers, in every state, that carry the label (key=value).
func (e *Engine) Containers(ctx context.Context, label string) ([]Container, error) {
	ctx, cancel := context.WithTimeout(ctx, quick)
	defer cancel()
	r, err := e.c.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", label)})
	if err != nil {
		return nil, classify("list containers", err)
	}
	out := make([]Container, 0, len(r.Items))
	for _, s := range r.Items {
		c := Container{ID: s.ID, State: State(s.State), Labels: s.Labels, ImageID: s.ImageID}
		if len(s.Names) > 0 {
			c.Name = strings.TrimPrefix(s.Names[0], "/")
		}
		if s.NetworkSettings != nil {
			c.Networks = endpoints(s.NetworkSettings.Networks)
		}
		c.Volumes = volumeNames(s.Mounts)
		out = append(out, c)
	}
	return out, nil
}

func endpoints(in map[string]*network.EndpointSettings) map[string]Endpoint {
	out := map[string]Endpoint{}
	for name, s := range in {
		if s == nil {
			continue
		}
		address := s.IPAddress
		if !address.IsValid() && s.IPAMConfig != nil { // a stopped container keeps only what it asked for
			address = s.IPAMConfig.IPv4Address
		}
		id := s.NetworkID
		if id == "" {
			id = name
		}
		out[id] = Endpoint{Network: name, Address: address}
	}
	return out
}

func volumeNames(mounts []container.MountPoint) []string {
	var names []string
	for _, m := range mounts {
		if m.Name != "" {
			names = append(names, m.Name)
		}
	}
	return names
}

// Inspect tells everything about one container.
func (e *Engine) Inspect(ctx context.Context, id string) (Details, error) {
	ctx, cancel := context.WithTimeout(ctx, quick)
	defer cancel()
	r, err := e.c.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return Details{}, classify("inspect container", err)
	}
	return details(r.Container), nil
}

func details(c container.InspectResponse) Details {
	d := Details{
		Container:    Container{ID: c.ID, Name: strings.TrimPrefix(c.Name, "/"), Volumes: volumeNames(c.Mounts), ImageID: c.Image},
		RestartCount: c.RestartCount,
	}
	if c.State != nil {
		d.State, d.ExitCode = State(c.State.Status), c.State.ExitCode
		d.PID, d.StartedAt, d.OOMKilled, d.Error = c.State.Pid, c.State.StartedAt, c.State.OOMKilled, c.State.Error
	}
	if c.Config != nil {
		d.Labels = c.Config.Labels
	}
	if c.NetworkSettings != nil {
		d.Networks = endpoints(c.NetworkSettings.Networks)
	}
	if c.HostConfig != nil {
		d.Limits, d.Policy = limits(c.HostConfig), policy(c.HostConfig)
	}
	return d
}

func limits(h *container.HostConfig) Limits {
	l := Limits{Memory: h.Memory, Swap: h.MemorySwap, NanoCPUs: h.NanoCPUs, Restart: string(h.RestartPolicy.Name)}
	if h.PidsLimit != nil {
		l.Pids = *h.PidsLimit
	}
	return l
}

func policy(h *container.HostConfig) Policy {
	return Policy{
		CapDrop: h.CapDrop, CapAdd: h.CapAdd, Security: h.SecurityOpt, Binds: h.Binds,
		Privileged: h.Privileged, Publishes: len(h.PortBindings) > 0 || h.PublishAllPorts, ReadOnly: h.ReadonlyRootfs,
		NetworkMode: string(h.NetworkMode), PidMode: string(h.PidMode), IpcMode: string(h.IpcMode),
		Log: h.LogConfig.Type, LogOptions: h.LogConfig.Config, Devices: len(h.Devices) + len(h.DeviceRequests),
	}
}

// Start starts a container that exists.
func (e *Engine) Start(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, slow)
	defer cancel()
	_, err := e.c.ContainerStart(ctx, id, client.ContainerStartOptions{})
	return classify("start container", err)
}

// Stop ends a container's program with its stop signal and, when its own grace (set when it was made) is over, kills it.
// grace only bounds how long this call waits.
func (e *Engine) Stop(ctx context.Context, id string, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, grace+slow)
	defer cancel()
	_, err := e.c.ContainerStop(ctx, id, client.ContainerStopOptions{})
	return classify("stop container", err)
}

// Remove removes a container with its anonymous volumes; named ones stay. Removing one that is gone is no error.
func (e *Engine) Remove(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, slow)
	defer cancel()
	_, err := e.c.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	return ignoreMissing(classify("remove container", err))
}
