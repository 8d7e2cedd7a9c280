package converge

import (
	"context"
	"strings"
)

// collectImages removes images of the panel's registry that no live entry has named for ImageDelay. Only the names by
// digest under a registry of ours are taken away; Docker keeps an image that another name or a container still needs.
func (c *Converger) collectImages(ctx context.Context) {
	if c.deps.ImageDelay < 0 {
		return
	}
	c.mu.Lock()
	given, wanted := c.given, map[string]bool{}
	for _, i := range c.desired.instances {
		if !i.tombstone {
			wanted[i.spec.Image.Repository+"@"+i.spec.Image.Digest] = true
		}
		// An entry that does not decode may name any image.
		given = given && (i.tombstone || i.broken == "")
	}
	c.mu.Unlock()
	if !given {
		return
	}
	images, err := c.deps.Docker.Images(ctx)
	if err != nil {
		return // the pass that follows notices, too
	}
	registries, now := c.ledger.registries(c.deps.Registry), c.deps.Now()
	present := map[string]bool{}
	for _, i := range images {
		for _, name := range i.Digests {
			repository, ours := cutRegistry(name, registries)
			if !ours || wanted[repository] {
				continue
			}
			present[name] = true
			if since, known := c.unused[name]; !known {
				c.unused[name] = now
			} else if now.Sub(since) >= c.deps.ImageDelay {
				c.removeImage(ctx, name)
			}
		}
	}
	for name := range c.unused {
		if !present[name] {
			delete(c.unused, name)
		}
	}
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
