package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"pandu/modules/cli/client"
)

// changeCommand is a command that makes a deployment out of what is live.
func (c *cli) changeCommand(use, short string, most int, fn func(ctx context.Context, s *session, args []string) (client.DeploymentView, error)) *cobra.Command {
	var detach bool
	command := &cobra.Command{
		Use: use, Short: short, Args: between(0, most),
		RunE: c.run(func(ctx context.Context, s *session, args []string) error {
			d, err := fn(ctx, s, args)
			if err != nil {
				return err
			}
			return s.conclude(ctx, d, detach)
		}),
	}
	detachFlag(command, &detach)
	return command
}

func (c *cli) startCommand() *cobra.Command {
	return c.changeCommand("start", "Start what was stopped, or deploy the newest upload of a new project", 0,
		func(ctx context.Context, s *session, _ []string) (client.DeploymentView, error) {
			return s.client.StartEnvironment(ctx, s.project, s.environment)
		})
}

func (c *cli) stopCommand() *cobra.Command {
	return c.changeCommand("stop", "Stop everything; releases, volumes and hostnames stay", 0,
		func(ctx context.Context, s *session, _ []string) (client.DeploymentView, error) {
			return s.client.StopEnvironment(ctx, s.project, s.environment)
		})
}

func (c *cli) restartCommand() *cobra.Command {
	command := c.changeCommand("restart [SERVICE]", "Replace instances by new ones of the same release", 1,
		func(ctx context.Context, s *session, args []string) (client.DeploymentView, error) {
			return s.client.RestartEnvironment(ctx, s.project, s.environment, client.RestartEnvironmentQuery{Service: strings.Join(args, "")})
		})
	command.ValidArgsFunction = c.first(c.completeServices)
	return command
}

func (c *cli) rollbackCommand() *cobra.Command {
	command := c.changeCommand("rollback [RELEASE]", "Go back to a release; to the one before when none is named", 1,
		func(ctx context.Context, s *session, args []string) (client.DeploymentView, error) {
			r, err := s.releaseBefore(ctx, args)
			if err != nil {
				return client.DeploymentView{}, err
			}
			s.say("Going back to release %d (%s).", r.Number, clean(label(r.Source)))
			return s.client.CreateDeployment(ctx, s.project, s.environment, client.CreateDeploymentRequest{ReleaseID: r.ID})
		})
	command.ValidArgsFunction = c.first(c.completeReleases)
	return command
}

// releaseBefore finds the release with a number, or the one before the current one.
func (s *session) releaseBefore(ctx context.Context, args []string) (client.ReleaseView, error) {
	all, err := s.releases(ctx)
	if err != nil {
		return client.ReleaseView{}, err
	}
	if len(args) == 1 {
		return numbered(all, args[0], "release", func(r client.ReleaseView) int64 { return r.Number })
	}
	lived, err := s.lived(ctx)
	if err != nil {
		return client.ReleaseView{}, err
	}
	if i := before(all, lived); i >= 0 {
		return all[i], nil
	}
	return client.ReleaseView{}, &exitError{
		code: exitNotFound, text: "There is no release before the current one.", hint: "List them: pandu releases --project " + s.project,
	}
}

// before finds the newest release below the current one that was live; -1: there is none. A release whose deployment
// failed is nothing to go back to.
func before(newestFirst []client.ReleaseView, lived map[int64]bool) int {
	current := slices.IndexFunc(newestFirst, func(r client.ReleaseView) bool { return r.Current })
	if current < 0 {
		return -1
	}
	for i, r := range newestFirst[current+1:] {
		if lived[r.Number] {
			return current + 1 + i
		}
	}
	return -1
}

// lived are the numbers of the releases that were live.
func (s *session) lived(ctx context.Context) (map[int64]bool, error) {
	deployments, err := s.deployments(ctx)
	lived := map[int64]bool{}
	for _, d := range deployments {
		if d.State == "live" && d.Release != nil {
			lived[d.Release.Number] = true
		}
	}
	return lived, err
}

// numbered finds what has a number, written 3 or #3.
func numbered[T any](all []T, text, what string, number func(T) int64) (T, error) {
	var none T
	n, err := strconv.ParseInt(strings.TrimPrefix(text, "#"), 10, 64)
	if err != nil {
		return none, usagef("%q is no number of a %s", text, what)
	}
	for _, v := range all {
		if number(v) == n {
			return v, nil
		}
	}
	return none, &exitError{code: exitNotFound, text: fmt.Sprintf("There is no %s %d here.", what, n), hint: "List them: pandu " + what + "s"}
}

func (c *cli) scaleCommand() *cobra.Command {
	var detach bool
	command := &cobra.Command{
		Use: "scale SERVICE=COUNT ...", Short: "Set how many instances services have", Args: between(1, -1), Example: "  pandu scale web=3 worker=0",
		ValidArgsFunction: c.completeServices,
		RunE: c.run(func(ctx context.Context, s *session, args []string) error {
			wanted, err := counts(args)
			if err != nil {
				return err
			}
			return s.scale(ctx, wanted, detach)
		}),
	}
	detachFlag(command, &detach)
	return command
}

type count struct {
	service string
	n       int64
}

// counts reads web=3 worker=0.
func counts(args []string) ([]count, error) {
	var list []count
	for _, arg := range args {
		name, text, found := strings.Cut(arg, "=")
		n, err := strconv.ParseInt(text, 10, 32)
		if !found || name == "" || err != nil || n < 0 {
			return nil, usagef("%q is not SERVICE=COUNT, such as web=3", arg)
		}
		if slices.ContainsFunc(list, func(c count) bool { return c.service == name }) {
			return nil, usagef("%s is named twice", name)
		}
		list = append(list, count{name, n})
	}
	return list, nil
}

// scale changes one service after the other and follows the last deployment: each makes the one before it worthless.
func (s *session) scale(ctx context.Context, wanted []count, detach bool) error {
	var last *client.DeploymentView
	for _, w := range wanted {
		change, err := s.client.UpdateService(ctx, s.project, s.environment, w.service, client.UpdateServiceRequest{Replicas: &w.n})
		if err != nil {
			return err
		}
		if change.Deployment != nil {
			last = change.Deployment
		}
	}
	if last == nil {
		s.say("Nothing is live yet; it holds from the next deployment on.")
		return nil
	}
	return s.conclude(ctx, *last, detach)
}
