package cli

import (
	"context"
	"encoding/json"
	"hash/fnv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pandu/modules/cli/client"
)

// serviceColors tell services apart.
var serviceColors = []string{cyan, yellow, green, magenta, blue}

type logFlags struct {
	follow, timestamps bool
	tail               int64
}

func (c *cli) logsCommand() *cobra.Command {
	var f logFlags
	command := &cobra.Command{
		Use: "logs [SERVICE]", Short: "Show what services write; -f goes on showing it", Args: between(0, 1), ValidArgsFunction: c.first(c.completeServices),
		Long: "Show the last lines that the services of an environment, or one of them, wrote. With -f, shows new lines as they\n" +
			"come, also those of new instances, and goes on where it was when the connection breaks.",
		RunE: c.run(func(ctx context.Context, s *session, args []string) error {
			if f.tail < 0 {
				return usagef("--tail is a number from 0 on")
			}
			return s.logs(ctx, strings.Join(args, ""), f)
		}),
	}
	command.Flags().BoolVarP(&f.follow, "follow", "f", false, "go on with new lines")
	command.Flags().BoolVarP(&f.timestamps, "timestamps", "t", false, "show when each line was written (UTC)")
	command.Flags().Int64Var(&f.tail, "tail", 200, "how many lines of the past to show, per instance")
	return command
}

// logLine is one line of a log, as the panel sends it.
type logLine struct {
	At      time.Time `json:"at"`
	Service string    `json:"service"`
	Stream  string    `json:"stream"`
	Text    string    `json:"text"`
}

func (s *session) logs(ctx context.Context, service string, f logFlags) error {
	if service != "" {
		if err := s.known(ctx, service); err != nil {
			return err
		}
	}
	stream := s.client.ReadLogs(s.project, s.environment, client.ReadLogsQuery{Service: service, Tail: &f.tail, Follow: &f.follow})
	lines := 0
	err := stream.Each(ctx, func(e client.Event) error {
		if e.Name != "line" {
			return nil
		}
		lines++
		if s.json {
			return s.raw(e.Data)
		}
		var l logLine
		if json.Unmarshal(e.Data, &l) != nil {
			return nil // of a newer panel
		}
		return s.line(s.logText(l, service == "", f.timestamps))
	})
	if f.follow && ctx.Err() != nil {
		return &exitError{code: exitInterrupted, text: "Interrupted."}
	}
	if err == nil && lines == 0 {
		s.say("Nothing was written yet, or nothing runs here: pandu status --project %s", s.project)
	}
	return err
}

// known reports a service that is not there: the stream of one would just be empty.
func (s *session) known(ctx context.Context, service string) error {
	e, err := s.client.GetEnvironment(ctx, s.project, s.environment)
	if err != nil {
		return err
	}
	var names []string
	for _, svc := range e.Services {
		if svc.Name == service {
			return nil
		}
		names = append(names, clean(svc.Name))
	}
	if len(names) == 0 {
		return &exitError{code: exitNotFound, text: "Nothing runs here yet.", hint: "Deploy something: pandu deploy --project " + s.project}
	}
	return &exitError{code: exitNotFound, text: "There is no service " + service + " here.", hint: "There are: " + strings.Join(names, ", ")}
}

// logText is a line for people; on a terminal without anything that would move its cursor.
func (s *session) logText(l logLine, named, stamped bool) string {
	text := l.Text
	if s.outTerminal {
		text = clean(text)
	}
	if l.Stream == "pandu" {
		text = paint(s.outColored, grey, text)
	}
	prefix := ""
	if stamped {
		prefix = l.At.UTC().Format("2006-01-02T15:04:05.000Z") + " "
	}
	if named {
		h := fnv.New32a()
		_, _ = h.Write([]byte(l.Service)) // never fails
		prefix += paint(s.outColored, serviceColors[h.Sum32()%uint32(len(serviceColors))], clean(l.Service)) + " | "
	}
	return prefix + text
}
