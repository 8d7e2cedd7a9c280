package deployments

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"pandu/modules/agent/agentv1"
	"pandu/modules/kit/fault"
	"pandu/modules/manager/identity"
)

// BuildLogEvent is one line of a build's log.
type BuildLogEvent struct {
	BuildID uuid.UUID  `json:"build_id"`
	At      *time.Time `json:"at,omitempty" doc:"missing where it is not known"`
	Text    string     `json:"text"`
}

// followBuilds sends the logs of a deployment's builds. A place is a number of lines of an attempt, which is the same
// whether the log is still with the agent or stored already.
func (s *Service) followBuilds(ctx context.Context, actor identity.Actor, deployment uuid.UUID, follow bool, at *places, send identity.Send) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var readers sync.WaitGroup
	defer readers.Wait()
	reading := map[uuid.UUID]bool{}
	for {
		builds, open, err := s.buildsOf(ctx, deployment)
		if err != nil {
			return err
		}
		for _, b := range builds {
			if b.AttemptID == nil || reading[*b.AttemptID] || len(reading) >= mostLogs {
				continue
			}
			reading[*b.AttemptID] = true
			readers.Go(func() { s.followBuild(ctx, actor, b, follow, at, send) })
		}
		if !open || !follow {
			readers.Wait()
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lookForMore / 4):
		}
	}
}

// followBuild sends the log of one attempt, first from the agent, and the rest from storage once it is there.
func (s *Service) followBuild(ctx context.Context, actor identity.Actor, b Build, follow bool, at *places, send identity.Send) {
	for try := 0; ctx.Err() == nil && try < 60; try++ {
		now, err := s.attemptNow(ctx, b)
		if err != nil {
			return
		}
		if now.LogID != nil && *now.LogID == *b.AttemptID {
			err = s.sendStored(ctx, actor, b, at, send)
		} else {
			err = s.sendLive(ctx, b, follow, at, send)
		}
		if err == nil && (now.LogID != nil || !follow) {
			return
		}
		if err != nil && fault.KindOf(err) == fault.Internal {
			s.Log.DebugContext(ctx, "read build log", "build_id", b.ID, "error", err)
		}
		if !follow {
			return
		}
		// The agent has not begun yet, or the log ended there and is on its way to storage, or the agent is away for a moment.
		select {
		case <-ctx.Done():
		case <-time.After(min(time.Second, 100*time.Millisecond<<min(try, 4))):
		}
	}
}

func (s *Service) attemptNow(ctx context.Context, b Build) (Build, error) {
	builds, err := s.builds(ctx, s.DB.Pool, b.DeploymentID)
	if err != nil {
		return Build{}, err
	}
	for _, other := range builds {
		if other.ID == b.ID && other.AttemptID != nil && *other.AttemptID == *b.AttemptID {
			return other, nil
		}
	}
	return Build{}, fault.New(fault.NotFound, "attempt_over", "Another attempt took over.")
}

func (s *Service) sendLive(ctx context.Context, b Build, follow bool, at *places, send identity.Send) error {
	if b.ServerID == nil {
		return nil
	}
	sent, _ := at.get(b.AttemptID.String())
	n := uint64(0)
	req := &agentv1.LogRequest{BuildAttemptId: b.AttemptID.String(), Follow: follow}
	return s.Servers.ReadLog(ctx, *b.ServerID, req, func(chunk *agentv1.LogChunk) error {
		for _, line := range chunk.GetLines() {
			if n++; n <= sent {
				continue
			}
			when := line.GetAt().AsTime()
			if err := sendBuildLine(b, n, BuildLogEvent{BuildID: b.ID, At: &when, Text: line.GetText()}, at, send); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Service) sendStored(ctx context.Context, actor identity.Actor, b Build, at *places, send identity.Send) error {
	log, err := s.Storage.GetLog(ctx, actor, *b.AttemptID)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // read only
	sent, _ := at.get(b.AttemptID.String())
	lines := bufio.NewScanner(log)
	lines.Buffer(make([]byte, 64<<10), 1<<20)
	for n := uint64(1); lines.Scan(); n++ {
		if n <= sent {
			continue
		}
		if err := sendBuildLine(b, n, storedLine(b, lines.Text()), at, send); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("read build log: %w", err)
	}
	return nil
}

// storedLine reads a line of a stored log: the time of day (UTC) when it was written, a space, the text. The day is that
// of the build's start, or the next one when the build went on past midnight.
func storedLine(b Build, line string) BuildLogEvent {
	e := BuildLogEvent{BuildID: b.ID, Text: line}
	clock, text, ok := strings.Cut(line, " ")
	at, err := time.Parse("15:04:05.000", clock)
	if !ok || err != nil || b.StartedAt == nil {
		return e
	}
	start := b.StartedAt.UTC()
	when := time.Date(start.Year(), start.Month(), start.Day(), at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), time.UTC)
	if when.Before(start.Add(-time.Hour)) {
		when = when.AddDate(0, 0, 1)
	}
	e.At, e.Text = &when, text
	return e
}

func sendBuildLine(b Build, n uint64, e BuildLogEvent, at *places, send identity.Send) error {
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return at.step(b.AttemptID.String(), n, func(id string) error {
		return send(identity.Event{ID: id, Name: "line", Data: string(body)})
	})
}
