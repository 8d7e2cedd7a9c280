package builds

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"encoding/base64"

	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/client"

	"pandu/modules/spec"
)

// keepImages is how many builds of one repository stay in the Engine for quick starts and rollbacks.
const keepImages = 3

// noCredentials is an empty login: the panel's registry on loopback knows this server by its connection, but old Engines
// refuse a push without the header.
var noCredentials = base64.URLEncoding.EncodeToString([]byte("{}"))

// publish pushes an image of the Engine into the panel's registry and reads its configuration.
func (a *attempt) publish(ctx context.Context, image string) (built, error) {
	a.enter(phasePush)
	config, err := a.inspect(ctx, image)
	if err != nil {
		return built{}, err
	}
	if _, err := a.service.engine.ImageTag(ctx, client.ImageTagOptions{Source: image, Target: a.tag()}); err != nil {
		return built{}, engineFailure(err)
	}
	a.journal.note("Pushing the image into the panel's registry.")
	digest, err := a.push(ctx)
	if err != nil {
		return built{}, err
	}
	a.forgetOld(ctx)
	return built{digest: digest, config: config}, nil
}

var manifestDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

func (a *attempt) push(ctx context.Context) (digest string, err error) {
	answer, err := a.service.engine.ImagePush(ctx, a.tag(), client.ImagePushOptions{RegistryAuth: noCredentials})
	if err != nil {
		return "", engineFailure(err)
	}
	defer answer.Close()
	err = drain(answer, func(m jsonstream.Message) error {
		if m.Error != nil {
			return errors.New(m.Error.Message)
		}
		var pushed struct{ Digest string }
		if m.Aux != nil && json.Unmarshal(*m.Aux, &pushed) == nil && pushed.Digest != "" {
			digest = pushed.Digest
		}
		return nil
	})
	switch {
	case err != nil && strings.Contains(err.Error(), "no space left on device"):
		return "", failed(codePush, "The disk of the panel's storage is full. Its operator has to make room; then build again.").because(err)
	case err != nil:
		return "", failed(codePush, "The image could not be pushed into the panel's registry.").again().because(err)
	case !manifestDigest.MatchString(digest):
		return "", failed(codePush, "The Engine pushed the image without saying its digest.").again()
	}
	return digest, nil
}

// inspect reads what an image declares.
func (a *attempt) inspect(ctx context.Context, image string) (spec.ImageConfig, error) {
	found, err := a.service.engine.ImageInspect(ctx, image)
	if err != nil {
		return spec.ImageConfig{}, engineFailure(err)
	}
	out := spec.ImageConfig{Size: found.Size, Platform: found.Os + "/" + found.Architecture}
	if found.Config == nil {
		return out, nil
	}
	out.User = found.Config.User
	for port := range found.Config.ExposedPorts {
		out.Ports = append(out.Ports, tcpPorts(port)...)
	}
	slices.Sort(out.Ports)
	out.Ports = slices.Compact(out.Ports)
	for v := range found.Config.Volumes {
		out.Volumes = append(out.Volumes, v)
	}
	slices.Sort(out.Volumes)
	if h := found.Config.Healthcheck; h != nil {
		out.Health = health(h.Test, found.Config.Shell)
		if out.Health != nil && out.Health.Kind == spec.HealthCommand {
			out.Health.Interval, out.Health.Timeout = spec.Duration(h.Interval), spec.Duration(h.Timeout)
			out.Health.StartPeriod, out.Health.Retries = spec.Duration(h.StartPeriod), h.Retries
		}
	}
	return out, nil
}

// tcpPorts reads "8080/tcp", "8080" or "8000-8010/tcp"; a long range only up to 100 ports.
func tcpPorts(text string) (out []int) {
	ports, protocol, _ := strings.Cut(text, "/")
	if protocol != "" && protocol != "tcp" {
		return nil
	}
	low, high, ranged := strings.Cut(ports, "-")
	from, err := strconv.Atoi(low)
	to := from
	if ranged && err == nil {
		to, err = strconv.Atoi(high)
	}
	for p := from; err == nil && p <= to && p < from+100 && p > 0 && p < 1<<16; p++ {
		out = append(out, p)
	}
	return out
}

// health turns a HEALTHCHECK into ours; nil when the image has none.
func health(test, shell []string) *spec.Health {
	if len(test) == 0 {
		return nil
	}
	switch {
	case test[0] == "NONE":
		return &spec.Health{Kind: spec.HealthNone}
	case test[0] == "CMD" && len(test) > 1:
		return &spec.Health{Kind: spec.HealthCommand, Command: test[1:]}
	case test[0] == "CMD-SHELL" && len(test) == 2:
		if len(shell) == 0 {
			shell = []string{"/bin/sh", "-c"}
		}
		return &spec.Health{Kind: spec.HealthCommand, Command: append(slices.Clone(shell), test[1])}
	default:
		return nil
	}
}

// forgetOld removes older builds of this repository from the Engine. Images in use stay: the Engine refuses. What fails
// is tried again after the next build.
func (a *attempt) forgetOld(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	name := a.service.deps.Registry + "/" + a.GetRepository()
	found, err := a.service.engine.ImageList(ctx, client.ImageListOptions{Filters: client.Filters{}.Add("reference", name)})
	if err != nil {
		return
	}
	items := found.Items
	for i := range items { // attempts have ordered ids (UUIDv7), images of scratch may have no time
		slices.Sort(items[i].RepoTags)
	}
	var tags []string
	for _, image := range items {
		for _, tag := range image.RepoTags {
			if strings.HasPrefix(tag, name+":") {
				tags = append(tags, tag)
			}
		}
	}
	slices.Sort(tags)
	for _, tag := range tags[:max(len(tags)-keepImages, 0)] {
		_, _ = a.service.engine.ImageRemove(ctx, tag, client.ImageRemoveOptions{PruneChildren: true})
	}
}
