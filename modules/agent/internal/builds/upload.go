package builds

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
)

// pushTries is how often a blob or manifest is offered to a registry that does not answer well.
const pushTries = 5

// registry writes into one repository of the panel's registry, by the OCI distribution specification.
type registry struct {
	service *Service
	base    string // http://host:port/v2/repository
}

func (s *Service) registry(repository string) registry {
	return registry{service: s, base: "http://" + s.deps.Registry + "/v2/" + repository}
}

// write uploads what the repository does not have yet, then the manifest under tag. It returns the manifest's digest.
func (r registry) write(ctx context.Context, tag string, img image) (string, error) {
	for _, l := range img.layers {
		if err := r.blob(ctx, l.digest, l.size, func() (io.ReadCloser, error) { return os.Open(l.path) }); err != nil {
			return "", err
		}
	}
	config := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(img.config)), nil }
	if err := r.blob(ctx, sum(img.config), int64(len(img.config)), config); err != nil {
		return "", err
	}
	manifest := img.manifest()
	err := r.again(ctx, func() error {
		body := io.NopCloser(bytes.NewReader(manifest))
		return r.do(ctx, http.MethodPut, r.base+"/manifests/"+tag, typeManifest, body, int64(len(manifest)), http.StatusCreated, nil)
	})
	return sum(manifest), err
}

// blob uploads one blob as a whole unless it is there. Uploading it twice gives the same, so it may be tried again.
func (r registry) blob(ctx context.Context, digest string, size int64, open func() (io.ReadCloser, error)) error {
	return r.again(ctx, func() error {
		err := r.do(ctx, http.MethodHead, r.base+"/blobs/"+digest, "", nil, 0, http.StatusOK, nil)
		if !errors.As(err, new(statusError)) {
			return err
		}
		var location string
		if err := r.do(ctx, http.MethodPost, r.base+"/blobs/uploads/", "", nil, 0, http.StatusAccepted, &location); err != nil {
			return err
		}
		to, err := r.resolve(location, digest)
		if err != nil {
			return err
		}
		body, err := open()
		if err != nil {
			return fmt.Errorf("open blob: %w", err)
		}
		return r.do(ctx, http.MethodPut, to, "application/octet-stream", body, size, http.StatusCreated, nil)
	})
}

// resolve makes an upload's address of the registry's answer. Its host is always ours: what stands behind the proxy is
// reached through the proxy.
func (r registry) resolve(location, digest string) (string, error) {
	base, err := url.Parse(r.base)
	if err != nil {
		return "", fmt.Errorf("read registry address: %w", err)
	}
	to, err := base.Parse(location)
	if err != nil {
		return "", fmt.Errorf("read upload address: %w", err)
	}
	to.Scheme, to.Host = base.Scheme, base.Host
	query := to.Query()
	query.Set("digest", digest)
	to.RawQuery = query.Encode()
	return to.String(), nil
}

// statusError is an answer other than the one expected.
type statusError struct {
	status int
	text   string
}

func (e statusError) Error() string { return fmt.Sprintf("registry answered %d: %s", e.status, e.text) }

func (r registry) do(ctx context.Context, method, to, kind string, body io.ReadCloser, size int64, want int, location *string) error {
	var reader io.Reader
	if body != nil {
		defer body.Close()
		reader = body
	}
	request, err := http.NewRequestWithContext(ctx, method, to, reader)
	if err != nil {
		return fmt.Errorf("make registry request: %w", err)
	}
	request.ContentLength = size
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	answer, err := r.service.http.Do(request)
	if err != nil {
		return fmt.Errorf("call registry: %w", err)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 1000)) // only for the message
	if answer.StatusCode != want {
		return statusError{answer.StatusCode, string(text)}
	}
	if location != nil {
		*location = answer.Header.Get("Location")
	}
	return nil
}

// again tries while the registry is away or overloaded; a refusal is final.
func (r registry) again(ctx context.Context, f func() error) error {
	pause := r.service.first
	for try := 1; ; try++ {
		err := f()
		var status statusError
		final := errors.As(err, &status) && status.status < 500 && status.status != http.StatusTooManyRequests
		if err == nil || final || try == pushTries || ctx.Err() != nil {
			return err
		}
		sleep(ctx, pause)
		pause = min(2*pause, r.service.last)
	}
}

func pushFailure(err error) *failure {
	var status statusError
	f := failed(codePush, "The image could not be written into the panel's registry.").because(err)
	if errors.As(err, &status) && status.status < 500 && status.status != http.StatusTooManyRequests {
		return f
	}
	return f.again()
}
