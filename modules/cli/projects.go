package cli

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pandu/modules/cli/client"
)

func (c *cli) projectsCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "projects", Aliases: []string{"project"}, Short: "List projects; create, rename and delete them", Args: between(0, 0), RunE: c.run(listProjects),
	}
	list.AddCommand(c.createProjectCommand(), c.renameProjectCommand(), c.deleteProjectCommand())
	return list
}

func listProjects(ctx context.Context, s *session, _ []string) error {
	all, err := s.projects(ctx)
	if err != nil {
		return err
	}
	t := newTable("PROJECT", "NAME", "STATUS", "URL", "AGE")
	for _, p := range all {
		t.add(p.Slug, p.Name, p.Status, p.URL, age(s.cli.env.Now(), p.CreatedAt))
	}
	if len(all) == 0 {
		s.say("There are no projects yet. Make one from a folder: pandu deploy")
	}
	return s.print(all, t)
}

func (s *session) projects(ctx context.Context) ([]client.ProjectView, error) {
	return client.All(func(cursor string) ([]client.ProjectView, string, error) {
		page, err := s.client.ListProjects(ctx, client.ListProjectsQuery{Cursor: cursor, Limit: new(int64(100))})
		return page.Items, page.NextCursor, err
	})
}

func (c *cli) createProjectCommand() *cobra.Command {
	var slug string
	command := &cobra.Command{
		Use: "create NAME", Short: "Make a project with its production environment and hostname", Args: between(1, 1),
		RunE: c.run(func(ctx context.Context, s *session, args []string) error {
			p, err := s.client.CreateProject(ctx, client.CreateProjectRequest{Name: args[0], Slug: slug})
			if err != nil {
				return err
			}
			return s.tellProject("Made", p)
		}),
	}
	command.Flags().StringVar(&slug, "slug", "", "its name in addresses; made from the name otherwise")
	return command
}

func (s *session) tellProject(what string, p client.ProjectView) error {
	if s.json {
		return s.object(p)
	}
	s.say("%s the project %s. Deploy to it: pandu deploy --project %s", what, clean(p.Slug), clean(p.Slug))
	return s.line(clean(cmp.Or(p.URL, p.Slug)))
}

func (c *cli) renameProjectCommand() *cobra.Command {
	var slug string
	command := &cobra.Command{
		Use: "rename PROJECT NEWNAME", Short: "Rename a project; its hostnames stay", Args: between(2, 2), ValidArgsFunction: c.first(c.completeProjects),
		RunE: c.run(func(ctx context.Context, s *session, args []string) error {
			p, err := s.client.UpdateProject(ctx, args[0], client.UpdateProjectRequest{Name: args[1], Slug: slug})
			if err != nil {
				return err
			}
			if s.json {
				return s.object(p)
			}
			s.say("%s is called %s now.", clean(p.Slug), clean(p.Name))
			return nil
		}),
	}
	command.Flags().StringVar(&slug, "slug", "", "its new name in addresses and commands")
	return command
}

func (c *cli) deleteProjectCommand() *cobra.Command {
	var volumes string
	var yes bool
	command := &cobra.Command{
		Use: "delete PROJECT", Short: "Delete a project with all it made", Args: between(1, 1), ValidArgsFunction: c.first(c.completeProjects),
		RunE: c.run(func(ctx context.Context, s *session, args []string) error {
			if !slices.Contains([]string{"", "keep", "delete"}, volumes) {
				return usagef("--volumes is keep or delete, not %q", volumes)
			}
			s.project, s.guessed = args[0], false
			p, err := s.client.GetProject(ctx, args[0])
			if err != nil {
				return err
			}
			if !yes {
				if err := s.asker().confirm(ctx, deleteQuestion(p, volumes)); err != nil {
					return err
				}
			}
			if p, err = s.client.DeleteProject(ctx, p.ID, client.DeleteProjectQuery{Volumes: volumes}); err != nil {
				return err
			}
			if s.json {
				return s.object(p)
			}
			s.say("%s is being deleted.", clean(args[0]))
			return nil
		}),
	}
	command.Flags().StringVar(&volumes, "volumes", "", "what becomes of its data: keep or delete")
	command.Flags().BoolVar(&yes, "yes", false, "do not ask")
	_ = command.RegisterFlagCompletionFunc("volumes", cobra.FixedCompletions([]string{"keep", "delete"}, cobra.ShellCompDirectiveNoFileComp)) // once
	return command
}

func deleteQuestion(p client.ProjectView, volumes string) string {
	parts := []string{"This deletes the project " + clean(p.Slug) + " with its containers, images, releases and hostnames"}
	if volumes == "delete" {
		parts = append(parts, "and the data in its volumes")
	}
	return strings.Join(parts, " ") + "."
}
