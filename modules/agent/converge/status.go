package converge

import (
	"net/netip"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/internal/docker"
)

// Statuses is everything that is known of the desired entries, and the containers with our label that nobody asked for,
// each sorted by id. Before the first look at Docker it is the last truth from disk.
func (c *Converger) Statuses() ([]*agentv1.InstanceStatus, []*agentv1.KeyStatus) {
	records := c.ledger.records()
	c.mu.Lock()
	defer c.mu.Unlock()
	d, _ := decode(c.entries, c.decoded)
	instances := make([]*agentv1.InstanceStatus, 0, len(d.instances))
	for _, id := range sorted(d.instances) {
		instances = append(instances, records[id].status(id))
	}
	for _, s := range c.strays {
		if d.instances[s.instance] != nil {
			continue // a copy of one that is reported
		}
		instances = append(instances, &agentv1.InstanceStatus{
			InstanceId: s.instance, EnvironmentId: s.environment, ContainerId: s.container, SpecHash: s.hash,
			State:   agentv1.InstanceState_INSTANCE_STATE_QUARANTINED,
			Message: "Nobody asked for this container; it is left as it is.", Parameters: map[string]string{"state": s.state},
		})
	}
	var keys []*agentv1.KeyStatus
	for _, key := range sorted(c.keys) {
		s := &agentv1.KeyStatus{Key: key, State: c.keys[key].state, Message: c.keys[key].message}
		if len(key) > len(prefixEnvironment) {
			if subnet, ok := c.ledger.subnetOf(key[len(prefixEnvironment):]); ok {
				s.Subnet = subnet.String()
			}
		}
		keys = append(keys, s)
	}
	return instances, keys
}

func (r record) status(id string) *agentv1.InstanceStatus {
	s := &agentv1.InstanceStatus{
		InstanceId: id, State: r.State, SpecHash: r.SpecHash, ContainerId: r.ContainerID, Port: uint32(max(0, r.Port)), //nolint:gosec // small
		ExitCode: r.ExitCode, Restarts: r.Restarts, Reason: r.Reason, Message: r.Message, Parameters: r.Parameters,
		LastLines: r.Lines, EnvironmentId: r.Environment, Healed: r.Healed,
	}
	if s.State == agentv1.InstanceState_INSTANCE_STATE_UNSPECIFIED {
		s.State = agentv1.InstanceState_INSTANCE_STATE_PENDING
	}
	if r.Drift != "" && !r.Outcome {
		s.State, s.Reason, s.Message = agentv1.InstanceState_INSTANCE_STATE_DRIFTED, "drifted", r.Drift
	}
	return s
}

// Addresses is where the instances are: every one with an address, ready or not, and the bridges of the environments.
// After a restart of the agent it is what was known before, until something else is proven.
func (c *Converger) Addresses() ([]*agentv1.Address, []*agentv1.Network) {
	records := c.ledger.records()
	c.mu.Lock()
	defer c.mu.Unlock()
	d, _ := decode(c.entries, c.decoded)
	astray := map[string]bool{}
	for _, s := range c.strays {
		astray[s.instance] = s.state == string(docker.Running)
	}
	var addresses []*agentv1.Address
	for _, id := range sorted(records) {
		r := records[id]
		i := d.instances[id]
		if !r.IP.IsValid() || c.given && i == nil && !astray[id] {
			continue
		}
		addresses = append(addresses, &agentv1.Address{InstanceId: id, Ip: r.IP.String(), Port: uint32(max(0, r.Port)), Ready: r.Ready}) //nolint:gosec // small
	}
	return addresses, c.networks()
}

// networks are the environments' bridges, from the ledger: also known while Docker is away.
func (c *Converger) networks() []*agentv1.Network {
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	var out []*agentv1.Network
	for _, id := range sorted(c.ledger.data.Subnets) {
		var s netip.Prefix = c.ledger.data.Subnets[id]
		out = append(out, &agentv1.Network{EnvironmentId: id, BridgeIp: s.Addr().Next().String(), Subnet: s.String()})
	}
	return out
}
