package builds

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"os"
	"runtime"

	"github.com/klauspost/compress/gzip"
)

// The media types of the OCI image specification that are used here.
const (
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// layer is a packed layer in a file.
type layer struct {
	path     string
	digest   string // of the packed bytes
	diff     string // of the tar
	size     int64  // packed bytes
	unpacked int64
}

// makeLayer packs what fill writes. The same content gives the same bytes.
func makeLayer(to string, fill func(*tar.Writer) error) (layer, error) {
	f, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return layer{}, fmt.Errorf("make layer: %w", err)
	}
	defer f.Close()
	packed, plain := newCounter(f), sha256.New()
	zip := gzip.NewWriter(packed)
	content := newCounter(io.MultiWriter(zip, plain))
	out := tar.NewWriter(content)
	if err := fill(out); err != nil {
		return layer{}, fmt.Errorf("make layer: %w", err)
	}
	for _, c := range []io.Closer{out, zip, f} {
		if err := c.Close(); err != nil {
			return layer{}, fmt.Errorf("make layer: %w", err)
		}
	}
	return layer{path: to, digest: packed.digest(), diff: digestOf(plain), size: packed.size, unpacked: content.size}, nil
}

func digestOf(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

// counter counts and hashes what passes.
type counter struct {
	to   io.Writer
	hash hash.Hash
	size int64
}

func newCounter(to io.Writer) *counter { return &counter{to: to, hash: sha256.New()} }

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.hash.Write(p[:n])
	c.size += int64(n)
	return n, err
}

func (c *counter) digest() string { return digestOf(c.hash) }

// image is what is written to a registry: a configuration and the layers below it.
type image struct {
	config []byte
	layers []layer
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

// staticImage is the image of a static site. It has no creation time: the same pages give the same digest.
func staticImage(repository string, layers ...layer) image {
	var diffs []string
	for _, l := range layers {
		diffs = append(diffs, l.diff)
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config": map[string]any{
			"User":         staticUser,
			"WorkingDir":   "/" + sitePath,
			"Entrypoint":   []string{"/" + serverPath, "fileserver", "--dir", "/" + sitePath},
			"ExposedPorts": map[string]any{fmt.Sprintf("%d/tcp", staticPort): struct{}{}},
			"Labels":       map[string]string{labelRepository: repository},
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffs},
	})
	if err != nil {
		panic("builds: image configuration does not marshal: " + err.Error()) // only plain data in there
	}
	return image{config: config, layers: layers}
}

// manifest names the configuration and the layers.
func (i image) manifest() []byte {
	var layers []descriptor
	for _, l := range i.layers {
		layers = append(layers, descriptor{typeLayer, l.digest, l.size})
	}
	out, err := json.Marshal(map[string]any{
		"schemaVersion": 2,
		"mediaType":     typeManifest,
		"config":        descriptor{typeConfig, sum(i.config), int64(len(i.config))},
		"layers":        layers,
	})
	if err != nil {
		panic("builds: manifest does not marshal: " + err.Error()) // only plain data in there
	}
	return out
}

func sum(data []byte) string {
	h := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(h[:])
}
