package logs

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// sweep is how often the list of containers is read even when the Engine announced no change.
const sweep = 30 * time.Second

// follower keeps one copier per container of this server.
type follower struct {
	service *Service
	wait    sync.WaitGroup
	ended   chan struct{} // a copier ended: its container may have been started again meanwhile

	mu      sync.Mutex
	copying map[string]bool // by container id
	read    map[string]bool // stopped containers whose output was copied to its end
}

func newFollower(s *Service) *follower {
	return &follower{service: s, ended: make(chan struct{}, 1), copying: map[string]bool{}, read: map[string]bool{}}
}

// run lists containers at every start and stop of one, every sweep and whenever the connection to the Engine was lost.
func (f *follower) run(ctx context.Context) {
	defer f.wait.Wait()
	for ctx.Err() == nil {
		if err := f.watch(ctx); err != nil && ctx.Err() == nil {
			f.service.deps.Logger.Warn("container logs wait for the engine", "error", err)
			pause(ctx, f.service.retry)
		}
	}
}

func (f *follower) watch(run context.Context) error {
	ctx, cancel := context.WithCancel(run)
	defer cancel()
	filters := client.Filters{}.Add("label", labelServer+"="+f.service.deps.Server).Add("type", "container").
		Add("event", "start", "die", "destroy")
	events := f.service.engine.Events(ctx, client.EventsListOptions{Filters: filters})
	tick := time.NewTicker(sweep)
	defer tick.Stop()
	for {
		if err := f.list(ctx, run); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-events.Err:
			return fmt.Errorf("watch engine events: %w", err)
		case <-events.Messages:
		case <-f.ended:
		case <-tick.C:
		}
	}
}

// list starts a copier for every container that has one to come, and applies retention. Copiers live as long as run.
func (f *follower) list(ctx, run context.Context) error {
	found, err := f.service.engine.ContainerList(ctx, client.ContainerListOptions{
		All:     true,
		Filters: client.Filters{}.Add("label", labelServer+"="+f.service.deps.Server),
	})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	present := map[string]bool{}
	for _, c := range found.Items {
		if id := c.Labels[labelInstance]; idPattern.MatchString(id) {
			present[instanceKey(id)] = true
			f.follow(run, c.ID, id, c.State == container.StateRunning || c.State == container.StatePaused)
		}
	}
	f.forget(found.Items)
	if err := f.service.retain(present); err != nil {
		f.service.deps.Logger.Error("log retention failed", "error", err)
	}
	return nil
}

// follow starts a copier unless there is one, or the container has stopped and was copied to its end.
func (f *follower) follow(ctx context.Context, containerID, instanceID string, running bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.copying[containerID] || f.read[containerID] && !running {
		return
	}
	f.copying[containerID] = true
	delete(f.read, containerID)
	f.wait.Add(1)
	go func() {
		defer f.wait.Done()
		err := f.service.copy(ctx, containerID, instanceID)
		f.done(ctx, containerID, err == nil && !running)
		if err != nil && ctx.Err() == nil {
			f.service.deps.Logger.Warn("copying a container's log stopped", "container_id", containerID, "instance_id", instanceID, "error", err)
		}
	}()
}

// done lets a container be copied again, after a moment, so that one that cannot be read costs little.
func (f *follower) done(ctx context.Context, containerID string, whole bool) {
	if !whole {
		pause(ctx, f.service.retry)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.copying, containerID)
	if whole {
		f.read[containerID] = true
	}
	select {
	case f.ended <- struct{}{}:
	default:
	}
}

func (f *follower) forget(items []container.Summary) {
	f.mu.Lock()
	defer f.mu.Unlock()
	there := map[string]bool{}
	for _, c := range items {
		there[c.ID] = true
	}
	for id := range f.read {
		if !there[id] {
			delete(f.read, id)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
