package converge

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/internal/docker"
	"pandu/modules/spec"
)

// performStart brings an instance's container to running: created anew, started again, or back in its network.
func (c *Converger) performStart(ctx context.Context, a action, i *instance, d desired) error {
	before := c.ledger.record(i.id)
	var id string
	var err error
	switch a.kind {
	case create:
		for _, dead := range a.containers {
			if err := c.deps.Docker.Remove(ctx, dead); err != nil {
				return err
			}
		}
		id, err = c.make(ctx, i, d)
	default:
		id = a.containers[0]
		if i.runsToEnd() && before.Started {
			if begun, err := c.begun(ctx, id); begun || err != nil {
				return err
			}
		}
		err = c.rejoin(ctx, i, id)
	}
	if err != nil || a.kind == reconnect {
		return err
	}
	c.update(i.id, func(r *record) {
		r.ContainerID, r.Started = id, true
		r.State, r.Ready = agentv1.InstanceState_INSTANCE_STATE_STARTING, false
		if before.WasReady {
			r.State = agentv1.InstanceState_INSTANCE_STATE_RESTARTING
		}
		r.say("", "", nil)
	})
	if i.runsToEnd() { // a task must be known to have started before it does
		if err := c.ledger.flush(); err != nil {
			return err
		}
	}
	if err := c.run(ctx, i, id); err != nil {
		return err
	}
	if before.Started && !(a.excused && a.kind == start) {
		c.update(i.id, func(r *record) { r.Healed++ })
	}
	return nil
}

// begun reports whether a task that was asked to start before, by an agent that ended in the middle of it, has begun by
// now. Docker may still be at it: asking for the start again would run the task twice. Docker answers an inspection only
// when a start under way is through; the pause is for a request that it had not read yet.
func (c *Converger) begun(ctx context.Context, id string) (bool, error) {
	for n := range 2 {
		if n > 0 {
			select {
			case <-ctx.Done():
				return false, ctx.Err()
			case <-time.After(2 * time.Second):
			}
		}
		d, err := c.deps.Docker.Inspect(ctx, id)
		if err != nil || d.State != docker.Created {
			return err == nil, err
		}
	}
	return false, nil
}

// run starts the container and begins to probe it.
func (c *Converger) run(ctx context.Context, i *instance, id string) error {
	if err := enter(ctx, c.starts); err != nil {
		return err
	}
	err := c.deps.Docker.Start(ctx, id)
	leave(c.starts)
	if err != nil {
		return c.refused(ctx, i, id, err)
	}
	c.mu.Lock()
	delete(c.byHand, id)
	c.mu.Unlock()
	c.watch(i, id)
	return nil
}

// refused judges why a container did not start. A program that is not there will not be there the next time either.
func (c *Converger) refused(ctx context.Context, i *instance, id string, err error) error {
	if errors.Is(err, docker.ErrUnavailable) || ctx.Err() != nil {
		return err
	}
	if strings.Contains(strings.ToLower(err.Error()), "address already in use") {
		c.ledger.release(i.id) // something that is not ours sits there
		return errors.Join(err, c.deps.Docker.Remove(ctx, id))
	}
	d, inspectErr := c.deps.Docker.Inspect(ctx, id)
	if inspectErr == nil && (d.ExitCode == 126 || d.ExitCode == 127) {
		c.failExited(ctx, i.id, d)
		return nil
	}
	return err
}

// make creates the container of an instance and returns its id. Nothing of it runs yet.
func (c *Converger) make(ctx context.Context, i *instance, d desired) (string, error) {
	image, err := c.image(ctx, i)
	if err != nil {
		return "", err
	}
	variables, err := c.variables(ctx, i)
	if err != nil {
		return "", err
	}
	environment := d.environments[i.body.GetEnvironmentId()]
	address, err := c.ledger.address(i.id, environment.id)
	if err != nil {
		return "", &withReason{"limits", "No address is free in its environment.", err}
	}
	subnet, _ := c.ledger.subnetOf(environment.id)
	env, err := environ(i.spec, variables, image.Env, announcedPort(i.spec, image.Ports))
	if err != nil {
		return "", err
	}
	request := c.request(i, image, env)
	request.Network, request.Address, request.DNS = networkName(environment), address, subnet.Addr().Next()
	id, err := c.deps.Docker.Create(ctx, request)
	if err != nil {
		return "", err
	}
	return id, nil
}

