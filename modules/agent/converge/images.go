package converge

import (
	"context"
	"maps"
	"strings"

	"pandu/modules/agent/internal/docker"
)

// collectImages removes images of the panel's registry that no live entry has named for ImageDelay, and at once those of
// a project that was deleted. Only names under a registry of ours are taken away, and the tags of builds only when
// nothing of their repository is wanted; Docker keeps an image that another name or a container still needs.
func (c *Converger) collectImages(ctx context.Context) {
	if c.deps.ImageDelay < 0 {
		return
	}
	names, repositories, deleted, complete := c.wantedImages()
	if !complete {
		return
	}
	images, err := c.deps.Docker.Images(ctx)
	if err != nil {
		return // the pass that follows notices, too
	}
	registries, now := c.ledger.registries(c.deps.Registry), c.deps.Now()
	present := map[string]bool{}
	for _, name := range namesOf(images) {
		rest, ours := cutRegistry(name, registries)
		repository, byDigest := repositoryOf(rest)
		if !ours || names[rest] || (!byDigest && repositories[repository]) {
			continue
		}
		present[name] = true
		since, known := c.unused[name]
		if !known {
			c.unused[name], since = now, now
		}
		if now.Sub(since) >= c.deps.ImageDelay || (deleted[repository] && !repositories[repository]) {
			c.removeImage(ctx, name)
		}
	}
	left := map[string]bool{}
	for name := range c.unused {
		rest, _ := cutRegistry(name, registries)
		repository, _ := repositoryOf(rest)
		if !present[name] {
			delete(c.unused, name)
		} else {
			left[repository] = true
		}
	}
	c.mu.Lock()
	maps.DeleteFunc(c.deleted, func(repository string, _ bool) bool { return deleted[repository] && !left[repository] })
	c.mu.Unlock()
}

// wantedImages lists what live entries name (repository@digest), its repositories, and the repositories of projects that
// were deleted. It is not complete when there is no list, or when an entry does not decode: that may name any image.
func (c *Converger) wantedImages() (names, repositories, deleted map[string]bool, complete bool) {
	names, repositories = map[string]bool{}, map[string]bool{}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range c.desired.instances {
		if i.tombstone {
			continue
		}
		if i.broken != "" {
			return nil, nil, nil, false
		}
		names[i.spec.Image.Repository+"@"+i.spec.Image.Digest], repositories[i.spec.Image.Repository] = true, true
	}
	return names, repositories, maps.Clone(c.deleted), c.given
}

func namesOf(images []docker.Image) []string {
	var names []string
	for _, i := range images {
		names = append(append(names, i.Digests...), i.Tags...)
	}
	return names
}

func (c *Converger) removeImage(ctx context.Context, name string) {
	if err := c.deps.Docker.RemoveImage(ctx, name); err != nil {
		c.deps.Logger.Info("unused image stays", "image", name, "error", err)
		return
	}
	c.deps.Logger.Info("unused image removed", "image", name)
	delete(c.unused, name)
}

func cutRegistry(name string, registries []string) (string, bool) {
	for _, r := range registries {
		if rest, ok := strings.CutPrefix(name, r+"/"); ok {
			return rest, true
		}
	}
	return "", false
}

// repositoryOf cuts the digest or the tag from a name without its registry.
func repositoryOf(name string) (repository string, byDigest bool) {
	if repository, _, byDigest = strings.Cut(name, "@"); byDigest {
		return repository, true
	}
	repository, _, _ = strings.Cut(name, ":")
	return repository, false
}
