package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"pandu/modules/cli/client"
)

const (
	lookAgain  = 2 * time.Second // when nobody tells that something changed
	restOfLog  = 5 * time.Second // how long the end of a build's log is waited for
	reopenLog  = 500 * time.Millisecond
	logBacklog = 256 // lines
)

// follower shows a deployment until it has ended.
type follower struct {
	*session
	id       string
	shown    int               // moments of the timeline
	state    string            // that was shown last
	logged   int               // lines of the build's log that were shown
	held     []string          // a line of the log that came before the news that building began
	progress map[string]string // by service
	building atomic.Bool
	nudge    chan struct{}
	lines    chan string
}

// conclude follows a deployment to its end: its URL and nil, or an error that says why.
func (s *session) conclude(ctx context.Context, d client.DeploymentView, detach bool) error {
	if detach {
		if s.json {
			return s.object(d)
		}
		s.say("Deployment %d of %s is under way. See it: pandu status --project %s", d.Number, s.project, s.project)
		return nil
	}
	f := &follower{session: s, id: d.ID, progress: map[string]string{}, nudge: make(chan struct{}, 1), lines: make(chan string, logBacklog)}
	f.building.Store(d.Release == nil)
	d, err := f.follow(ctx, d)
	if ctx.Err() != nil {
		return s.left(d)
	}
	if err != nil {
		return err
	}
	return s.ended(d, f.logged > 0 && d.Release == nil)
}

// follow returns the deployment as it ended.
func (f *follower) follow(ctx context.Context, d client.DeploymentView) (client.DeploymentView, error) {
	ctx, cancel := context.WithCancel(ctx)
	var listening sync.WaitGroup
	defer listening.Wait()
	defer cancel()
	listening.Go(func() { f.watch(ctx, d.Environment) })
	listening.Go(func() { f.readLog(ctx) })
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		f.show(d)
		if final(d.State) {
			f.drain()
			return d, nil
		}
		if err := f.wait(ctx, tick.C); err != nil {
			return d, err
		}
		next, err := f.client.GetDeployment(ctx, f.id)
		if err != nil {
			return d, err
		}
		d = next
	}
}

// wait prints the log until the deployment is worth another look.
func (f *follower) wait(ctx context.Context, tick <-chan time.Time) error {
	for _, line := range f.held {
		f.log(line)
	}
	f.held = nil
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case line, ok := <-f.lines:
			if !ok {
				f.lines = nil
				continue
			}
			if f.state == "queued" {
				f.held = []string{line}
				return nil
			}
			f.log(line)
		case <-f.nudge:
			return nil
		case <-tick:
			return nil
		}
	}
}

// drain prints what is left of the log.
func (f *follower) drain() {
	limit := time.NewTimer(restOfLog)
	defer limit.Stop()
	f.building.Store(false)
	for _, line := range f.held {
		f.log(line)
	}
	for f.lines != nil {
		select {
		case line, ok := <-f.lines:
			if !ok {
				return
			}
			f.log(line)
		case <-limit.C:
			return
		}
	}
}

// watch nudges when the panel says that something of this deployment changed. Without it the clock does.
func (f *follower) watch(ctx context.Context, environment *client.Named) {
	_ = f.client.WatchChanges().Each(ctx, func(e client.Event) error {
		var c struct{ ID string }
		if e.Name == "change" && json.Unmarshal(e.Data, &c) == nil && c.ID != f.id && (environment == nil || c.ID != environment.ID) {
			return nil
		}
		select {
		case f.nudge <- struct{}{}:
		default:
		}
		return nil
	})
}

// readLog follows the builds' logs. The stream ends whenever no build is open, so it is opened again until the
// deployment has done with building.
func (f *follower) readLog(ctx context.Context) {
	defer close(f.lines)
	stream := f.client.ReadBuildLog(f.id, client.ReadBuildLogQuery{Follow: new(true)})
	for {
		more := f.building.Load()
		err := stream.Each(ctx, func(e client.Event) error {
			var line struct{ Text string }
			if e.Name != "line" || json.Unmarshal(e.Data, &line) != nil {
				return nil
			}
			select {
			case f.lines <- line.Text:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		if err != nil || !more {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(reopenLog):
		}
	}
}

func (f *follower) log(text string) {
	f.logged++
	if f.errTerminal {
		text = clean(text)
	}
	f.say("  %s %s", paint(f.errColored, grey, "|"), text)
}

// show prints what is new: moments of the timeline and how many instances are ready.
func (f *follower) show(d client.DeploymentView) {
	f.building.Store(!final(d.State) && d.State != "releasing")
	f.state = d.State
	for ; f.shown < len(d.Timeline); f.shown++ {
		m := d.Timeline[f.shown]
		if final(m.State) { // the end is told with its reason
			continue
		}
		text := m.State
		if m.Message != "" {
			text += ": " + clean(m.Message)
		}
		if f.shown == 0 {
			text = fmt.Sprintf("Deployment %d of %s is %s", d.Number, f.project, text)
		}
		f.say("%s", paint(f.errColored, colorOf(m.State), text))
	}
	if d.State != "releasing" {
		return
	}
	for _, svc := range d.Services {
		text := fmt.Sprintf("%d of %d ready", svc.Ready, svc.Wanted)
		if svc.Message != "" && svc.Ready < svc.Wanted {
			text += ", " + clean(svc.Message)
		}
		if f.progress[svc.Name] != text {
			f.progress[svc.Name] = text
			f.say("  %s: %s", clean(svc.Name), text)
		}
	}
}

func final(state string) bool {
	return state != "queued" && state != "building" && state != "releasing"
}
