package cli

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"pandu/modules/cli/client"
	"pandu/modules/spec"
)

type deployFlags struct {
	image           string
	noStart, detach bool
}

func (c *cli) deployCommand() *cobra.Command {
	var f deployFlags
	command := &cobra.Command{
		Use: "deploy [FOLDER | ZIP | TAR.GZ]", Short: "Deploy a folder, an archive or an image, and end with its URL", Args: between(0, 1),
		Long: "Deploy a folder (this one when none is named), an archive or, with --image, an image. A folder is packed without\n" +
			"what .dockerignore names and without .git. The project is --project, PANDU_PROJECT, or named like the folder or\n" +
			"archive; it is made when there is none. Follows the build and the rollout and prints the URL.",
		Example: "  pandu deploy\n  pandu deploy site.zip --project hello\n  pandu deploy --image nginx:1.27 --project web",
		RunE: c.run(func(ctx context.Context, s *session, args []string) error {
			return s.deploy(ctx, strings.Join(args, ""), f)
		}),
	}
	command.Flags().StringVar(&f.image, "image", "", "deploy this image instead of files")
	command.Flags().BoolVar(&f.noStart, "no-start", false, "upload only; pandu start deploys it")
	detachFlag(command, &f.detach)
	return command
}

func detachFlag(command *cobra.Command, detach *bool) {
	command.Flags().BoolVar(detach, "detach", false, "do not wait until it is done")
}

func (s *session) deploy(ctx context.Context, path string, f deployFlags) error {
	if f.image != "" && (path != "" || f.noStart) {
		return usagef("--image goes without files and without --no-start")
	}
	if f.image != "" {
		if err := s.ensureProject(ctx); err != nil {
			return err
		}
		return s.launch(ctx, client.CreateDeploymentRequest{Image: f.image}, f.detach)
	}
	if path == "" {
		path = "."
	}
	s.nameAfter(path)
	file, err := s.open(ctx, path)
	if err != nil {
		return err
	}
	defer file.close()
	if err := s.ensureProject(ctx); err != nil {
		return err
	}
	upload, err := s.upload(ctx, file)
	if err != nil {
		return err
	}
	if err := s.judge(upload); err != nil {
		return err
	}
	if !f.noStart {
		return s.launch(ctx, client.CreateDeploymentRequest{UploadID: upload.ID}, f.detach)
	}
	if s.json {
		return s.object(upload)
	}
	s.say("Uploaded. Deploy it: pandu start --project %s", s.project)
	return s.line(clean(upload.ID))
}

// nameAfter names the project like what is deployed, unless somebody said how.
func (s *session) nameAfter(path string) {
	if !s.guessed {
		return
	}
	if whole, err := filepath.Abs(path); err == nil {
		name := strings.ToLower(filepath.Base(whole))
		for _, end := range []string{".zip", ".tgz", ".tar.gz", ".tar"} {
			name = strings.TrimSuffix(name, end)
		}
		s.project = spec.SuggestSlug(name)
	}
}

// ensureProject makes the project when there is none, and says so.
func (s *session) ensureProject(ctx context.Context) error {
	p, err := s.client.GetProject(ctx, s.project)
	var refused *client.ProblemError
	switch {
	case err == nil:
		s.project = p.Slug
		return nil
	case !errors.As(err, &refused) || refused.Status != http.StatusNotFound:
		return err
	}
	if p, err = s.client.CreateProject(ctx, client.CreateProjectRequest{Name: s.project, Slug: s.project}); err != nil {
		return err
	}
	s.project = p.Slug
	s.say("Made the project %s.", clean(p.Slug))
	return nil
}

// judge tells what an upload was found to be, and refuses what cannot be deployed.
func (s *session) judge(u client.UploadView) error {
	d := u.Detected
	if d == nil {
		return nil
	}
	kinds := map[string]string{"compose": "a compose file", "dockerfile": "a Dockerfile", "static": "a static site"}
	if name, ok := kinds[d.Kind]; ok {
		services := ""
		if len(d.Services) > 1 {
			services = " with the services " + clean(strings.Join(d.Services, ", "))
		}
		s.say("Found %s%s.", name, services)
	}
	s.notes(d.Notes)
	if len(d.Problems) == 0 {
		return nil
	}
	if s.json {
		_ = s.object(u) // the reasons, for programs
	}
	refused := &exitError{code: exitRefused, text: "This cannot be deployed:"}
	for _, p := range d.Problems {
		refused.places = append(refused.places, place(p.Location, p.Message))
	}
	return refused
}

func (s *session) notes(list []client.Note) {
	for _, n := range list {
		s.say("Note: %s", place(n.Location, n.Message))
	}
}

// launch makes a deployment and follows it.
func (s *session) launch(ctx context.Context, what client.CreateDeploymentRequest, detach bool) error {
	d, err := s.client.CreateDeployment(ctx, s.project, s.environment, what)
	if err != nil {
		return err
	}
	return s.conclude(ctx, d, detach)
}

// open makes an archive of a folder, or takes one that is there.
func (s *session) open(ctx context.Context, path string) (*archiveFile, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, usagef("%v", err)
	}
	if !info.IsDir() {
		return openArchive(path)
	}
	file, summary, err := packFolder(ctx, path)
	if err != nil {
		return nil, err
	}
	s.say("Packed %d files and folders, %s.", summary.Entries, size(summary.Bytes))
	return file, nil
}
