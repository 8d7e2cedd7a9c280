package docker

import (
	"context"
	"errors"
	"net/netip"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// Network is a network of this engine, ours or not.
type Network struct {
	ID, Name string
	Labels   map[string]string
	Subnets  []netip.Prefix
	Gateway  netip.Addr
}

// Networks lists all networks, also those that are not ours: their subnets must not be used again.
func (e *Engine) Networks(ctx context.Context) ([]Network, error) {
	ctx, cancel := context.WithTimeout(ctx, quick)
	defer cancel()
	r, err := e.c.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		return nil, classify("list networks", err)
	}
	out := make([]Network, 0, len(r.Items))
	for _, s := range r.Items {
		n := Network{ID: s.ID, Name: s.Name, Labels: s.Labels}
		for _, c := range s.IPAM.Config {
			n.Subnets = append(n.Subnets, c.Subnet)
			if !n.Gateway.IsValid() {
				n.Gateway = c.Gateway
			}
		}
		out = append(out, n)
	}
	return out, nil
}

// CreateNetwork makes a bridge with the given subnet; its first address is the bridge's own.
func (e *Engine) CreateNetwork(ctx context.Context, name string, subnet netip.Prefix, labels map[string]string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, slow)
	defer cancel()
	r, err := e.c.NetworkCreate(ctx, name, client.NetworkCreateOptions{
		Driver: "bridge",
		IPAM:   &network.IPAM{Driver: "default", Config: []network.IPAMConfig{{Subnet: subnet, Gateway: subnet.Addr().Next()}}},
		Labels: labels,
	})
	if err != nil {
		return "", classify("create network", err)
	}
	return r.ID, nil
}

// RemoveNetwork removes a network without containers. Removing one that is gone is no error.
func (e *Engine) RemoveNetwork(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, slow)
	defer cancel()
	_, err := e.c.NetworkRemove(ctx, id, client.NetworkRemoveOptions{})
	return ignoreMissing(classify("remove network", err))
}

// Connect puts a container into a network at an address.
func (e *Engine) Connect(ctx context.Context, networkID, containerID string, address netip.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, slow)
	defer cancel()
	_, err := e.c.NetworkConnect(ctx, networkID, client.NetworkConnectOptions{
		Container:      containerID,
		EndpointConfig: &network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: address}},
	})
	return classify("connect network", err)
}

// Disconnect takes a container out of a network (by id or name), also when the network is gone.
func (e *Engine) Disconnect(ctx context.Context, networkID, containerID string) error {
	ctx, cancel := context.WithTimeout(ctx, slow)
	defer cancel()
	_, err := e.c.NetworkDisconnect(ctx, networkID, client.NetworkDisconnectOptions{Container: containerID, Force: true})
	return ignoreMissing(classify("disconnect network", err))
}

// Volume is a named volume.
type Volume struct {
	Name   string
	Labels map[string]string
}

// Volumes lists the volumes that carry the label (key=value).
func (e *Engine) Volumes(ctx context.Context, label string) ([]Volume, error) {
	ctx, cancel := context.WithTimeout(ctx, quick)
	defer cancel()
	r, err := e.c.VolumeList(ctx, client.VolumeListOptions{Filters: make(client.Filters).Add("label", label)})
	if err != nil {
		return nil, classify("list volumes", err)
	}
	out := make([]Volume, 0, len(r.Items))
	for _, v := range r.Items {
		out = append(out, Volume{Name: v.Name, Labels: v.Labels})
	}
	return out, nil
}

// CreateVolume makes a named volume on the Engine's own disk, without any driver option.
func (e *Engine) CreateVolume(ctx context.Context, name string, labels map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, quick)
	defer cancel()
	_, err := e.c.VolumeCreate(ctx, client.VolumeCreateOptions{Name: name, Driver: "local", Labels: labels})
	return classify("create volume", err)
}

// RemoveVolume removes a volume with its data. Removing one that is gone is no error.
func (e *Engine) RemoveVolume(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, slow)
	defer cancel()
	_, err := e.c.VolumeRemove(ctx, name, client.VolumeRemoveOptions{})
	return ignoreMissing(classify("remove volume", err))
}

func ignoreMissing(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
