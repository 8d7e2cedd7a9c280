// Package archive reads the archives that people upload: zip, tar.gz and tar, as they come from every desktop and tool.
//
// It streams, never holds a file in memory, and trusts nothing an archive says about itself: sizes are counted on real
// bytes, names are judged before they are used, and one bad entry refuses the whole archive with a *fault.Error that
// has a stable code, the offending path and a remedy. It never writes outside the directory it was given, never runs
// anything, and never opens archives inside archives.
//
// What it forgives: one folder around everything (stripped), the litter of desktops (.DS_Store, __MACOSX and the like,
// left out), backslashes, names in a few well recognisable legacy encodings, set-group-id on folders.
package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"pandu/modules/kit/fault"
)

// Format is what an archive was recognised as, by its content.
type Format string

// The formats.
const (
	Zip   Format = "zip"
	TarGz Format = "tar.gz"
	Tar   Format = "tar"
)

// Kind is what an entry is.
type Kind int

// The kinds of entry. Everything else refuses the archive.
const (
	File Kind = iota
	Directory
	Symlink
	Hardlink
)

// Entry is one thing in an archive, below the stripped folder.
type Entry struct {
	Path       string // slash-separated, relative, clean, UTF-8
	Kind       Kind
	Size       int64 // bytes of a File, as really read by Walk; declared before that
	Executable bool
	Target     string // of a Symlink as written (it stays inside), of a Hardlink the path of the other entry
}

// Limits bound what is accepted. Use DefaultLimits and lower them.
type Limits struct {
	Packed   int64 // bytes of the archive itself
	Unpacked int64 // bytes of all files together
	Entries  int   // files, folders and links, left-out ones too
	Ratio    int64 // unpacked to packed, judged above 16 MiB unpacked
	Depth    int   // folders in one path
	Path     int   // bytes of one path
}

// DefaultLimits are 200 MiB packed, 1 GiB unpacked, 20,000 entries, ratio 100, depth 32 and paths of 1 KiB.
func DefaultLimits() Limits {
	return Limits{Packed: 200 << 20, Unpacked: 1 << 30, Entries: 20000, Ratio: 100, Depth: 32, Path: 1 << 10}
}

// Summary is what a good archive holds.
type Summary struct {
	Format         Format
	Entries        int   // without what was left out
	Bytes          int64 // of all files, counted
	StrippedFolder string
}

// Archive is an open archive. It is not safe for concurrent use.
type Archive struct {
	file   *os.File
	size   int64
	format Format
	limits Limits
	index  *index // nil until Index
	zip    []zipEntry
}

// Open opens the archive at path with the default limits.
func Open(path string) (*Archive, error) { return OpenWithin(path, DefaultLimits()) }

// OpenWithin opens the archive at path and recognises its format. It refuses what is no archive (archive_format) and
// what is too big (archive_packed_size).
func OpenWithin(path string, limits Limits) (*Archive, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	a := &Archive{file: f, limits: limits}
	if err := a.recognise(); err != nil {
		_ = f.Close()
		return nil, err
	}
	return a, nil
}

// Close closes the file.
func (a *Archive) Close() error { return a.file.Close() }

// Format says what the archive is.
func (a *Archive) Format() Format { return a.format }

func (a *Archive) recognise() error {
	info, err := a.file.Stat()
	if err != nil {
		return fmt.Errorf("open archive: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("open archive: %s is not a regular file", a.file.Name())
	}
	a.size = info.Size()
	if a.size > a.limits.Packed {
		return refusePacked(a.limits.Packed)
	}
	head := make([]byte, tarBlock)
	n, err := a.file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read archive: %w", err)
	}
	a.format, err = recognise(head[:n])
	return err
}

// Index reads the names and links and judges them, without unpacking more than it must (a tar has to be read whole).
// Check, Walk, Extract and ReadFile do it by themselves; Exists and List need it done.
func (a *Archive) Index(ctx context.Context) error {
	if a.index != nil {
		return nil
	}
	x := newIndex(a.limits)
	scan := a.scanTar
	if a.format == Zip {
		scan = a.scanZip
	}
	if err := scan(ctx, x); err != nil {
		return err
	}
	if err := x.finish(); err != nil {
		return err
	}
	a.index = x
	return nil
}

// Check unpacks everything into nothing, counting real bytes, and says what the archive holds.
func (a *Archive) Check(ctx context.Context) (Summary, error) {
	if err := a.Index(ctx); err != nil {
		return Summary{}, err
	}
	s := Summary{Format: a.format, Entries: len(a.index.records), StrippedFolder: a.index.stripped, Bytes: a.index.bytes}
	if a.format != Zip {
		return s, nil // the scan has read it whole
	}
	s.Bytes = 0
	err := a.Walk(ctx, func(e Entry, r io.Reader) error {
		n, err := io.Copy(io.Discard, r)
		s.Bytes += n
		return err
	})
	return s, err
}

// Walk calls f for every entry, in the archive's order, with the content of files (empty for others). What f does not
// read is read for it, so that every byte is judged. An error of f ends the walk and is returned as it is. Content is
// judged while it streams: what f has seen counts only when Walk returns nil.
func (a *Archive) Walk(ctx context.Context, f func(Entry, io.Reader) error) error {
	if err := a.Index(ctx); err != nil {
		return err
	}
	if a.format == Zip {
		return a.walkZip(ctx, f)
	}
	return a.walkTar(ctx, f)
}

// Exists reports whether name (slash-separated, below the stripped folder) is in the archive, links followed.
func (a *Archive) Exists(name string) bool {
	_, ok := a.find(name)
	return ok
}

// List names what is directly in the folder name ("" or "." for the root), sorted, folders with a slash at the end.
func (a *Archive) List(name string) []string {
	if a.index == nil {
		return nil
	}
	return a.index.list(name)
}

// ReadFile reads the file name, links followed. It fails with archive_file_missing, or archive_file_size when the file
// has more than limit bytes.
func (a *Archive) ReadFile(ctx context.Context, name string, limit int64) ([]byte, error) {
	if err := a.Index(ctx); err != nil {
		return nil, err
	}
	r, ok := a.find(name)
	if !ok || r.kind == Directory {
		return nil, fault.Newf(fault.NotFound, "archive_file_missing", "The archive has no file %s.", show(name)).With("path", show(name))
	}
	if a.format == Zip {
		return a.readZipFile(ctx, r, limit)
	}
	return a.readTarFile(ctx, r, limit)
}

// find gives the file or folder that name means, with symbolic and hard links followed.
func (a *Archive) find(name string) (record, bool) {
	if a.index == nil {
		return record{}, false
	}
	return a.index.find(name)
}

// limited reads r to its end, refusing more than limit bytes.
func limited(r io.Reader, path string, limit int64) ([]byte, error) {
	var b strings.Builder
	n, err := io.Copy(&b, io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, fault.Newf(fault.TooLarge, "archive_file_size", "The file %s has more than %d bytes.", show(path), limit).With("path", show(path))
	}
	return []byte(b.String()), nil
}
