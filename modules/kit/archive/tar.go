package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"

	"pandu/modules/kit/fault"
)

const (
	tarBlock = 512
	// overhead is what the headers of a tar may take beside the files.
	overhead = 64 << 20
)

// recognise tells the format by the first bytes of a file.
func recognise(head []byte) (Format, error) {
	switch {
	case len(head) == 0:
		return "", refuseEmpty()
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return Zip, nil
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		return TarGz, nil
	case tarHeader(head):
		return Tar, nil
	}
	for magic, name := range map[string]string{
		"Rar!": "rar", "7z\xbc\xaf": "7z", "\xfd7zXZ": "xz", "BZh": "bzip2", "\x28\xb5\x2f\xfd": "zstd", "PK\x07\x08": "multi-volume zip", "MZ": "self-extracting",
	} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return "", fault.Newf(fault.Invalid, "archive_format", "This is a %s archive. Pack the project as zip or tar.gz.", name).With("found", name)
		}
	}
	return "", fault.New(fault.Invalid, "archive_format", "The file is neither a zip nor a tar.gz archive. Pack the project's folder as one of them.")
}

// tarHeader reports whether the block has the checksum of a tar header. A block of zeros is the end of an empty tar.
func tarHeader(b []byte) bool {
	if len(b) < tarBlock {
		return false
	}
	if b[0] == 0 {
		return len(bytes.Trim(b, "\x00")) == 0
	}
	sum := 0
	for i, c := range b[:tarBlock] {
		if i >= 148 && i < 156 {
			c = ' '
		}
		sum += int(c)
	}
	want, err := strconv.ParseInt(strings.Trim(string(b[148:156]), " \x00"), 8, 64)
	return err == nil && int64(sum) == want
}

// stream gives the tar inside the file from its beginning.
func (a *Archive) stream(ctx context.Context) (io.Reader, error) {
	r := io.Reader(&interruptible{ctx, io.NewSectionReader(a.file, 0, a.size)})
	if a.format == TarGz {
		z, err := gzip.NewReader(bufio.NewReaderSize(r, 64<<10))
		if err != nil {
			return nil, corrupt("", err)
		}
		r = z
	}
	limits := a.limits
	limits.Unpacked += overhead
	return &metered{r: r, meter: &meter{limits: limits, packed: a.size}, limit: a.limits.Unpacked}, nil
}

type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}

// metered counts the unpacked stream, headers included.
type metered struct {
	r     io.Reader
	meter *meter
	path  string // the entry being read, for the refusal
	limit int64
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if limit := m.meter.count(m.path, int64(n)); limit != nil {
		if fault.From(limit).Code == "archive_unpacked_size" {
			limit = refuseUnpacked(m.path, m.limit)
		}
		return 0, limit
	}
	return n, err
}

func (a *Archive) scanTar(ctx context.Context, x *index) error {
	m := &meter{limits: a.limits, packed: a.size}
	return a.headers(ctx, func(h *tar.Header, body io.Reader) error {
		r, err := tarRecord(h, a.limits)
		if err != nil {
			return err
		}
		if err := x.add(r); err != nil {
			return err
		}
		if r.kind != File {
			return nil
		}
		n, err := io.Copy(io.Discard, &counted{body, m, r.path})
		x.bytes = m.total
		if err == nil && n != h.Size {
			err = refuseSize(r.path)
		}
		return corrupt(r.path, err)
	})
}

// counted counts what a file unpacks to: a sparse one has more bytes than the stream.
type counted struct {
	r    io.Reader
	m    *meter
	path string
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if limit := c.m.count(c.path, int64(n)); limit != nil {
		return 0, limit
	}
	return n, err
}

// headers calls f for each header of the tar and then reads to the very end, where only zeros may be.
func (a *Archive) headers(ctx context.Context, f func(*tar.Header, io.Reader) error) error {
	stream, err := a.stream(ctx)
	if err != nil {
		return err
	}
	t := tar.NewReader(stream)
	for n := 0; ; n++ {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF):
			return trailing(stream)
		case n == 0 && errors.Is(err, tar.ErrHeader):
			return fault.New(fault.Invalid, "archive_format", "The file is compressed, but holds no tar archive. Pack the project's folder as zip or tar.gz.")
		case err != nil:
			return corrupt("", err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue // git archive writes one
		}
		stream.(*metered).path = h.Name
		if err := f(h, t); err != nil {
			return err
		}
	}
}

func trailing(r io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if len(bytes.TrimLeft(buf[:n], "\x00")) > 0 {
			return fault.New(fault.Invalid, "archive_trailing_data", "The archive has data after its end. Pack the project again, as one archive.")
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return corrupt("", err)
		}
	}
}

// tarRecord says what a header is.
func tarRecord(h *tar.Header, limits Limits) (record, error) {
	r := record{path: h.Name, size: h.Size, executable: h.Mode&0o111 != 0}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeRegA, tar.TypeGNUSparse, tar.TypeCont: //nolint:staticcheck // TypeRegA is what old tools write
		if h.Mode&unixSetID != 0 {
			return r, refuseSetuid(h.Name)
		}
		if h.Size < 0 {
			return r, refuseSize(h.Name)
		}
		return r, nil
	case tar.TypeDir:
		r.kind, r.executable, r.size = Directory, false, 0
		return r, nil
	case tar.TypeSymlink:
		r.kind, r.executable, r.size, r.target = Symlink, false, 0, h.Linkname
		if len(r.target) > limits.Path {
			return r, refuseLength(h.Name, limits.Path)
		}
		return r, judgeTarget(h.Name, r.target)
	case tar.TypeLink:
		target, _, err := clean(h.Linkname, limits)
		r.kind, r.executable, r.size, r.target = Hardlink, false, 0, target
		if err != nil {
			return r, refuseLinkOutside(h.Name, h.Linkname)
		}
		return r, nil
	}
	return r, refuseSpecial(h.Name)
}

func (a *Archive) walkTar(ctx context.Context, f func(Entry, io.Reader) error) error {
	ordinal, next := -1, 0
	m := &meter{limits: a.limits, packed: a.size}
	return a.headers(ctx, func(_ *tar.Header, body io.Reader) error {
		ordinal++
		if next == len(a.index.records) || a.index.records[next].ordinal != ordinal {
			return nil
		}
		r := a.index.records[next]
		next++
		if r.kind != File {
			return f(r.entry(), strings.NewReader(""))
		}
		return visit(r, &counted{body, m, r.path}, f)
	})
}

// errFound ends a walk early.
var errFound = errors.New("found")

func (a *Archive) readTarFile(ctx context.Context, want record, limit int64) ([]byte, error) {
	var data []byte
	ordinal := -1
	err := a.headers(ctx, func(_ *tar.Header, body io.Reader) error {
		if ordinal++; ordinal != want.ordinal {
			return nil
		}
		var err error
		if data, err = limited(body, want.path, limit); err != nil {
			return corrupt(want.path, err)
		}
		return errFound
	})
	if err != nil && !errors.Is(err, errFound) {
		return nil, err
	}
	return data, nil
}
