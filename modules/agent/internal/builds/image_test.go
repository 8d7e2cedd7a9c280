package builds

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// export calls each with every file of an image that is pulled from the registry by digest.
func (b *bench) export(repository, digest string, each func(*tar.Header, io.Reader)) {
	b.t.Helper()
	ctx, reference := b.t.Context(), b.registry+"/"+repository+"@"+digest
	pulled, err := docker.Client.ImagePull(ctx, reference, client.ImagePullOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := pulled.Wait(ctx); err != nil {
		b.t.Fatal(err)
	}
	made, err := docker.Client.ContainerCreate(ctx, client.ContainerCreateOptions{Config: &container.Config{Image: reference, Cmd: []string{"/none"}}})
	if err != nil {
		b.t.Fatal(err)
	}
	defer docker.Client.ContainerRemove(ctx, made.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	out, err := docker.Client.ContainerExport(ctx, made.ID, client.ContainerExportOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	defer out.Close()
	for in := tar.NewReader(out); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			b.t.Fatal(err)
		}
		each(h, in)
	}
}

func (b *bench) files(repository, digest string) (names []string) {
	b.export(repository, digest, func(h *tar.Header, _ io.Reader) { names = append(names, strings.TrimSuffix(h.Name, "/")) })
	return names
}

func (b *bench) content(repository, digest, name string) (text string) {
	b.export(repository, digest, func(h *tar.Header, r io.Reader) {
		if h.Name == name {
			data, _ := io.ReadAll(r)
			text = string(data)
		}
	})
	return text
}

func makeFolder(path string) error { return os.MkdirAll(path+"/files/deep", 0o700) }
