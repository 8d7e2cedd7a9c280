package deployments

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"pandu/modules/agent/agentv1"
	"pandu/modules/kit/fault"
	"pandu/modules/manager/identity"
)

// Bounds of one reader of logs.
const (
	mostLogs    = 32              // instances read at once
	mostTail    = 5000            // lines
	lookForMore = 2 * time.Second // how soon the log of a new instance is followed, too
)

// LogEvent is one line of a service's output.
type LogEvent struct {
	At         time.Time `json:"at"`
	Service    string    `json:"service"`
	InstanceID uuid.UUID `json:"instance_id"`
	Stream     string    `json:"stream" enum:"stdout,stderr,pandu"`
	Text       string    `json:"text"`
}

func (s *Service) logDoors(d *identity.Doors) {
	run := identity.Door{
		ID: "read-logs", Method: http.MethodGet, Path: environmentPath + "/logs", Tag: "logs", Permission: identity.LogsRead,
		Summary: "Follow what the services of an environment write, as events named line; resume with Last-Event-ID",
	}
	d.Raw(run, struct {
		Service  string `query:"service"`
		Instance string `query:"instance"`
		Tail     int    `query:"tail"`
		Follow   bool   `query:"follow"`
	}{}, "text/event-stream", func(c echo.Context, actor identity.Actor) error {
		q, err := s.logQuery(c, actor)
		if err != nil {
			return err
		}
		return d.Events(c, run, func(ctx context.Context, last string, send identity.Send) error {
			return s.followInstances(ctx, actor, q, newPlaces(last), send)
		})
	})
	build := identity.Door{
		ID: "read-build-log", Method: http.MethodGet, Path: "/deployments/{deployment}/log", Tag: "logs", Permission: identity.LogsRead,
		Summary: "Follow the builds of a deployment, as events named line; resume with Last-Event-ID",
	}
	d.Raw(build, struct {
		Follow bool `query:"follow"`
	}{}, "text/event-stream", func(c echo.Context, actor identity.Actor) error {
		id, err := uuid.Parse(c.Param("deployment"))
		if err != nil {
			return fault.New(fault.NotFound, "deployment_not_found", "There is no such deployment here.")
		}
		if _, err := s.deployment(c.Request().Context(), s.DB.Pool, actor, id, false); err != nil {
			return err
		}
		follow := c.QueryParam("follow") == "true"
		return d.Events(c, build, func(ctx context.Context, last string, send identity.Send) error {
			return s.followBuilds(ctx, actor, id, follow, newPlaces(last), send)
		})
	})
}

type logQuery struct {
	environment uuid.UUID
	service     string
	instance    uuid.UUID
	tail        uint32
	follow      bool
}

func (s *Service) logQuery(c echo.Context, actor identity.Actor) (logQuery, error) {
	_, e, err := s.Projects.FindEnvironment(c.Request().Context(), s.DB.Pool, actor, c.Param("project"), c.Param("environment"))
	if err != nil {
		return logQuery{}, err
	}
	q := logQuery{environment: e.ID, service: c.QueryParam("service"), follow: c.QueryParam("follow") == "true", tail: 200}
	if text := c.QueryParam("tail"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > mostTail {
			return q, fault.Newf(fault.Invalid, "tail_invalid", "tail is a number from 0 to %d.", mostTail)
		}
		q.tail = uint32(n)
	}
	if text := c.QueryParam("instance"); text != "" {
		if q.instance, err = uuid.Parse(text); err != nil {
			return q, fault.New(fault.NotFound, "instance_not_found", "There is no such instance here.")
		}
	}
	return q, nil
}

// followInstances reads the logs of all instances that a query names, each from where the reader stands, and looks for
// new ones while it follows.
func (s *Service) followInstances(ctx context.Context, actor identity.Actor, q logQuery, at *places, send identity.Send) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var readers sync.WaitGroup
	defer readers.Wait()
	reading := map[uuid.UUID]bool{}
	for first := true; ; first = false {
		instances, err := s.readable(ctx, actor, q)
		if err != nil {
			return err
		}
		for _, i := range instances {
			if reading[i.ID] || len(reading) >= mostLogs {
				continue
			}
			reading[i.ID] = true
			readers.Go(func() { s.followInstance(ctx, i, q, first, at, send) })
		}
		if !q.follow {
			readers.Wait()
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lookForMore):
		}
	}
}

func (s *Service) readable(ctx context.Context, actor identity.Actor, q logQuery) ([]Instance, error) {
	w := &World{TasksDone: map[string]bool{}}
	w.Environment.ID = q.environment
	if err := s.readInstances(ctx, s.DB.Pool, actor, w); err != nil {
		return nil, err
	}
	var list []Instance
	for _, i := range w.Instances {
		if (q.service == "" || q.service == i.Service) && (q.instance == uuid.Nil || q.instance == i.ID) {
			list = append(list, i)
		}
	}
	return list, nil
}

// followInstance reads one log, and again when the agent was away for a while.
func (s *Service) followInstance(ctx context.Context, i Instance, q logQuery, first bool, at *places, send identity.Send) {
	for ctx.Err() == nil {
		req := &agentv1.LogRequest{InstanceId: i.ID.String(), Follow: q.follow}
		if place, ok := at.get(i.ID.String()); ok {
			req.After = place
		} else if first {
			req.Tail = max(q.tail, 1) // 0 would ask for everything; none is made of one line that is not sent
		}
		skip := first && q.tail == 0 && req.GetTail() > 0
		err := s.Servers.ReadLog(ctx, i.ServerID, req, func(chunk *agentv1.LogChunk) error {
			for _, line := range chunk.GetLines() {
				if skip {
					skip = false
					at.set(i.ID.String(), line.GetPosition())
					continue
				}
				if err := sendLine(i, line, at, send); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil || !fault.Passing(err) || !q.follow {
			return
		}
		first = false
		select {
		case <-ctx.Done():
		case <-time.After(lookForMore):
		}
	}
}

var streamNames = map[agentv1.LogLine_Source]string{
	agentv1.LogLine_SOURCE_STDOUT: "stdout", agentv1.LogLine_SOURCE_STDERR: "stderr", agentv1.LogLine_SOURCE_PANDU: "pandu",
}

func sendLine(i Instance, line *agentv1.LogLine, at *places, send identity.Send) error {
	body, err := json.Marshal(LogEvent{
		At: line.GetAt().AsTime(), Service: i.Service, InstanceID: i.ID, Stream: streamNames[line.GetSource()], Text: line.GetText(),
	})
	if err != nil {
		return err
	}
	return at.step(i.ID.String(), line.GetPosition(), func(id string) error {
		return send(identity.Event{ID: id, Name: "line", Data: string(body)})
	})
}

// buildsOf lists the builds of a deployment and says whether one of them has not ended.
func (s *Service) buildsOf(ctx context.Context, deployment uuid.UUID) ([]Build, bool, error) {
	builds, err := s.builds(ctx, s.DB.Pool, deployment)
	if err != nil {
		return nil, false, err
	}
	open := false
	for _, b := range builds {
		open = open || b.State == BuildPending || b.State == BuildProgress
	}
	return builds, open, nil
}
