package converge

import (
	"context"
	"slices"
	"strings"
	"time"

	"pandu/modules/agent/agentv1"
)

// halt stops the container of an instance that failed for good. It stays for its log.
func (c *Converger) halt(ctx context.Context, a action) error {
	return c.stop(ctx, a.containers[0], c.ledger.record(strings.TrimPrefix(a.key, prefixInstance)).Grace)
}

func (c *Converger) stop(ctx context.Context, id string, grace time.Duration) error {
	if err := enter(ctx, c.stops); err != nil {
		return err
	}
	defer leave(c.stops)
	err := c.deps.Docker.Stop(ctx, id, grace)
	if isMissing(err) {
		return nil
	}
	return err
}

// retire carries a tombstone out: no new visitors, the old ones finish, stop, remove.
func (c *Converger) retire(ctx context.Context, a action) error {
	id := strings.TrimPrefix(a.key, prefixInstance)
	c.unwatch(id)
	before := c.ledger.record(id)
	c.update(id, func(r *record) {
		r.State, r.Ready, r.Drift = agentv1.InstanceState_INSTANCE_STATE_STOPPING, false, ""
		r.say("", "", nil)
	})
	if before.WasReady && before.IP.IsValid() {
		c.drain(ctx, id, before.Drain)
	}
	for _, container := range slices.Clone(a.containers) {
		if err := c.stop(ctx, container, before.Grace); err != nil {
			return err
		}
		if err := c.deps.Docker.Remove(ctx, container); err != nil {
			return err
		}
	}
	c.noteDeleted(id, before.Repository)
	return ctx.Err()
}

// noteDeleted lets the images of a deleted project go now that a container of theirs is gone.
func (c *Converger) noteDeleted(id, repository string) {
	c.mu.Lock()
	i := c.desired.instances[id]
	gone := i != nil && i.cause == "delete" && repository != ""
	if gone {
		c.deleted[repository] = true
	}
	c.mu.Unlock()
	if gone {
		signal(c.dropped)
	}
}

// drain waits until the gateway has no request open to an instance: told twice, because the first answer may be older
// than the news that the address left. It waits no longer than limit, also when the gateway does not answer.
func (c *Converger) drain(ctx context.Context, id string, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for idle := 0; idle < 2 && ctx.Err() == nil; {
		asking, cancel := context.WithTimeout(ctx, 2*time.Second)
		n, err := c.deps.InFlight(asking, id)
		cancel()
		if idle++; err != nil || n > 0 {
			idle = 0
		}
		if idle < 2 {
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
}
