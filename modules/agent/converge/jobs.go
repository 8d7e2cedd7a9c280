package converge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/internal/docker"
)

// job is one action under way. There is at most one for a key.
type job struct {
	kind   kind
	cancel context.CancelFunc
	done   chan struct{}
	err    error // set before done is closed
}

// retry is when a key that failed may be tried again.
type retry struct {
	kind     kind
	failures int
	after    time.Time
	message  string
}

// attempts is how often a passing failure is tried quickly (1, 2, 4, 8 s apart) before it is reported as a failure. After
// that it is tried slowly, for ever: the registry, the manager or the disk may come back.
const attempts = 5

func isMissing(err error) bool { return errors.Is(err, docker.ErrNotFound) }

// dispatch starts an action unless its key is busy or must wait. A tombstone ends what is under way for its key.
func (c *Converger) dispatch(ctx context.Context, a action, busy map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if j := c.jobs[a.key]; j != nil {
		if a.kind != j.kind && (a.kind == retire || a.kind == removeNetwork || a.kind == removeVolume) {
			j.cancel()
		}
		return
	}
	if busy[a.key] {
		return
	}
	if r := c.retries[a.key]; r.kind == a.kind && c.deps.Now().Before(r.after) {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	j := &job{kind: a.kind, cancel: cancel, done: make(chan struct{})}
	var first []*job
	for _, key := range a.after {
		if other := c.jobs[key]; other != nil {
			first = append(first, other)
		}
	}
	c.jobs[a.key] = j
	d := c.desired
	a.excused = c.away
	c.work.Go(func() { c.finish(ctx, a, j, c.perform(ctx, a, d, first)) })
}

// cancelStart ends the making of something that is not wanted any more, and reports whether a job is under way for key.
func (c *Converger) cancelStart(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	j := c.jobs[key]
	if j != nil && j.kind != retire && j.kind != removeNetwork && j.kind != removeVolume {
		j.cancel()
	}
	return j != nil
}

// finish notes how a job ended and causes the pass that sees its effect.
func (c *Converger) finish(ctx context.Context, a action, j *job, err error) {
	stopped := ctx.Err() != nil
	j.cancel()
	c.mu.Lock()
	delete(c.jobs, a.key)
	switch {
	case err == nil:
		delete(c.retries, a.key)
	case !stopped:
		r := c.retries[a.key]
		if r.kind != a.kind {
			r = retry{kind: a.kind}
		}
		r.failures++
		wait := time.Duration(1<<min(r.failures-1, 6)) * time.Second
		wait = min(wait, time.Minute)
		wait = wait*3/4 + rand.N(wait/2) //nolint:gosec // jitter
		r.after, r.message = c.deps.Now().Add(wait), string(a.kind)+": "+err.Error()
		c.retries[a.key] = r
		time.AfterFunc(wait, func() { signal(c.wake) })
	}
	failures := c.retries[a.key].failures
	j.err = err
	c.mu.Unlock()
	close(j.done)
	if err != nil && !stopped {
		c.deps.Logger.Warn("action failed", "action", string(a.kind), "key", a.key, "failures", failures, "error", err)
		c.complain(a, err, failures)
	}
	signal(c.wake)
}

// complain reports a failure that stays: quietly while it may pass at once, then as failed.
func (c *Converger) complain(a action, err error, failures int) {
	id, ok := strings.CutPrefix(a.key, prefixInstance)
	if !ok || errors.Is(err, docker.ErrUnavailable) {
		return
	}
	var w *withReason
	reason, message := "engine", "Docker cannot do it: "+short(err)
	if errors.As(err, &w) {
		reason, message = w.reason, w.message
	}
	c.update(id, func(r *record) {
		if r.Outcome || a.kind != create && a.kind != start {
			return
		}
		r.say(reason, message, map[string]string{"attempts": strconv.Itoa(failures)})
		switch {
		case r.WasReady: // it goes on being restarted
		case failures >= attempts:
			r.State, r.Ready = agentv1.InstanceState_INSTANCE_STATE_FAILED, false
		default:
			r.State, r.Ready = agentv1.InstanceState_INSTANCE_STATE_PENDING, false
		}
	})
}

// withReason is an error that has words for the person.
type withReason struct {
	reason, message string
	cause           error
}

func (w *withReason) Error() string { return w.message + ": " + w.cause.Error() }
func (w *withReason) Unwrap() error { return w.cause }

// short is an error as one bounded line.
func short(err error) string {
	s := strings.Join(strings.Fields(err.Error()), " ")
	return strings.ToValidUTF8(s[:min(len(s), 500)], "")
}

// perform carries one action out, after the jobs it needs.
func (c *Converger) perform(ctx context.Context, a action, d desired, first []*job) error {
	for _, j := range first {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-j.done:
			if j.err != nil {
				return fmt.Errorf("wait for %s: %w", j.kind, j.err)
			}
		}
	}
	switch a.kind {
	case makeNetwork, removeNetwork, makeVolume, removeVolume:
		if err := enter(ctx, c.bridges); err != nil {
			return err
		}
		defer leave(c.bridges)
		return c.performKey(ctx, a, d)
	case completed, failed:
		return c.performEnd(ctx, a)
	case halt:
		return c.halt(ctx, a)
	case retire:
		return c.retire(ctx, a)
	default:
		i := d.instances[strings.TrimPrefix(a.key, prefixInstance)]
		return c.performStart(ctx, a, i, d)
	}
}