// request is the container of an instance, made from its specification only.
func (c *Converger) request(i *instance, image docker.Image, env []string) docker.Create {
	s := i.spec
	r := docker.Create{
		Name: containerName(i.body), Image: image.ID, Hostname: i.body.GetService(), Labels: c.containerLabels(i),
		Env:        env,
		Entrypoint: s.Entrypoint, Command: s.Command, User: s.User, WorkingDir: s.WorkingDir,
		StopSignal: s.StopSignal, StopGrace: i.grace(), ReadOnly: s.ReadOnly,
	}
	l := c.limits(s)
	r.Restart, r.Memory, r.NanoCPUs, r.Pids = l.Restart, l.Memory, l.NanoCPUs, l.Pids
	for _, m := range s.Mounts {
		r.Mounts = append(r.Mounts, docker.Mount{Volume: volumeName(m.ID), Path: m.Path, ReadOnly: m.ReadOnly})
	}
	return r
}

// limits are those a container gets. Docker refuses more cores than the machine has, so they are cut to it.
func (c *Converger) limits(s spec.Container) docker.Limits {
	c.mu.Lock()
	cores := int64(c.engine.CPUs)
	c.mu.Unlock()
	nano := s.Resources.MilliCPU * 1_000_000
	if cores > 0 {
		nano = min(nano, cores*1_000_000_000)
	}
	restart := map[spec.Restart]string{spec.RestartNever: "no", spec.RestartOnFailure: "on-failure"}[s.Restart]
	if restart == "" {
		restart = "unless-stopped"
	}
	return docker.Limits{Memory: s.Resources.Memory, Swap: s.Resources.Memory, NanoCPUs: nano, Pids: s.Resources.Pids, Restart: restart}
}

// image gives the instance's image, pulled when Docker does not have it.
func (c *Converger) image(ctx context.Context, i *instance) (docker.Image, error) {
	at := i.spec.Image
	found, err := c.deps.Docker.Image(ctx, c.deps.Registry, at.Repository, at.Digest)
	if isMissing(err) {
		c.update(i.id, func(r *record) { r.State = agentv1.InstanceState_INSTANCE_STATE_PULLING })
		if err := c.pull(ctx, at); err != nil {
			return found, err
		}
		found, err = c.deps.Docker.Image(ctx, c.deps.Registry, at.Repository, at.Digest)
	}
	return found, err
}

func (c *Converger) pull(ctx context.Context, at spec.Image) error {
	if err := enter(ctx, c.pulls); err != nil {
		return err
	}
	defer leave(c.pulls)
	err := c.deps.Docker.Pull(ctx, c.deps.Registry+"/"+at.Repository+"@"+at.Digest)
	if err != nil && !errors.Is(err, docker.ErrUnavailable) {
		return &withReason{"image_missing", "The image cannot be fetched from the panel's registry.", err}
	}
	return err
}

// variables fetches what the instance may know. Failing closed: without them nothing starts.
func (c *Converger) variables(ctx context.Context, i *instance) (map[string]string, error) {
	if i.body.GetVariablesVersion() == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	v, err := c.deps.Secrets(ctx, i.id)
	if err != nil {
		return nil, &withReason{"secrets", "Its variables cannot be fetched from the manager.", err}
	}
	return v, nil
}

// rejoin makes sure that a container that exists sits in its environment's network as it is now, at its address.
func (c *Converger) rejoin(ctx context.Context, i *instance, id string) error {
	environment := i.body.GetEnvironmentId()
	d, err := c.deps.Docker.Inspect(ctx, id)
	if err != nil {
		return err
	}
	networks, err := c.deps.Docker.Networks(ctx)
	if err != nil {
		return err
	}
	for _, n := range networks {
		if n.Labels[labelServer] != c.deps.ServerID || n.Labels[labelEnvironment] != environment {
			continue
		}
		if _, connected := d.Networks[n.ID]; connected {
			return nil
		}
		for _, e := range d.Networks { // one that is gone, under the same name
			if e.Network == n.Name {
				if err := c.deps.Docker.Disconnect(ctx, e.Network, id); err != nil {
					return err
				}
			}
		}
		address, err := c.ledger.address(i.id, environment)
		if err != nil {
			return err
		}
		return c.deps.Docker.Connect(ctx, n.ID, id, address)
	}
	return fmt.Errorf("network of environment %s: %w", environment, docker.ErrNotFound)
}
