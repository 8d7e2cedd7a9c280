// Package disk keeps objects as files below one directory.
//
// A file appears under its name only when it is whole and synced (temporary name, fsync, rename, fsync of the
// directory). Everything goes through os.Root, so no key leaves the directory. It knows nothing of tenants.
package disk

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"syscall"
	"time"

	"pandu/modules/kit/fault"
)

// Object is one listed object.
type Object struct {
	Key        string
	Size       int64
	ModifiedAt time.Time
}

// Disk is a store on a local or shared file system.
type Disk struct {
	dir  string
	root *os.Root
}

// New opens the existing directory dir.
func New(dir string) (*Disk, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open storage directory: %w", err)
	}
	return &Disk{dir: dir, root: root}, nil
}

// temporary begins the names of files that are being written; keys cannot begin so.
const temporary = ".writing-"

var part = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}$`)

func judge(key string) error {
	parts := strings.Split(key, "/")
	for _, p := range parts {
		if !part.MatchString(p) || len(parts) > 8 {
			return fmt.Errorf("object key %q is malformed", key)
		}
	}
	return nil
}

// Put streams r into an object.
func (d *Disk) Put(ctx context.Context, key string, r io.Reader) (int64, string, error) {
	if err := judge(key); err != nil {
		return 0, "", err
	}
	name, f, err := d.create(path.Dir(key))
	if err != nil {
		return 0, "", err
	}
	size, sum, err := Copy(ctx, f, r)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = d.place(name, key)
	}
	if err != nil {
		_ = d.root.Remove(name) // what is left is swept later
		return 0, "", fmt.Errorf("put object: %w", Full(err))
	}
	return size, sum, nil
}

// create makes the object's directory and a temporary file in it.
func (d *Disk) create(dir string) (string, *os.File, error) {
	if err := d.root.MkdirAll(dir, 0o700); err != nil {
		return "", nil, fmt.Errorf("make object directory: %w", Full(err))
	}
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails
	name := path.Join(dir, temporary+hex.EncodeToString(b))
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", nil, fmt.Errorf("create object: %w", Full(err))
	}
	return name, f, nil
}

// place gives a synced file its name and syncs the directories that lead to it.
func (d *Disk) place(name, key string) error {
	if err := d.root.Rename(name, key); err != nil {
		return err
	}
	return d.syncDirs(path.Dir(key))
}

// syncDirs syncs a directory and those above it: each may have been made just now.
func (d *Disk) syncDirs(dir string) error {
	for {
		f, err := d.root.Open(dir)
		if err != nil {
			return err
		}
		err = f.Sync()
		_ = f.Close() // opened for reading only
		if err != nil || dir == "." {
			return err
		}
		dir = path.Dir(dir)
	}
}

// Adopt moves a local, synced file here; it copies when the file lies on another file system.
func (d *Disk) Adopt(ctx context.Context, key, from string) error {
	if err := judge(key); err != nil {
		return err
	}
	if err := d.root.MkdirAll(path.Dir(key), 0o700); err != nil {
		return fmt.Errorf("make object directory: %w", Full(err))
	}
	err := os.Rename(from, d.dir+"/"+key)
	if errors.Is(err, syscall.EXDEV) {
		return d.copyFrom(ctx, key, from)
	}
	if err == nil {
		err = d.syncDirs(path.Dir(key))
	}
	if err != nil {
		return fmt.Errorf("adopt object: %w", Full(err))
	}
	return nil
}

func (d *Disk) copyFrom(ctx context.Context, key, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("adopt object: %w", err)
	}
	defer func() { _ = f.Close() }() // read only
	if _, _, err := d.Put(ctx, key, f); err != nil {
		return err
	}
	return os.Remove(from)
}

// Get opens an object.
func (d *Disk) Get(_ context.Context, key string) (io.ReadSeekCloser, int64, error) {
	if err := judge(key); err != nil {
		return nil, 0, err
	}
	f, err := d.root.Open(key)
	if err != nil {
		return nil, 0, fmt.Errorf("get object: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		_ = f.Close() // read only
		return nil, 0, fmt.Errorf("get object: %w", err)
	}
	return f, info.Size(), nil
}

// Delete removes an object and the directories that are empty then.
func (d *Disk) Delete(_ context.Context, key string) error {
	if err := judge(key); err != nil {
		return err
	}
	if err := d.root.Remove(key); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete object: %w", err)
	}
	for dir := path.Dir(key); dir != "." && strings.Contains(dir, "/"); dir = path.Dir(dir) {
		if d.root.Remove(dir) != nil {
			break // not empty
		}
	}
	return nil
}

// List walks the objects below prefix, a directory or "".
func (d *Disk) List(ctx context.Context, prefix string, fn func(Object) error) error {
	start := strings.Trim(prefix, "/")
	if start == "" {
		start = "."
	} else if err := judge(start); err != nil {
		return err
	}
	return fs.WalkDir(d.root.FS(), start, func(name string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // deleted meanwhile, or nothing stored yet
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case e.IsDir() || strings.HasPrefix(path.Base(name), temporary):
			return nil
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return fn(Object{Key: name, Size: info.Size(), ModifiedAt: info.ModTime()})
	})
}

// Sweep removes temporary files that nobody has written to for the given time: those of killed processes.
func (d *Disk) Sweep(ctx context.Context, quiet time.Duration, now time.Time) error {
	return fs.WalkDir(d.root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasPrefix(path.Base(name), temporary) {
			return ctx.Err()
		}
		info, err := e.Info()
		if err == nil && now.Sub(info.ModTime()) > quiet {
			return d.root.Remove(name)
		}
		return ctx.Err()
	})
}

// Full turns "no space left" into a fault that says what to do; other errors it leaves alone.
func Full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fault.New(fault.Unavailable, "disk_full", "The disk of the panel is full. Ask an operator to free space; nothing was stored.").
			After(time.Minute).Because(err)
	}
	return err
}
