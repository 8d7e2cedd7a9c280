package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// Pack writes the folder dir as a tar.gz to w: the same content gives the same bytes, whoever packs it and when. ignore
// is asked for every path (slash-separated, relative); an ignored folder is not entered. Sockets, pipes and devices are
// left out; what the server would refuse (links that leave, too much of anything) is refused here with the same faults.
func Pack(ctx context.Context, dir string, ignore func(path string, isDir bool) bool, w io.Writer) (Summary, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Summary{}, fmt.Errorf("open folder to pack: %w", err)
	}
	defer func() { _ = root.Close() }()
	z, err := gzip.NewWriterLevel(w, gzip.DefaultCompression)
	if err != nil {
		return Summary{}, fmt.Errorf("pack: %w", err)
	}
	p := &packer{ctx: ctx, root: root, tar: tar.NewWriter(z), index: newIndex(DefaultLimits())}
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return p.visit(path, d, ignore)
	})
	if err == nil {
		err = p.index.finish()
	}
	if err != nil {
		return Summary{}, fmt.Errorf("pack %s: %w", filepath.Base(dir), err)
	}
	if err := errors.Join(p.tar.Close(), z.Close()); err != nil {
		return Summary{}, fmt.Errorf("pack: %w", err)
	}
	return Summary{Format: TarGz, Entries: len(p.index.records), Bytes: p.bytes, StrippedFolder: p.index.stripped}, nil
}

type packer struct {
	ctx   context.Context
	root  *os.Root
	tar   *tar.Writer
	index *index
	bytes int64
}

func (p *packer) visit(path string, d fs.DirEntry, ignore func(string, bool) bool) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	if path == "." {
		return nil
	}
	if litter(path) || ignore(path, d.IsDir()) {
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	}
	h, r, err := p.describe(path, d)
	if err != nil || h == nil {
		return err
	}
	if strings.Contains(path, `\`) { // would be a folder on the other side
		return refuse("archive_path_characters", path, "The path %s has a backslash. Rename the file.")
	}
	if err := p.index.add(r); err != nil {
		return err
	}
	if r.kind == File {
		return p.file(h)
	}
	return p.tar.WriteHeader(h)
}

// describe makes the header; none for what is no file, folder or link. Times and owners are left out: they would make
// equal content differ.
func (p *packer) describe(path string, d fs.DirEntry) (*tar.Header, record, error) {
	info, err := d.Info()
	if err != nil {
		return nil, record{}, err
	}
	h := &tar.Header{Name: path, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	r := record{path: path}
	switch {
	case info.IsDir():
		h.Typeflag, h.Name, h.Mode, r.kind = tar.TypeDir, path+"/", 0o755, Directory
	case info.Mode()&fs.ModeSymlink != 0:
		h.Typeflag, r.kind = tar.TypeSymlink, Symlink
		if h.Linkname, err = p.root.Readlink(path); err != nil {
			return nil, r, err
		}
		r.target = filepath.ToSlash(h.Linkname)
		err = judgeTarget(path, r.target)
	case info.Mode().IsRegular():
		h.Typeflag, h.Size = tar.TypeReg, info.Size()
		if r.executable = info.Mode()&0o111 != 0; r.executable {
			h.Mode = 0o755
		}
	default:
		return nil, r, nil
	}
	return h, r, err
}

func (p *packer) file(h *tar.Header) error {
	if p.bytes += h.Size; p.bytes > p.index.limits.Unpacked {
		return refuseUnpacked(h.Name, p.index.limits.Unpacked)
	}
	f, err := p.root.Open(h.Name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := p.tar.WriteHeader(h); err != nil {
		return err
	}
	if _, err := io.CopyN(p.tar, &interruptible{p.ctx, f}, h.Size); err != nil {
		return fmt.Errorf("%s changed while it was packed: %w", h.Name, err)
	}
	return nil
}
