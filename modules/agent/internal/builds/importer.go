package builds

import (
	"context"
	"errors"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/client"
)

// makeImport copies an image of another registry into the panel's.
func (a *attempt) makeImport(ctx context.Context) (built, error) {
	a.enter(phaseBuild)
	named, err := importName(a.spec.Reference, a.service.deps.Registry)
	if err != nil {
		return built{}, err
	}
	a.journal.note("Pulling %s.", reference.FamiliarString(named))
	if err := a.pull(ctx, named); err != nil {
		if err = a.fallBack(ctx, named, err); err != nil {
			return built{}, err
		}
	}
	return a.publish(ctx, named.String())
}

// importName reads a reference as people write it: docker.io and latest are filled in. With a digest the tag is left out.
func importName(text, registry string) (reference.Named, error) {
	if reason := foreignImage(text, registry); reason != "" {
		return nil, failed(codeImage, "The image %q cannot be used: %s.", text, reason)
	}
	named, err := reference.ParseDockerRef(text)
	if err != nil {
		return nil, failed(codeImage, "%q is not an image reference.", text).because(err)
	}
	return named, nil
}

func (a *attempt) pull(ctx context.Context, named reference.Named) error {
	answer, err := a.service.engine.ImagePull(ctx, named.String(), client.ImagePullOptions{})
	if err != nil {
		return err
	}
	defer answer.Close()
	said := map[string]string{}
	return drain(answer, func(m jsonstream.Message) error {
		if m.Error != nil {
			return errors.New(m.Error.Message)
		}
		if m.Progress == nil && m.Status != "" && said[m.ID] != m.Status {
			said[m.ID] = m.Status
			a.journal.line(strings.TrimPrefix(m.ID+": "+m.Status, ": "))
		}
		return nil
	})
}

// fallBack takes an image of that name that this server has, but only when the registry could not be reached: what a
// registry refuses or does not have must not come from whatever else lies on this server.
func (a *attempt) fallBack(ctx context.Context, named reference.Named, pulled error) error {
	name := reference.FamiliarString(named)
	switch text := pulled.Error(); {
	case errors.Is(pulled, errBroken) || client.IsErrConnectionFailed(pulled):
		return engineFailure(pulled)
	case strings.Contains(text, "no space left on device"):
		return failed(codeEngine, "The disk of the build server is full. Its operator has to make room; then build again.").because(pulled)
	case !unreachable.MatchString(text):
		return failed(codeImage, "The image %s does not exist or is private.", name).because(pulled)
	}
	if _, err := a.service.engine.ImageInspect(ctx, named.String()); err != nil {
		return failed(codeImage, "The registry of %s cannot be reached, and this server does not have the image.", name).again().because(pulled)
	}
	a.journal.note("The registry cannot be reached (%s). Using the image of that name that this server has.", brief(pulled.Error()))
	return nil
}
