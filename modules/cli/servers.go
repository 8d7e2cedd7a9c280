package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"pandu/modules/cli/client"
)

func (c *cli) serversCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "servers", Aliases: []string{"server"}, Short: "List the platform's servers, or add one (operators)", Args: between(0, 0),
		RunE: c.run(func(ctx context.Context, s *session, _ []string) error {
			page, err := s.client.ListServers(ctx)
			if err != nil {
				return err
			}
			t := newTable("SERVER", "STATUS", "LAST SEEN", "MODE", "INSTANCES", "CPUS", "MEMORY", "DISK FREE", "ENGINE", "ABOUT")
			for _, v := range page.Items {
				t.add(serverRow(v, c.env.Now())...)
			}
			return s.print(page.Items, t)
		}),
	}
	list.AddCommand(&cobra.Command{
		Use: "add NAME", Short: "Make a token that joins a server, valid once and for 30 minutes", Args: between(1, 1),
		RunE: c.run(func(ctx context.Context, s *session, args []string) error {
			joining, err := s.client.AddServer(ctx, client.AddServerRequest{Name: args[0]})
			if err != nil {
				return err
			}
			if s.json {
				return s.object(joining)
			}
			s.say("Run this on the server before %s:", joining.ExpiresAt.Format(time.RFC3339))
			return s.line(clean(joining.Command))
		}),
	})
	return list
}

func serverRow(v client.Server, now time.Time) []string {
	seen, about := "never", v.ModeReason
	switch {
	case v.Knowledge == "current":
		seen = "now"
	case v.LastSeenAt != nil:
		seen = age(now, *v.LastSeenAt) + " ago"
	}
	for _, problem := range []string{v.EngineError, v.GatewayError} {
		if problem != "" {
			about = problem
		}
	}
	return []string{
		v.Name, v.Status, seen, v.Mode, strconv.FormatInt(v.Instances, 10), strconv.FormatInt(v.CPUs, 10), limit(v.MemoryBytes, size),
		disk(v), v.EngineVersion, about,
	}
}

// disk is how much of a server's disk is free; nothing before it was ever heard of.
func disk(v client.Server) string {
	if v.DiskBytes == 0 {
		return ""
	}
	return fmt.Sprintf("%s of %s", size(v.DiskFreeBytes), size(v.DiskBytes))
}
