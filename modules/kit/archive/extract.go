package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
)

// Extract unpacks the archive into the existing, empty folder dir. Everything is written through os.Root, links come
// last, files are 0644 or 0755. After an error the folder holds a part of the archive and should be removed.
func (a *Archive) Extract(ctx context.Context, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open folder to extract to: %w", err)
	}
	defer func() { _ = root.Close() }()
	if err := a.Index(ctx); err != nil {
		return err
	}
	x := &extraction{root: root, made: map[string]bool{".": true}, buffer: make([]byte, 64<<10)}
	if err := a.Walk(ctx, x.place); err != nil {
		return err
	}
	for _, r := range a.index.records {
		if err := x.link(r); err != nil {
			return fmt.Errorf("extract link %q: %w", r.path, err)
		}
	}
	return nil
}

// extraction is one run of Extract.
type extraction struct {
	root   *os.Root
	made   map[string]bool // folders
	buffer []byte
}

func (x *extraction) place(e Entry, r io.Reader) error {
	var err error
	switch e.Kind {
	case Directory:
		err = x.folder(e.Path)
	case File:
		if err = x.folder(path.Dir(e.Path)); err == nil {
			err = x.write(e, r)
		}
	}
	if err != nil {
		return fmt.Errorf("extract %q: %w", e.Path, err)
	}
	return nil
}

func (x *extraction) folder(name string) error {
	if x.made[name] {
		return nil
	}
	x.made[name] = true
	return x.root.MkdirAll(name, 0o755)
}

func (x *extraction) write(e Entry, r io.Reader) error {
	mode := fs.FileMode(0o644)
	if e.Executable {
		mode = 0o755
	}
	f, err := x.root.OpenFile(e.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, r, x.buffer)
	if err == nil {
		err = f.Chmod(mode) // whatever the umask
	}
	return errors.Join(err, f.Close())
}

func (x *extraction) link(r record) error {
	if r.kind != Symlink && r.kind != Hardlink {
		return nil
	}
	if err := x.folder(path.Dir(r.path)); err != nil {
		return err
	}
	if r.kind == Symlink {
		return x.root.Symlink(r.target, r.path)
	}
	return x.root.Link(r.target, r.path)
}
