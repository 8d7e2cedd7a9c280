package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/moby/moby/client"
)

// WebPackage is the import path of the test program with a behaviour for every case; see its package comment.
const WebPackage = "pandu/tests/engine/images/web"

// Binary compiles a Go program of ours as a static binary and returns it. Go's build cache makes a second call cheap.
func Binary(ctx context.Context, goPackage string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "pandu-binary-")
	if err != nil {
		return nil, fmt.Errorf("make build directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	out := filepath.Join(dir, "program")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, goPackage) //nolint:gosec // our own packages
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if said, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build %s: %w: %s", goPackage, err, said)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		return nil, fmt.Errorf("read program: %w", err)
	}
	return b, nil
}

// BuildScratch compiles goPackage (an import path) and imports it as image name, FROM scratch, with /program as its
// entry point. changes are Dockerfile instructions: "EXPOSE 80", "ENV A=b", "HEALTHCHECK CMD …". It returns the image's id.
func (e *Engine) BuildScratch(ctx context.Context, name, goPackage string, changes ...string) (string, error) {
	program, err := Binary(ctx, goPackage)
	if err != nil {
		return "", err
	}
	layer, err := archive(program)
	if err != nil {
		return "", err
	}
	changes = append([]string{`ENTRYPOINT ["/program"]`}, changes...)
	r, err := e.Client.ImageImport(ctx, client.ImageImportSource{Source: layer, SourceName: "-"}, name, client.ImageImportOptions{Changes: changes})
	if err != nil {
		return "", fmt.Errorf("import image %s: %w", name, err)
	}
	_, err = io.Copy(io.Discard, r)
	_ = r.Close()
	if err != nil {
		return "", fmt.Errorf("import image %s: %w", name, err)
	}
	info, err := e.Client.ImageInspect(ctx, name)
	if err != nil {
		return "", fmt.Errorf("inspect image %s: %w", name, err)
	}
	return info.ID, nil
}

// archive is a root file system with the program and a /tmp.
func archive(program []byte) (io.Reader, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	at := time.Unix(0, 0)
	entries := []*tar.Header{
		{Name: "program", Mode: 0o755, Size: int64(len(program)), ModTime: at, Typeflag: tar.TypeReg},
		{Name: "tmp/", Mode: 0o1777, ModTime: at, Typeflag: tar.TypeDir},
	}
	for _, h := range entries {
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("write image layer: %w", err)
		}
		if h.Size == 0 {
			continue
		}
		if _, err := w.Write(program); err != nil {
			return nil, fmt.Errorf("write image layer: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("write image layer: %w", err)
	}
	return &b, nil
}
