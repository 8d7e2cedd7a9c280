package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pandu/modules/cli/client"
)

func (c *cli) tokensCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "tokens", Aliases: []string{"token"}, Short: "List, make and end API tokens", Args: between(0, 0),
		RunE: c.run(func(ctx context.Context, s *session, _ []string) error {
			all, err := s.tokens(ctx)
			if err != nil {
				return err
			}
			t := newTable("TOKEN", "NAME", "SCOPES", "LAST USED", "EXPIRES", "AGE")
			now := c.env.Now()
			for _, v := range all {
				used, expires := "never", "never"
				if v.LastUsedAt != nil {
					used = age(now, *v.LastUsedAt) + " ago"
				}
				if v.ExpiresAt != nil {
					expires = v.ExpiresAt.UTC().Format("2006-01-02")
				}
				t.add(v.Prefix, v.Name, strings.Join(v.Scopes, " "), used, expires, age(now, v.CreatedAt))
			}
			return s.print(all, t)
		}),
	}
	list.AddCommand(c.createTokenCommand(), c.revokeTokenCommand())
	return list
}

func (s *session) tokens(ctx context.Context) ([]client.Token, error) {
	return client.All(func(cursor string) ([]client.Token, string, error) {
		page, err := s.client.ListTokens(ctx, client.ListTokensQuery{Cursor: cursor, Limit: new(int64(100))})
		return page.Items, page.NextCursor, err
	})
}

func (c *cli) createTokenCommand() *cobra.Command {
	var scopes []string
	var days int64
	command := &cobra.Command{
		Use: "create NAME", Short: "Make an API token and print it, once", Args: between(1, 1),
		Example: "  pandu tokens create ci --scopes deployments.create,uploads.create,projects.read --days 30",
		RunE: c.run(func(ctx context.Context, s *session, args []string) error {
			input := client.TokenInputBody{Name: args[0], Scopes: scopes}
			if days > 0 {
				input.Days = &days
			}
			made, err := s.client.CreateToken(ctx, input)
			if err != nil {
				return err
			}
			if s.json {
				return s.object(made)
			}
			s.say("Keep it; it is not shown again.")
			return s.line(clean(made.Secret))
		}),
	}
	command.Flags().StringSliceVar(&scopes, "scopes", []string{"*"}, "permissions, or * for all of your role")
	command.Flags().Int64Var(&days, "days", 0, "for how many days; for ever otherwise")
	return command
}

func (c *cli) revokeTokenCommand() *cobra.Command {
	return &cobra.Command{
		Use: "revoke TOKEN", Short: "End an API token, named by its beginning, name or id", Args: between(1, 1), ValidArgsFunction: c.first(c.completeTokens),
		RunE: c.run(func(ctx context.Context, s *session, args []string) error {
			all, err := s.tokens(ctx)
			if err != nil {
				return err
			}
			named := slices.DeleteFunc(all, func(t client.Token) bool { return !slices.Contains([]string{t.Prefix, t.Name, t.ID}, args[0]) })
			switch len(named) {
			case 0:
				return &exitError{code: exitNotFound, text: "There is no token " + args[0] + ".", hint: "List them: pandu tokens"}
			case 1:
			default:
				return usagef("several tokens are called %s: name one by its beginning (pandu tokens)", args[0])
			}
			if err := s.client.RevokeToken(ctx, named[0].ID); err != nil {
				return err
			}
			s.say("The token %s (%s) has ended.", clean(named[0].Prefix), clean(named[0].Name))
			return nil
		}),
	}
}

func (c *cli) completeTokens(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return c.complete(func(ctx context.Context, s *session) (names []string, err error) {
		all, err := s.tokens(ctx)
		for _, t := range all {
			names = append(names, t.Prefix+"\t"+t.Name)
		}
		return names, err
	})(cmd, args, typed)
}
