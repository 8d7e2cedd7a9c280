package cli

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"pandu/modules/cli/client"
)

// listed is how many deployments and releases are looked through: the newest.
const listed = 100

func label(source *client.SourceView) string {
	if source == nil {
		return ""
	}
	return strings.TrimSpace(source.Kind + " " + source.Label)
}

func (c *cli) deploymentsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "deployments", Short: "List deployments, newest first", Args: between(0, 0),
		RunE: c.run(func(ctx context.Context, s *session, _ []string) error {
			all, err := s.deployments(ctx)
			if err != nil {
				return err
			}
			t := newTable("NUMBER", "KIND", "STATE", "SOURCE", "BY", "AGE", "REASON")
			for _, d := range all {
				why := ""
				if d.Error != nil {
					why = d.Error.Message
				}
				t.add(strconv.FormatInt(d.Number, 10), d.Kind, d.State, label(d.Source), d.CreatedBy, age(c.env.Now(), d.CreatedAt), why)
			}
			return s.print(all, t)
		}),
	}
}

func (s *session) deployments(ctx context.Context) ([]client.DeploymentView, error) {
	page, err := s.client.ListDeployments(ctx, s.project, s.environment, client.ListDeploymentsQuery{Limit: new(int64(listed))})
	return page.Items, err
}

func (s *session) releases(ctx context.Context) ([]client.ReleaseView, error) {
	page, err := s.client.ListReleases(ctx, s.project, s.environment, client.ListReleasesQuery{Limit: new(int64(listed))})
	return page.Items, err
}

func (c *cli) releasesCommand() *cobra.Command {
	return &cobra.Command{
		Use: "releases", Short: "List releases, newest first; any of them can be gone back to", Args: between(0, 0),
		RunE: c.run(func(ctx context.Context, s *session, _ []string) error {
			all, err := s.releases(ctx)
			if err != nil {
				return err
			}
			t := newTable("NUMBER", "CURRENT", "SOURCE", "SERVICES", "AGE")
			for _, r := range all {
				mark := map[bool]string{true: "*"}[r.Current]
				t.add(strconv.FormatInt(r.Number, 10), mark, label(r.Source), strings.Join(r.Services, " "), age(c.env.Now(), r.CreatedAt))
			}
			return s.print(all, t)
		}),
	}
}

func (c *cli) cancelCommand() *cobra.Command {
	return &cobra.Command{
		Use: "cancel [DEPLOYMENT]", Short: "Cancel a deployment that is not live yet; the newest such when none is named", Args: between(0, 1),
		ValidArgsFunction: c.first(c.completeDeployments(func(d client.DeploymentView) bool { return d.Cancellable })),
		RunE: c.run(func(ctx context.Context, s *session, args []string) error {
			d, err := s.pick(ctx, args, func(d client.DeploymentView) bool { return d.Cancellable }, "There is no deployment under way.")
			if err != nil {
				return err
			}
			if d, err = s.client.CancelDeployment(ctx, d.ID); err != nil {
				return err
			}
			if s.json {
				return s.object(d)
			}
			s.say("Deployment %d of %s is %s; what was live stays.", d.Number, s.project, clean(d.State))
			return nil
		}),
	}
}

func (c *cli) retryCommand() *cobra.Command {
	command := c.changeCommand("retry [DEPLOYMENT]", "Deploy again what a deployment that failed was about; the newest such when none is named", 1,
		func(ctx context.Context, s *session, args []string) (client.DeploymentView, error) {
			d, err := s.pick(ctx, args, func(d client.DeploymentView) bool { return d.Retryable }, "There is no deployment to try again.")
			if err != nil {
				return d, err
			}
			return s.client.RetryDeployment(ctx, d.ID)
		})
	command.ValidArgsFunction = c.first(c.completeDeployments(func(d client.DeploymentView) bool { return d.Retryable }))
	return command
}

// pick finds a deployment by its number, or the newest that fits.
func (s *session) pick(ctx context.Context, args []string, fits func(client.DeploymentView) bool, none string) (client.DeploymentView, error) {
	all, err := s.deployments(ctx)
	if err != nil {
		return client.DeploymentView{}, err
	}
	if len(args) == 1 {
		return numbered(all, args[0], "deployment", func(d client.DeploymentView) int64 { return d.Number })
	}
	i := slices.IndexFunc(all, fits)
	if i < 0 {
		return client.DeploymentView{}, &exitError{code: exitNotFound, text: none, hint: "List them: pandu deployments --project " + s.project}
	}
	return all[i], nil
}

func (c *cli) completeDeployments(fits func(client.DeploymentView) bool) cobra.CompletionFunc {
	return c.complete(func(ctx context.Context, s *session) (names []string, err error) {
		all, err := s.deployments(ctx)
		for _, d := range all {
			if fits(d) {
				names = append(names, strconv.FormatInt(d.Number, 10)+"\t"+label(d.Source))
			}
		}
		return names, err
	})
}

func (c *cli) completeReleases(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return c.complete(func(ctx context.Context, s *session) (names []string, err error) {
		all, err := s.releases(ctx)
		for _, r := range all {
			names = append(names, strconv.FormatInt(r.Number, 10)+"\t"+label(r.Source))
		}
		return names, err
	})(cmd, args, typed)
}
