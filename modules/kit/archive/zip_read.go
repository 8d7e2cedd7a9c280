package archive

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"strings"

	"github.com/klauspost/compress/flate"
)

// The file types and bits of a Unix mode, as zip stores them.
const (
	unixType    = 0o170000
	unixSymlink = 0o120000
	unixFolder  = 0o040000
	unixRegular = 0o100000
	unixSetID   = 0o6000
)

// zipRecord says what an entry is. The target of a link is its content.
func (a *Archive) zipRecord(ctx context.Context, e zipEntry) (record, error) {
	r := record{path: e.name, size: e.unpacked, executable: e.mode&0o111 != 0}
	folder := strings.HasSuffix(e.name, "/") || strings.HasSuffix(e.name, `\`)
	switch kind := e.mode & unixType; {
	case kind == unixFolder, kind == 0 && (folder || e.folder):
		r.kind, r.executable, r.size = Directory, false, 0
		if e.unpacked != 0 {
			return r, refuseSize(e.name)
		}
		return r, nil
	case kind == unixSymlink:
		return a.zipLink(ctx, r, e)
	case kind != unixRegular && kind != 0:
		return r, refuseSpecial(e.name)
	}
	if e.mode&unixSetID != 0 {
		return r, refuseSetuid(e.name)
	}
	if e.method != methodStore && e.method != methodDeflate {
		return r, refuse("archive_method", e.name, "The entry %s is compressed in a way that is not supported. Pack again with the method \"deflate\", or as tar.gz.")
	}
	if e.method == methodStore && e.packed != e.unpacked {
		return r, refuseSize(e.name)
	}
	return r, nil
}

func (a *Archive) zipLink(ctx context.Context, r record, e zipEntry) (record, error) {
	r.kind, r.executable, r.size = Symlink, false, 0
	if e.unpacked > int64(a.limits.Path) {
		return r, refuseLength(e.name, a.limits.Path)
	}
	var b strings.Builder
	if _, err := io.Copy(&b, a.content(ctx, e, &meter{limits: a.limits, packed: a.size}, nil)); err != nil {
		return r, corrupt(e.name, err)
	}
	r.target = b.String()
	return r, judgeTarget(e.name, r.target)
}

func judgeTarget(path, target string) error {
	if target == "" {
		return refuseLinkOutside(path, target)
	}
	return judgeCharacters(target)
}

func (a *Archive) walkZip(ctx context.Context, f func(Entry, io.Reader) error) error {
	m := &meter{limits: a.limits, packed: a.size}
	inflater := flate.NewReader(strings.NewReader(""))
	for _, r := range a.index.records {
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.kind != File {
			if err := f(r.entry(), strings.NewReader("")); err != nil {
				return err
			}
			continue
		}
		body := a.content(ctx, a.zip[r.ordinal], m, inflater)
		if err := visit(r, body, f); err != nil {
			return err
		}
	}
	return nil
}

// visit calls f and reads what f left.
func visit(r record, body io.Reader, f func(Entry, io.Reader) error) error {
	judged := &remembering{r: body}
	err := f(r.entry(), judged)
	if judged.err != nil && !errors.Is(judged.err, io.EOF) {
		return corrupt(r.path, judged.err) // whatever f made of it
	}
	if err != nil {
		return err
	}
	if judged.err != nil {
		return nil // read to the end
	}
	if _, err := io.Copy(io.Discard, body); err != nil {
		return corrupt(r.path, err)
	}
	return nil
}

// remembering keeps the error of its reader, so that a visitor cannot swallow it.
type remembering struct {
	r   io.Reader
	err error
}

func (m *remembering) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if err != nil {
		m.err = err
	}
	return n, err
}

// content unpacks an entry, counting its real bytes against the entry and the limits. inflater, when there is one, is
// used again: making one costs more than a small file.
func (a *Archive) content(ctx context.Context, e zipEntry, m *meter, inflater io.Reader) io.Reader {
	var r io.Reader = io.NewSectionReader(a.file, e.data, e.packed)
	if e.method == methodDeflate {
		if reused, ok := inflater.(flate.Resetter); ok && reused.Reset(r, nil) == nil {
			r = inflater
		} else {
			r = flate.NewReader(r)
		}
	}
	return &zipContent{ctx: ctx, r: r, entry: e, meter: m}
}

type zipContent struct {
	ctx   context.Context
	r     io.Reader
	entry zipEntry
	meter *meter
	read  int64
	crc   uint32
}

func (c *zipContent) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	c.read += int64(n)
	c.crc = crc32.Update(c.crc, crc32.IEEETable, p[:n])
	if c.read > c.entry.unpacked {
		return 0, refuseSize(c.entry.name)
	}
	if limit := c.meter.count(c.entry.name, int64(n)); limit != nil {
		return 0, limit
	}
	switch {
	case err == nil:
		return n, nil
	case !errors.Is(err, io.EOF):
		return n, corrupt(c.entry.name, unexpected(err))
	case c.read != c.entry.unpacked:
		return n, refuseSize(c.entry.name)
	case c.crc != c.entry.crc:
		return n, corrupt(c.entry.name, errors.New("checksum differs"))
	}
	return n, io.EOF
}

func (a *Archive) readZipFile(ctx context.Context, r record, limit int64) ([]byte, error) {
	return limited(a.content(ctx, a.zip[r.ordinal], &meter{limits: a.limits, packed: a.size}, nil), r.path, limit)
}

// ratioFloor is the unpacked size below which any ratio is harmless.
const ratioFloor = 16 << 20

// meter counts what has been unpacked.
type meter struct {
	limits Limits
	packed int64
	total  int64
}

func (m *meter) count(path string, n int64) error {
	m.total += n
	if m.total > m.limits.Unpacked {
		return refuseUnpacked(path, m.limits.Unpacked)
	}
	if m.total > ratioFloor && m.total/m.limits.Ratio > m.packed {
		return refuseRatio(path, m.limits.Ratio)
	}
	return nil
}
