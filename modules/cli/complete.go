package cli

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// completeWithin bounds how long somebody waits after pressing Tab.
const completeWithin = 2 * time.Second

// complete offers what names finds; nothing when it finds nothing in time.
func (c *cli) complete(names func(ctx context.Context, s *session) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if c.flags.token == "-" {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		c.once = true
		s, err := c.connect(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		s.err = io.Discard
		ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
		defer cancel()
		list, _ := names(ctx, s) // nothing to offer
		for i := range list {
			name, about, described := strings.Cut(list[i], "\t")
			if list[i] = clean(name); described {
				list[i] += "\t" + clean(about)
			}
		}
		return list, cobra.ShellCompDirectiveNoFileComp
	}
}

// first completes only the first argument.
func (c *cli) first(fn cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return fn(cmd, args, typed)
	}
}

func (c *cli) completeProjects(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return c.complete(func(ctx context.Context, s *session) (names []string, err error) {
		list, err := s.projects(ctx)
		for _, p := range list {
			names = append(names, p.Slug)
		}
		return names, err
	})(cmd, args, typed)
}

func (c *cli) completeEnvironments(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return c.complete(func(ctx context.Context, s *session) (names []string, err error) {
		page, err := s.client.ListEnvironments(ctx, s.project)
		for _, e := range page.Items {
			names = append(names, e.Slug)
		}
		return names, err
	})(cmd, args, typed)
}

func (c *cli) completeServices(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return c.complete(func(ctx context.Context, s *session) (names []string, err error) {
		e, err := s.client.GetEnvironment(ctx, s.project, s.environment)
		for _, svc := range e.Services {
			names = append(names, svc.Name)
		}
		return names, err
	})(cmd, args, typed)
}

func (c *cli) completeContexts(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	file, err := c.readContexts()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, l := range file.Contexts {
		names = append(names, l.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
