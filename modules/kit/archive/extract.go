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
	if err := a.Walk(ctx, func(e Entry, r io.Reader) error { return place(root, e, r) }); err != nil {
		return err
	}
	for _, r := range a.index.records {
		if err := link(root, r); err != nil {
			return fmt.Errorf("extract link %q: %w", r.path, err)
		}
	}
	return nil
}

func place(root *os.Root, e Entry, r io.Reader) error {
	var err error
	switch e.Kind {
	case Directory:
		err = root.MkdirAll(e.Path, 0o755)
	case File:
		if err = parents(root, e.Path); err == nil {
			err = write(root, e, r)
		}
	}
	if err != nil {
		return fmt.Errorf("extract %q: %w", e.Path, err)
	}
	return nil
}

func parents(root *os.Root, name string) error {
	if dir := path.Dir(name); dir != "." {
		return root.MkdirAll(dir, 0o755)
	}
	return nil
}

func write(root *os.Root, e Entry, r io.Reader) error {
	mode := fs.FileMode(0o644)
	if e.Executable {
		mode = 0o755
	}
	f, err := root.OpenFile(e.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Chmod(mode) // whatever the umask
	}
	return errors.Join(err, f.Close())
}

func link(root *os.Root, r record) error {
	if r.kind != Symlink && r.kind != Hardlink {
		return nil
	}
	if err := parents(root, r.path); err != nil {
		return err
	}
	if r.kind == Symlink {
		return root.Symlink(r.target, r.path)
	}
	return root.Link(r.target, r.path)
}
