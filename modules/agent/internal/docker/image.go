package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"
)

// Image is what an image says about how it wants to run.
type Image struct {
	ID        string
	Ports     []int             // EXPOSEd TCP ports, ascending
	Env       map[string]string // its own variables
	Check     []string          // argv of its HEALTHCHECK; nil: none
	Interval  time.Duration     // of the check; 0: not said, as all below
	Timeout   time.Duration
	StartTime time.Duration
	Retries   int
	Digests   []string // repository@digest names it is known by
	Tags      []string // repository:tag names; only Images tells
}

// Image looks for repository@digest under the registry's name and, since a digest is the content wherever it came from,
// under any name that ends like it: the registry's port changes when the agent restarts.
func (e *Engine) Image(ctx context.Context, registry, repository, digest string) (Image, error) {
	ctx, cancel := context.WithTimeout(ctx, quick)
	defer cancel()
	r, err := e.c.ImageInspect(ctx, registry+"/"+repository+"@"+digest)
	if err == nil {
		return imageOf(r.InspectResponse), nil
	}
	if err = classify("inspect image", err); !errors.Is(err, ErrNotFound) {
		return Image{}, err
	}
	list, listErr := e.c.ImageList(ctx, client.ImageListOptions{})
	if listErr != nil {
		return Image{}, classify("list images", listErr)
	}
	for _, s := range list.Items {
		if slices.ContainsFunc(s.RepoDigests, func(n string) bool { return strings.HasSuffix(n, "/"+repository+"@"+digest) }) {
			if r, err := e.c.ImageInspect(ctx, s.ID); err == nil {
				return imageOf(r.InspectResponse), nil
			}
		}
	}
	return Image{}, err
}

func imageOf(r image.InspectResponse) Image {
	i := Image{ID: r.ID, Digests: r.RepoDigests, Env: map[string]string{}}
	if r.Config == nil {
		return i
	}
	for p := range r.Config.ExposedPorts {
		number, protocol, _ := strings.Cut(p, "/")
		if n, err := strconv.Atoi(number); err == nil && (protocol == "" || protocol == "tcp") {
			i.Ports = append(i.Ports, n)
		}
	}
	slices.Sort(i.Ports)
	for _, v := range r.Config.Env {
		name, value, _ := strings.Cut(v, "=")
		i.Env[name] = value
	}
	if h := r.Config.Healthcheck; h != nil && len(h.Test) > 1 {
		i.Interval, i.Timeout, i.StartTime, i.Retries = h.Interval, h.Timeout, h.StartPeriod, h.Retries
		switch h.Test[0] {
		case "CMD":
			i.Check = h.Test[1:]
		case "CMD-SHELL": // inside the container, by the image's own shell: what its maker wrote
			shell := r.Config.Shell
			if len(shell) == 0 {
				shell = []string{"/bin/sh", "-c"}
			}
			i.Check = append(slices.Clone(shell), h.Test[1])
		}
	}
	return i
}

// Pull fetches an image by its whole reference and returns when Docker has it.
func (e *Engine) Pull(ctx context.Context, reference string) error {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	r, err := e.c.ImagePull(ctx, reference, client.ImagePullOptions{})
	if err != nil {
		return classify("pull image", err)
	}
	defer func() { _ = r.Close() }()
	return classify("pull image", r.Wait(ctx))
}

// Images lists every image with the names it is known by.
func (e *Engine) Images(ctx context.Context) ([]Image, error) {
	ctx, cancel := context.WithTimeout(ctx, quick)
	defer cancel()
	r, err := e.c.ImageList(ctx, client.ImageListOptions{})
	if err != nil {
		return nil, classify("list images", err)
	}
	out := make([]Image, 0, len(r.Items))
	for _, s := range r.Items {
		out = append(out, Image{ID: s.ID, Digests: s.RepoDigests, Tags: s.RepoTags})
	}
	return out, nil
}

// RemoveImage takes one name (registry/repository@digest or …:tag) from an image; the last name takes the image, unless a
// container uses it.
func (e *Engine) RemoveImage(ctx context.Context, name string) error {
	if !strings.Contains(name, "/") {
		return fmt.Errorf("remove image: %q is not a name with a registry", name)
	}
	ctx, cancel := context.WithTimeout(ctx, slow)
	defer cancel()
	_, err := e.c.ImageRemove(ctx, name, client.ImageRemoveOptions{})
	return ignoreMissing(classify("remove image", err))
}

// ImageByID tells about an image that a container was made from.
func (e *Engine) ImageByID(ctx context.Context, id string) (Image, error) {
	ctx, cancel := context.WithTimeout(ctx, quick)
	defer cancel()
	r, err := e.c.ImageInspect(ctx, id)
	if err != nil {
		return Image{}, classify("inspect image", err)
	}
	return imageOf(r.InspectResponse), nil
}
