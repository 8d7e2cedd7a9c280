package builds

import (
	"archive/tar"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"pandu/modules/spec"
)

// Where things are in a static image, and the port its server listens on unless PORT says otherwise.
const (
	serverPath = "pandu"
	sitePath   = "site"
	staticPort = 8080
	staticUser = "65534:65534"
)

// baseLayer remembers the layer with the file server. It is the same, byte for byte, for all static sites of one version
// of the server program, so that registries and Engines hold it once.
type baseLayer struct {
	mu    sync.Mutex
	layer layer
	size  int64
	time  time.Time
}

// makeStatic makes an image of the pages and the file server and writes it to the registry. The Engine has no part in it:
// there is nothing to run, and an image made here does not depend on its version.
func (a *attempt) makeStatic(ctx context.Context) (built, error) {
	root, err := a.openSource(ctx)
	if err != nil {
		return built{}, err
	}
	defer root.Close()
	a.enter(phaseBuild)
	base, err := a.service.base.get(fileServer(a.service.deps.Self), a.service.deps.Dir)
	if err != nil {
		return built{}, err
	}
	site, files, err := siteLayer(root, filepath.Join(a.dir, "site.tar.gz"))
	if err != nil {
		return built{}, err
	}
	if files == 0 {
		return built{}, failed(codeSource, "There are no files in %s to serve.", a.folder())
	}
	a.journal.note("%d files, %d KiB packed.", files, site.size>>10)
	if err := context.Cause(ctx); err != nil {
		return built{}, err
	}
	a.enter(phasePush)
	digest, err := a.service.registry(a.GetRepository()).write(ctx, a.GetAttemptId(), staticImage(a.GetRepository(), base, site))
	if err != nil {
		return built{}, pushFailure(err)
	}
	config := spec.ImageConfig{Ports: []int{staticPort}, User: staticUser, Size: base.unpacked + site.unpacked, Platform: "linux/" + runtime.GOARCH}
	return built{digest: digest, config: config}, nil
}

// fileServer is the program that goes into static images: pandu-fileserver beside our own executable when it was
// installed with one (a tenth of the size), else our own executable. Both are started with the argument "fileserver".
func fileServer(self string) string {
	small := filepath.Join(filepath.Dir(self), "pandu-fileserver")
	if info, err := os.Stat(small); err == nil && info.Mode().IsRegular() && info.Mode()&0o100 != 0 {
		return small
	}
	return self
}

// get makes the layer once per version of the program. The file is kept in dir.
func (b *baseLayer) get(program, dir string) (layer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	info, err := os.Stat(program)
	if err != nil {
		return layer{}, failed(codeEngine, "The file server for static sites is missing on the build server.").because(err)
	}
	if b.layer.path != "" && info.Size() == b.size && info.ModTime().Equal(b.time) {
		return b.layer, nil
	}
	if err := standsAlone(program); err != nil {
		return layer{}, failed(codeEngine, "The file server for static sites needs libraries of the build server; Pandu must be built with CGO_ENABLED=0.").because(err)
	}
	made, err := makeLayer(filepath.Join(dir, "fileserver.tar.gz"), func(out *tar.Writer) error {
		return addProgram(out, program, info.Size())
	})
	if err != nil {
		return layer{}, diskFailure("pack the file server", err)
	}
	b.layer, b.size, b.time = made, info.Size(), info.ModTime()
	return made, nil
}

// standsAlone fails for a program that needs a dynamic loader, which an image from scratch does not have.
func standsAlone(program string) error {
	f, err := elf.Open(program)
	if err != nil {
		return fmt.Errorf("read program: %w", err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("the program is linked dynamically")
		}
	}
	return nil
}

func addProgram(out *tar.Writer, program string, size int64) error {
	f, err := os.Open(program)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := out.WriteHeader(&tar.Header{Name: serverPath, Mode: 0o755, Size: size, ModTime: fixedTime}); err != nil {
		return err
	}
	_, err = io.Copy(out, f)
	return err
}

// siteLayer packs the pages. What .dockerignore names and what begins with a dot is left out, but .well-known stays.
func siteLayer(root *os.Root, to string) (layer, int, error) {
	ignored, err := ignoring(root, "")
	if err != nil {
		return layer{}, 0, err
	}
	p := &packer{root: root, ignored: ignored, prefix: sitePath + "/", skip: hidden}
	made, err := makeLayer(to, func(out *tar.Writer) error {
		p.out = out
		if err := out.WriteHeader(&tar.Header{Name: sitePath + "/", Typeflag: tar.TypeDir, Mode: 0o755, ModTime: fixedTime}); err != nil {
			return err
		}
		return p.pack()
	})
	if err != nil {
		return layer{}, 0, diskFailure("pack the pages", err)
	}
	return made, p.files, nil
}

func hidden(name string) bool {
	base := path.Base(name)
	return strings.HasPrefix(base, ".") && base != ".well-known"
}
