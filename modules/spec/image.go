package spec

import (
	"net/netip"
	"strings"

	"github.com/distribution/reference"

	"pandu/modules/kit/fault"
)

const maxReference = 512

// ImageReference judges a reference to an image as people write it (nginx, nginx:1.27, ghcr.io/a/b@sha256:…) and returns
// it in full (docker.io/library/nginx:latest). References to registries on addresses or local names are refused: an
// agent would reach its own server or network with them. Faults: image_reference, image_registry.
func ImageReference(s string) (string, error) {
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil || len(s) > maxReference {
		return "", fault.Newf(fault.Invalid, "image_reference", "%.80q is no reference to an image. Write it like nginx:1.27 or ghcr.io/owner/name:tag.", s).With("reference", s)
	}
	host, _, _ := strings.Cut(reference.Domain(named), ":")
	if local(host) || strings.HasPrefix(reference.Domain(named), "[") {
		return "", fault.Newf(fault.Invalid, "image_registry", "Images of the registry %s are not allowed: it is no public name.", reference.Domain(named)).With("reference", s)
	}
	return reference.TagNameOnly(named).String(), nil
}

// local reports names that mean another machine wherever they are asked.
func local(host string) bool {
	host = strings.ToLower(host)
	if _, err := netip.ParseAddr(host); err == nil || !strings.Contains(host, ".") {
		return true
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	switch last {
	case "localhost", "local", "internal", "lan", "home", "arpa":
		return true
	}
	return last == "" || strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x")
}
