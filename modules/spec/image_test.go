package spec_test

import (
	"strings"
	"testing"

	"pandu/modules/spec"
)

func TestImageReference(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("0", 64)
	for s, want := range map[string]string{
		"nginx": "docker.io/library/nginx:latest", "nginx:1.27": "docker.io/library/nginx:1.27", "org/app": "docker.io/org/app:latest",
		"ghcr.io/a/b:v1": "ghcr.io/a/b:v1", "registry.example.com:5000/a": "registry.example.com:5000/a:latest", "nginx" + digest: "docker.io/library/nginx" + digest,
		"nginx:1" + digest: "docker.io/library/nginx:1" + digest, "docker.io/nginx": "docker.io/library/nginx:latest",
	} {
		if got, err := spec.ImageReference(s); err != nil || got != want {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
	for s, want := range map[string]string{
		"": "image_reference", "Nginx": "image_reference", "a b": "image_reference", "-x": "image_reference", "nginx:": "image_reference", "nginx@sha256:0": "image_reference",
		"https://ghcr.io/a": "image_reference", strings.Repeat("a", 600): "image_reference", strings.Repeat("0", 64): "image_reference", "../x": "image_reference",
		"localhost/x": "image_registry", "localhost:5000/x": "image_registry", "127.0.0.1/x": "image_registry", "127.0.0.1:5000/x": "image_registry",
		"[::1]:5000/x": "image_registry", "[fe80::1]/x": "image_registry", "10.0.0.1:80/x": "image_registry", "host:80/x": "image_registry", "a.local/x": "image_registry", "pandu.internal/x": "image_registry",
		"127.1:80/x": "image_registry", "0x7f.1:80/x": "image_registry", "2130706433:80/x": "image_registry", "A.LOCALHOST:80/x": "image_registry", "1.2.3.4.:80/x": "image_reference",
	} {
		if got, err := spec.ImageReference(s); code(err) != want {
			t.Errorf("%q: %q, %v, want %s", s, got, err, want)
		}
	}
}