func (c *Converger) performKey(ctx context.Context, a action, d desired) error {
	_, id, _ := strings.Cut(a.key, "/")
	switch a.kind {
	case makeNetwork:
		return c.makeNetwork(ctx, d.environments[id])
	case makeVolume:
		v := d.volumes[id]
		return c.deps.Docker.CreateVolume(ctx, volumeName(id), map[string]string{
			labelServer: c.deps.ServerID, labelVolume: id, labelEnvironment: v.environment, labelOrganization: v.organization,
		})
	case removeNetwork:
		c.mu.Lock()
		n := c.seen.networks[id]
		c.mu.Unlock()
		return c.deps.Docker.RemoveNetwork(ctx, n.id)
	default:
		return c.deps.Docker.RemoveVolume(ctx, volumeName(id))
	}
}

// makeNetwork makes an environment's bridge. A subnet that Docker finds taken is put aside and the next one tried.
func (c *Converger) makeNetwork(ctx context.Context, e *environment) error {
	taken, err := c.taken(ctx)
	if err != nil {
		return err
	}
	labels := map[string]string{labelServer: c.deps.ServerID, labelEnvironment: e.id, labelOrganization: e.organization}
	for range 16 {
		subnet, err := c.ledger.subnet(e.id, taken)
		if errors.Is(err, errPoolEmpty) {
			return &withReason{"limits", "No subnet is free on this server.", err}
		}
		if err != nil {
			return err
		}
		_, err = c.deps.Docker.CreateNetwork(ctx, networkName(e), subnet, labels)
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), "overlap") {
			return err
		}
		c.ledger.dropSubnet(e.id)
	}
	return &withReason{"limits", "No subnet is free on this server.", errPoolEmpty}
}

// performEnd writes down how a container ended that nobody starts again.
func (c *Converger) performEnd(ctx context.Context, a action) error {
	id := strings.TrimPrefix(a.key, prefixInstance)
	if a.kind == completed {
		c.conclude(id, func(r *record) {
			r.State, r.ExitCode = agentv1.InstanceState_INSTANCE_STATE_COMPLETED, 0
			r.say("", "", nil)
		})
		return nil
	}
	if len(a.containers) == 0 {
		c.conclude(id, func(r *record) {
			r.State = agentv1.InstanceState_INSTANCE_STATE_FAILED
			r.say("exited", "Its container was removed by hand while it ran.", nil)
		})
		return nil
	}
	d, err := c.deps.Docker.Inspect(ctx, a.containers[0])
	if err != nil {
		return err
	}
	c.failExited(ctx, id, d)
	return nil
}

// failExited concludes an instance whose program ended when it should not have.
func (c *Converger) failExited(ctx context.Context, id string, d docker.Details) {
	lines, err := c.deps.Docker.LastLines(ctx, d.ID, 20)
	if err != nil {
		c.deps.Logger.Warn("log of failed container cannot be read", "instance", id, "error", err)
	}
	c.conclude(id, func(r *record) {
		r.State, r.ExitCode, r.Restarts = agentv1.InstanceState_INSTANCE_STATE_FAILED, int32(d.ExitCode), uint32(max(0, d.RestartCount)) //nolint:gosec // small
		r.say("exited", exitMessage(d), map[string]string{"exit_code": strconv.Itoa(d.ExitCode)})
		r.Lines = lines
	})
}

func exitMessage(d docker.Details) string {
	switch {
	case d.OOMKilled:
		return fmt.Sprintf("The program was killed because it used more than its memory limit of %d MiB.", d.Limits.Memory>>20)
	case d.ExitCode == 128+9 && d.Error == "":
		// The kernel kills so, and Docker does not always learn why.
		return fmt.Sprintf("The program was killed (status 137). Most often it used more than its memory limit of %d MiB.", d.Limits.Memory>>20)
	case d.Error != "":
		return "The program could not be started: " + short(errors.New(d.Error))
	case d.ExitCode == 0:
		return "The program ended with status 0, but it should keep running."
	default:
		return fmt.Sprintf("The program ended with status %d.", d.ExitCode)
	}
}

// enter takes one of the places in a semaphore.
func enter(ctx context.Context, places chan struct{}) error {
	select {
	case places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func leave(places chan struct{}) { <-places }
