package archive_test

import (
	"archive/tar"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pandu/modules/kit/archive"
)

// zipped is one entry of a zip that a test writes byte by byte, so that it can lie everywhere.
type zipped struct {
	name       string
	body       string
	mode       uint32 // Unix, 0: a file made on DOS
	stored     bool
	localName  string
	flags      uint16
	method     uint16 // 0: by stored
	extra      []byte
	localExtra []byte
	unpacked   func(uint32) uint32 // in both headers
	localSize  func(uint32) uint32 // in the local one only
	crc        uint32              // added to the true one
	offset     int64               // added to the true one
	later      bool                // sizes in a data descriptor
	sameData   bool                // no local header of its own: points at the previous entry's
}

func makeZip(entries ...zipped) []byte {
	var out, dir bytes.Buffer
	last := 0
	for _, e := range entries {
		at := out.Len()
		if e.sameData {
			at = last
		}
		last = at
		h := e.header()
		if !e.sameData {
			writeLocal(&out, e, h)
		}
		writeCentral(&dir, e, h, int64(at)+e.offset)
	}
	return append(append(out.Bytes(), dir.Bytes()...), end(len(entries), dir.Len(), out.Len())...)
}

type header struct {
	data                  []byte
	method, flags         uint16
	packed, unpacked, crc uint32
}

func (e zipped) header() header {
	h := header{data: []byte(e.body), method: 8, flags: e.flags, unpacked: uint32(len(e.body)), crc: crc32.ChecksumIEEE([]byte(e.body)) + e.crc}
	if e.stored || e.body == "" {
		h.method = 0
	} else {
		h.data = deflate(e.body)
	}
	h.packed = uint32(len(h.data))
	if e.method != 0 {
		h.method = e.method
	}
	if e.later {
		h.flags |= 8
	}
	if e.unpacked != nil {
		h.unpacked = e.unpacked(h.unpacked)
	}
	return h
}

func writeLocal(out *bytes.Buffer, e zipped, h header) {
	name := e.name
	if e.localName != "" {
		name = e.localName
	}
	unpacked, packed, crc := h.unpacked, h.packed, h.crc
	if e.localSize != nil {
		unpacked = e.localSize(unpacked)
	}
	if e.later {
		unpacked, packed, crc = 0, 0, 0
	}
	b := make([]byte, 30)
	copy(b, "PK\x03\x04")
	le := binary.LittleEndian
	le.PutUint16(b[6:], h.flags)
	le.PutUint16(b[8:], h.method)
	le.PutUint32(b[14:], crc)
	le.PutUint32(b[18:], packed)
	le.PutUint32(b[22:], unpacked)
	le.PutUint16(b[26:], uint16(len(name)))
	le.PutUint16(b[28:], uint16(len(e.localExtra)))
	out.Write(b)
	out.WriteString(name)
	out.Write(e.localExtra)
	out.Write(h.data)
	if e.later {
		d := make([]byte, 16)
		copy(d, "PK\x07\x08")
		le.PutUint32(d[4:], h.crc)
		le.PutUint32(d[8:], h.packed)
		le.PutUint32(d[12:], h.unpacked)
		out.Write(d)
	}
}

func writeCentral(dir *bytes.Buffer, e zipped, h header, at int64) {
	b := make([]byte, 46)
	copy(b, "PK\x01\x02")
	le := binary.LittleEndian
	if e.mode != 0 {
		b[5] = 3
		le.PutUint32(b[38:], e.mode<<16)
	}
	le.PutUint16(b[8:], h.flags)
	le.PutUint16(b[10:], h.method)
	le.PutUint32(b[16:], h.crc)
	le.PutUint32(b[20:], h.packed)
	le.PutUint32(b[24:], h.unpacked)
	le.PutUint16(b[28:], uint16(len(e.name)))
	le.PutUint16(b[30:], uint16(len(e.extra)))
	le.PutUint32(b[42:], uint32(at))
	dir.Write(b)
	dir.WriteString(e.name)
	dir.Write(e.extra)
}

func end(entries, size, offset int) []byte {
	b := make([]byte, 22)
	copy(b, "PK\x05\x06")
	le := binary.LittleEndian
	le.PutUint16(b[8:], uint16(entries))
	le.PutUint16(b[10:], uint16(entries))
	le.PutUint32(b[12:], uint32(size))
	le.PutUint32(b[16:], uint32(offset))
	return b
}

// makeZip64 is makeZip with a zip64 end record, whose numbers change may alter.
func makeZip64(change func(entries, size, offset *uint64), entries ...zipped) []byte {
	data := makeZip(entries...)
	data, last := data[:len(data)-22], bytes.Clone(data[len(data)-22:])
	le := binary.LittleEndian
	at := uint64(len(data))
	count, size, offset := uint64(le.Uint16(last[10:])), uint64(le.Uint32(last[12:])), uint64(le.Uint32(last[16:]))
	if change != nil {
		change(&count, &size, &offset)
	}
	end := make([]byte, 56)
	copy(end, "PK\x06\x06")
	le.PutUint64(end[4:], 44)
	for i, n := range []uint64{count, count, size, offset} {
		le.PutUint64(end[24+8*i:], n)
	}
	locator := make([]byte, 20)
	copy(locator, "PK\x06\x07")
	le.PutUint64(locator[8:], at)
	le.PutUint32(locator[16:], 1)
	copy(last[8:], "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
	return append(append(append(data, end...), locator...), last...)
}

func deflate(s string) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	_, _ = w.Write([]byte(s))
	_ = w.Close()
	return b.Bytes()
}

func file(name, body string) zipped { return zipped{name: name, body: body} }

func zipLink(name, target string) zipped {
	return zipped{name: name, body: target, mode: 0o120777, stored: true}
}

// tarred is one entry of a tar.
type tarred struct {
	tar.Header
	body string
}

func tarFile(name, body string) tarred {
	return tarred{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, body}
}

func tarOf(kind byte, name, target string) tarred {
	return tarred{tar.Header{Name: name, Typeflag: kind, Linkname: target, Mode: 0o755}, ""}
}

func makeTar(entries ...tarred) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.Size = int64(len(e.body))
		if err := w.WriteHeader(&e.Header); err != nil {
			panic(err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			panic(err)
		}
	}
	_ = w.Close()
	return b.Bytes()
}

func gz(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(data)
	_ = w.Close()
	return b.Bytes()
}

func makeTarGz(entries ...tarred) []byte { return gz(makeTar(entries...)) }

// open writes data to a file and opens it as an archive.
func open(t testing.TB, data []byte, limits archive.Limits) (*archive.Archive, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "upload")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := archive.OpenWithin(path, limits)
	if err == nil {
		t.Cleanup(func() { _ = a.Close() })
	}
	return a, err
}

func deep(n int) string { return strings.Repeat("a/", n) + "f" }
