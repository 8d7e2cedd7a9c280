package cli

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pandu/modules/cli/client"
)

func (c *cli) psCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ps", Short: "List instances: what is wanted, what was observed, and since when that is not known", Args: between(0, 0),
		RunE: c.run(func(ctx context.Context, s *session, _ []string) error {
			page, err := s.client.ListInstances(ctx, s.project, s.environment)
			if err != nil {
				return err
			}
			return s.print(page.Items, instanceTable(page.Items, c.env.Now()))
		}),
	}
}

func instanceTable(list []client.InstanceView, now time.Time) *table {
	t := newTable("INSTANCE", "RELEASE", "DESIRED", "OBSERVED", "LAST SEEN", "SERVING", "RESTARTS", "AGE", "ABOUT")
	for _, i := range list {
		observed, restarts, about := "unknown", "", ""
		if o := i.Observed; o != nil {
			observed, restarts, about = o.State, strconv.FormatInt(o.Restarts, 10), o.Message
			if i.Knowledge != "current" {
				observed = "unknown, was " + o.State
			}
		}
		t.add(fmt.Sprintf("%s.%d", i.Service, i.Index), strconv.FormatInt(i.ReleaseNumber, 10), i.Desired, observed, lastSeen(i, now),
			map[bool]string{true: "yes", false: "no"}[i.Serving], restarts, age(now, i.CreatedAt), about)
	}
	return t
}

// lastSeen is until when an observation is known to have been true.
func lastSeen(i client.InstanceView, now time.Time) string {
	switch {
	case i.Knowledge == "current":
		return "now"
	case i.LastSeenAt == nil:
		return "never"
	default:
		return age(now, *i.LastSeenAt) + " ago"
	}
}

func (c *cli) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show an environment: what is wanted, what is live, what is happening", Args: between(0, 0),
		RunE: c.run(func(ctx context.Context, s *session, _ []string) error {
			e, err := s.client.GetEnvironment(ctx, s.project, s.environment)
			if err != nil {
				return err
			}
			if s.json {
				return s.object(e)
			}
			return s.status(e)
		}),
	}
}

func (s *session) status(e client.EnvironmentView) error {
	t := newTable("", "")
	t.add("project", s.project)
	t.add("environment", e.Slug)
	t.add("wanted", e.Wanted)
	t.add("status", e.Status)
	for _, url := range e.URLs {
		t.add("url", url)
	}
	if r := e.Release; r != nil {
		t.add("release", fmt.Sprintf("%d, made %s ago", r.Number, age(s.cli.env.Now(), r.CreatedAt)))
	}
	if d := e.Deployment; d != nil {
		t.add("deployment", fmt.Sprintf("%d (%s) %s, %s ago", d.Number, d.Kind, d.State, age(s.cli.env.Now(), d.CreatedAt)))
		if d.Error != nil {
			t.add("reason", d.Error.Message)
		}
	}
	if err := s.printFacts(nil, t); err != nil {
		return err
	}
	for _, w := range e.Warnings {
		s.say("Warning: %s", clean(w.Message))
	}
	if len(e.Services) == 0 {
		return nil
	}
	if err := s.line(""); err != nil {
		return err
	}
	return s.print(nil, serviceTable(e.Services))
}

func serviceTable(list []client.ServiceView) *table {
	t := newTable("SERVICE", "READY", "PORT", "MEMORY", "CPU", "ABOUT")
	for _, svc := range list {
		port := ""
		if n := cmp.Or(svc.Port, svc.DetectedPort); n > 0 {
			port = strconv.FormatInt(n, 10)
		}
		t.add(svc.Name, fmt.Sprintf("%d/%d", svc.Ready, svc.Replicas), port, limit(svc.Memory, size), limit(svc.MilliCPU, cores), aboutService(svc))
	}
	return t
}

func aboutService(svc client.ServiceView) string {
	var words []string
	if svc.Public {
		words = append(words, "public")
	}
	if svc.Task {
		words = append(words, "task")
	}
	if svc.SingleWriter {
		words = append(words, "single writer")
	}
	return strings.Join(words, ", ")
}

func limit(n int64, text func(int64) string) string {
	if n == 0 {
		return ""
	}
	return text(n)
}

func cores(milli int64) string {
	return strconv.FormatFloat(float64(milli)/1000, 'g', -1, 64)
}
