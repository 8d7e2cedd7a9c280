// Package images puts the base images that ordinary Dockerfiles name (debian, nginx, python, node, postgres, redis,
// golang) into a test's Docker Engine, under their public names and without any registry.
//
// The work is done by images.sh beside it, which keeps what it made between runs; see there for where and from what.
// The package never pulls and never speaks to another engine than the one it is given.
package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/moby/moby/client"
)

// Ensure makes the images that names say ("postgres:17", or a whole family: "postgres") and loads them into the engine
// at dockerHost (unix:///…/docker.sock); without names, all. What is cached takes a second or two; a first time takes
// minutes, root and the Debian archive. A name that no image has is an error.
func Ensure(ctx context.Context, dockerHost string, names ...string) error {
	families, err := familiesOf(names)
	if err != nil {
		return err
	}
	c, err := client.New(client.WithHost(dockerHost))
	if err != nil {
		return fmt.Errorf("make docker client: %w", err)
	}
	defer func() { _ = c.Close() }()
	return load(ctx, c, families)
}

// load pipes the script's tar stream into the engine.
func load(ctx context.Context, c *client.Client, families []string) error {
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(here(), "images.sh"), append([]string{"pack"}, families...)...)
	cmd.Stderr = &said
	stream, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("make pipe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run images.sh: %w", err)
	}
	loaded, loadErr := c.ImageLoad(ctx, stream, client.ImageLoadWithQuiet(true))
	if loadErr == nil {
		var answer []byte
		answer, loadErr = io.ReadAll(io.LimitReader(loaded, 1<<20))
		if bytes.Contains(answer, []byte(`"errorDetail"`)) {
			loadErr = errors.New(string(answer))
		}
		_ = loaded.Close()
	}
	_, _ = io.Copy(io.Discard, stream) // a failed load leaves the script writing
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("make base images: %w: %s", err, last(said.String()))
	}
	if loadErr != nil {
		return fmt.Errorf("load base images: %w", loadErr)
	}
	return nil
}

// familiesOf says which families have the names.
func familiesOf(names []string) ([]string, error) {
	var families []string
	for _, name := range names {
		family, tag, _ := strings.Cut(name, ":")
		tags, err := os.ReadFile(filepath.Join(here(), filepath.Base(family), "tags"))
		if err != nil || tag != "" && !slices.Contains(strings.Fields(string(tags)), name) {
			return nil, fmt.Errorf("there is no base image %s", name)
		}
		if !slices.Contains(families, family) {
			families = append(families, family)
		}
	}
	return families, nil
}

// here is the directory of this file: tests run from the sources.
func here() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(file)
}

// last is the end of what the script said.
func last(s string) string { return s[max(0, len(s)-2000):] }
