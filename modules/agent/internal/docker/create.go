package docker

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// Create is a container to be made. It has no field for anything that reaches the host; what every container gets alike
// (dropped capabilities, no new privileges, bounded log) is added by request.
type Create struct {
	Name       string
	Image      string // id or reference that Docker has
	Hostname   string
	Labels     map[string]string
	Env        []string // NAME=value
	Entrypoint []string // nil: the image's
	Command    []string // nil: the image's
	User       string
	WorkingDir string
	StopSignal string
	StopGrace  time.Duration
	ReadOnly   bool
	Restart    string // "unless-stopped", "on-failure", "no"
	Memory     int64  // bytes
	NanoCPUs   int64
	Pids       int64
	Mounts     []Mount
	Network    string // name
	Address    netip.Addr
	DNS        netip.Addr
}

// Mount puts a named volume at a path.
type Mount struct {
	Volume, Path string
	ReadOnly     bool
}

// capabilities is what stays of Docker's default set. The entry points of nginx, postgres, redis and their like start as
// root, make directories theirs (CHOWN, DAC_OVERRIDE, FOWNER), change to a user (SETUID, SETGID) and signal
// what runs as that user (KILL); many listen below 1024 (NET_BIND_SERVICE). FSETID keeps the group bit on what they
// chown. Not in it, unlike Docker's: NET_RAW (forged packets inside the bridge), MKNOD, SYS_CHROOT, AUDIT_WRITE,
// SETFCAP and SETPCAP (no program of a tenant has to hand out capabilities).
func capabilities() []string {
	return []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID", "NET_BIND_SERVICE", "KILL"}
}

// Create makes a container, not started, and returns its id. A name that is taken is ErrConflict.
func (e *Engine) Create(ctx context.Context, c Create) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, slow)
	defer cancel()
	r, err := e.c.ContainerCreate(ctx, request(c))
	if err != nil {
		return "", classify("create container", err)
	}
	return r.ID, nil
}

// request is the only place that makes a request for a container.
func request(c Create) client.ContainerCreateOptions {
	grace := max(1, int(c.StopGrace.Round(time.Second)/time.Second))
	return client.ContainerCreateOptions{
		Name: c.Name,
		Config: &container.Config{
			Hostname: c.Hostname, User: c.User, Env: c.Env, Cmd: c.Command, Entrypoint: c.Entrypoint, Image: c.Image,
			WorkingDir: c.WorkingDir, Labels: c.Labels, StopSignal: c.StopSignal, StopTimeout: &grace,
			Healthcheck: &container.HealthConfig{Test: []string{"NONE"}}, // the agent asks by itself
		},
		HostConfig: hostConfig(c),
		NetworkingConfig: &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{
			c.Network: {IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: c.Address}},
		}},
	}
}

func hostConfig(c Create) *container.HostConfig {
	h := &container.HostConfig{
		NetworkMode:    container.NetworkMode(c.Network),
		RestartPolicy:  container.RestartPolicy{Name: container.RestartPolicyMode(c.Restart)},
		CapDrop:        []string{"ALL"},
		CapAdd:         capabilities(),
		SecurityOpt:    []string{"no-new-privileges:true"},
		IpcMode:        container.IPCModePrivate,
		ReadonlyRootfs: c.ReadOnly,
		// json-file and not local: the Engine before 23 does not follow a local log across its rotation.
		LogConfig: container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "10m", "max-file": "3"}},
		// No init of ours as process 1: images with a supervisor of their own (s6, systemd) refuse to run as any other.
		Init: new(bool),
		Resources: container.Resources{
			Memory: c.Memory, MemorySwap: c.Memory, NanoCPUs: c.NanoCPUs, PidsLimit: &c.Pids,
		},
	}
	if c.DNS.IsValid() {
		h.DNS = []netip.Addr{c.DNS}
		h.DNSSearch = []string{"."} // the machine's search domains would be tried before the bare name of a service
	}
	for _, m := range c.Mounts {
		h.Mounts = append(h.Mounts, mount.Mount{Type: mount.TypeVolume, Source: m.Volume, Target: m.Path, ReadOnly: m.ReadOnly})
	}
	return h
}

// Harmless says what in a container breaks the policy that every container of ours follows; nil when nothing does. It
// judges what Docker made, so it also finds what somebody changed later.
func (d Details) Harmless() error {
	p, l := d.Policy, d.Limits
	switch {
	case p.Privileged, p.Devices > 0, len(p.Binds) > 0, p.Publishes:
		return fmt.Errorf("container reaches the host: %+v", p)
	case l.Memory <= 0 || l.Swap != l.Memory || l.NanoCPUs <= 0 || l.Pids <= 0:
		return fmt.Errorf("container without a limit: %+v", l)
	case len(p.CapDrop) != 1 || p.CapDrop[0] != "ALL" || slices.ContainsFunc(p.CapAdd, unusual):
		return fmt.Errorf("container keeps capabilities: drop %v, add %v", p.CapDrop, p.CapAdd)
	case len(p.Security) != 1 || p.Security[0] != "no-new-privileges:true":
		return fmt.Errorf("container may gain privileges: %v", p.Security)
	case p.PidMode != "" || p.IpcMode != "private" || p.NetworkMode == "host" || p.NetworkMode == "default":
		return fmt.Errorf("container shares a namespace: %+v", p)
	case p.LogOptions["max-size"] == "" || p.LogOptions["max-file"] == "":
		return fmt.Errorf("container has an unbounded log: %v", p.LogOptions)
	}
	return nil
}

// unusual reports whether a capability is none of ours; newer engines write them with a prefix.
func unusual(capability string) bool {
	return !slices.Contains(capabilities(), strings.TrimPrefix(capability, "CAP_"))
}
