package cli

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pandu/modules/cli/client"
)

func (c *cli) domainsCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "domains", Aliases: []string{"domain"}, Short: "List, add and remove hostnames", Args: between(0, 0),
		RunE: c.run(func(ctx context.Context, s *session, _ []string) error {
			page, err := s.client.ListDomains(ctx, s.project, s.environment)
			if err != nil {
				return err
			}
			t := newTable("HOSTNAME", "KIND", "SERVICE", "URL", "AGE")
			for _, d := range page.Items {
				t.add(d.Hostname, d.Kind, cmp.Or(d.Service, "(public)"), d.URL, age(c.env.Now(), d.CreatedAt))
			}
			return s.print(page.Items, t)
		}),
	}
	list.AddCommand(c.addDomainCommand(), c.removeDomainCommand())
	return list
}

func (c *cli) addDomainCommand() *cobra.Command {
	var service string
	command := &cobra.Command{
		Use: "add HOSTNAME", Short: "Give an environment a hostname of your own", Args: between(1, 1),
		RunE: c.run(func(ctx context.Context, s *session, args []string) error {
			d, err := s.client.AddDomain(ctx, s.project, s.environment, client.AddDomainRequest{Hostname: args[0], Service: service})
			if err != nil {
				return err
			}
			if s.json {
				return s.object(d)
			}
			s.say("Let its DNS point to this platform.")
			return s.line(clean(d.URL))
		}),
	}
	command.Flags().StringVar(&service, "service", "", "the service that answers; the public one otherwise")
	_ = command.RegisterFlagCompletionFunc("service", c.completeServices) // once
	return command
}

func (c *cli) removeDomainCommand() *cobra.Command {
	return &cobra.Command{
		Use: "remove HOSTNAME", Short: "Take a hostname of your own away", Args: between(1, 1), ValidArgsFunction: c.first(c.completeDomains),
		RunE: c.run(func(ctx context.Context, s *session, args []string) error {
			page, err := s.client.ListDomains(ctx, s.project, s.environment)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(page.Items, func(d client.Domain) bool { return strings.EqualFold(d.Hostname, args[0]) || d.ID == args[0] })
			if i < 0 {
				return &exitError{code: exitNotFound, text: "There is no hostname " + args[0] + " here.", hint: "List them: pandu domains --project " + s.project}
			}
			if page.Items[i].Kind == "auto" {
				return &exitError{code: exitRefused, text: args[0] + " is given with the project and goes with it."}
			}
			if err := s.client.RemoveDomain(ctx, s.project, s.environment, page.Items[i].ID); err != nil {
				return err
			}
			s.say("%s is taken away.", args[0])
			return nil
		}),
	}
}

func (c *cli) completeDomains(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return c.complete(func(ctx context.Context, s *session) (names []string, err error) {
		page, err := s.client.ListDomains(ctx, s.project, s.environment)
		for _, d := range page.Items {
			if d.Kind == "custom" {
				names = append(names, d.Hostname)
			}
		}
		return names, err
	})(cmd, args, typed)
}
