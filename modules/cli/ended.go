package cli

import (
	"fmt"
	"time"

	"pandu/modules/cli/client"
)

// ended tells how a deployment ended: its URL and nil, or an error with the reason. told: the log whose last lines the
// reason has was shown already.
func (s *session) ended(d client.DeploymentView, told bool) error {
	if s.json {
		if err := s.object(d); err != nil {
			return err
		}
	}
	if d.State != "live" {
		return s.failed(d, told)
	}
	s.notes(d.Notes)
	took := ""
	if d.FinishedAt != nil {
		took = " after " + d.FinishedAt.Sub(d.CreatedAt).Round(10*time.Millisecond).String()
	}
	if d.Kind == "stop" {
		s.say("Stopped%s.", took)
		return nil
	}
	s.say("%s%s.", paint(s.errColored, green, "Live"), took)
	if s.json {
		return nil
	}
	for _, url := range d.URLs[:min(1, len(d.URLs))] {
		return s.line(clean(url))
	}
	return nil
}

// failed shows the reason, the last lines, and what to do.
func (s *session) failed(d client.DeploymentView, told bool) error {
	e := &exitError{code: exitFailed, text: fmt.Sprintf("Deployment %d of %s was %s.", d.Number, s.project, clean(d.State))}
	if d.State == "failed" {
		e.text = fmt.Sprintf("Deployment %d of %s failed.", d.Number, s.project)
	}
	if d.State == "superseded" {
		e.hint = "A newer deployment took its place: pandu deployments --project " + s.project
	}
	if why := d.Error; why != nil {
		where := ""
		if why.Service != "" {
			where = clean(why.Service) + ": "
		}
		e.text += " " + where + sentence(clean(why.Message))
		for _, line := range why.LastLines {
			if !told || s.json {
				e.places = append(e.places, "  | "+clean(line))
			}
		}
	}
	if d.Retryable {
		e.hint = fmt.Sprintf("Try it again: pandu retry %d --project %s", d.Number, s.project)
	}
	return e
}

// left is for who stops looking: the deployment does not stop with them.
func (s *session) left(d client.DeploymentView) error {
	return &exitError{
		code: exitInterrupted, text: fmt.Sprintf("You stopped following; deployment %d of %s goes on.", d.Number, s.project),
		hint: fmt.Sprintf("See it: pandu status --project %s. Stop it: pandu cancel %d --project %s", s.project, d.Number, s.project),
	}
}
