package archive

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"unicode/utf8"
)

// The zip directory is read here and not by archive/zip, which holds whatever number of entries a file claims, looks at
// local headers only for their length, and takes overlapping entries.

const (
	endSize       = 22
	end64Size     = 56
	locatorSize   = 20
	centralSize   = 46
	localSize     = 30
	mostDirectory = 16 << 20 // bytes of the central directory
	methodStore   = 0
	methodDeflate = 8
	flagEncrypted = 1 | 1<<6 | 1<<13
	flagLater     = 1 << 3 // sizes follow the data
	flagUTF8      = 1 << 11
	hostUnix      = 3
	hostDarwin    = 19
)

var errZip = errors.New("not a well-formed zip file")

// zipEntry is what reading one entry takes.
type zipEntry struct {
	offset, packed, unpacked int64
	data                     int64 // where the content begins
	crc                      uint32
	method, flags            uint16
	raw                      string // name as stored
	name                     string // name as decoded; empty: not yet
	mode                     uint32 // of Unix, 0: unknown
	folder                   bool   // by the DOS attribute
}

type zipEnd struct {
	entries, size, offset int64
	at                    int64 // where the directory must end
}

func (a *Archive) scanZip(ctx context.Context, x *index) error {
	end, err := a.zipEnd()
	if err != nil {
		return corrupt("", err)
	}
	if end.entries > int64(a.limits.Entries) {
		return refuseEntries("", a.limits.Entries)
	}
	if a.zip, err = a.zipDirectory(end); err != nil {
		return corrupt("", err)
	}
	if err := nameAll(a.zip); err != nil {
		return err
	}
	if err := a.judgeLocals(ctx, end); err != nil {
		return err
	}
	for _, e := range a.zip {
		r, err := a.zipRecord(ctx, e)
		if err != nil {
			return err
		}
		if e.unpacked > a.limits.Unpacked-x.bytes {
			return refuseUnpacked(e.name, a.limits.Unpacked)
		}
		x.bytes += e.unpacked
		if err := x.add(r); err != nil {
			return err
		}
	}
	return nil
}

// zipEnd finds the end record, which must be the very end of the file, comment included.
func (a *Archive) zipEnd() (zipEnd, error) {
	tail := min(a.size, endSize+1<<16-1)
	buf := make([]byte, tail)
	if _, err := a.file.ReadAt(buf, a.size-tail); err != nil {
		return zipEnd{}, err
	}
	for i := len(buf) - endSize; i >= 0; i-- {
		b := buf[i:]
		if !bytes.HasPrefix(b, []byte("PK\x05\x06")) || endSize+int(binary.LittleEndian.Uint16(b[20:])) != len(b) {
			continue
		}
		le := binary.LittleEndian
		if le.Uint16(b[4:]) != 0 || le.Uint16(b[6:]) != 0 || le.Uint16(b[8:]) != le.Uint16(b[10:]) {
			return zipEnd{}, errZip // in several volumes
		}
		end := zipEnd{int64(le.Uint16(b[10:])), int64(le.Uint32(b[12:])), int64(le.Uint32(b[16:])), a.size - tail + int64(i)}
		return a.zipEnd64(end)
	}
	return zipEnd{}, errZip
}

// zipEnd64 replaces the numbers by those of the zip64 end record when there is one, and judges them.
func (a *Archive) zipEnd64(end zipEnd) (zipEnd, error) {
	le := binary.LittleEndian
	locator := make([]byte, locatorSize)
	if end.at >= locatorSize {
		if _, err := a.file.ReadAt(locator, end.at-locatorSize); err != nil {
			return zipEnd{}, err
		}
	}
	if bytes.HasPrefix(locator, []byte("PK\x06\x07")) {
		at := int64(le.Uint64(locator[8:]))
		b := make([]byte, end64Size)
		if at < 0 || at > end.at-locatorSize-end64Size {
			return zipEnd{}, errZip
		}
		if _, err := a.file.ReadAt(b, at); err != nil {
			return zipEnd{}, err
		}
		if !bytes.HasPrefix(b, []byte("PK\x06\x06")) || le.Uint64(b[24:]) != le.Uint64(b[32:]) {
			return zipEnd{}, errZip
		}
		end = zipEnd{int64(le.Uint64(b[32:])), int64(le.Uint64(b[40:])), int64(le.Uint64(b[48:])), at}
	}
	if end.entries < 0 || end.size < 0 || end.offset < 0 || end.size > end.at || end.offset != end.at-end.size {
		return zipEnd{}, errZip
	}
	if end.size > mostDirectory {
		return zipEnd{}, refuseEntries("", a.limits.Entries)
	}
	return end, nil
}

func (a *Archive) zipDirectory(end zipEnd) ([]zipEntry, error) {
	r := io.NewSectionReader(a.file, end.offset, end.size)
	entries := make([]zipEntry, 0, end.entries)
	head := make([]byte, centralSize)
	for range end.entries {
		if _, err := io.ReadFull(r, head); err != nil {
			return nil, unexpected(err)
		}
		e, err := central(head, r)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	if at, err := r.Seek(0, io.SeekCurrent); err != nil || at != end.size {
		return nil, errors.Join(errZip, err)
	}
	return entries, nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// central reads one header of the central directory whose fixed part is head.
func central(head []byte, r io.Reader) (zipEntry, error) {
	le := binary.LittleEndian
	if !bytes.HasPrefix(head, []byte("PK\x01\x02")) {
		return zipEntry{}, errZip
	}
	e := zipEntry{
		flags: le.Uint16(head[8:]), method: le.Uint16(head[10:]), crc: le.Uint32(head[16:]),
		packed: int64(le.Uint32(head[20:])), unpacked: int64(le.Uint32(head[24:])), offset: int64(le.Uint32(head[42:])),
		folder: head[38]&0x10 != 0,
	}
	if host := head[5]; host == hostUnix || host == hostDarwin {
		e.mode = le.Uint32(head[38:]) >> 16
	}
	nameLen, extraLen, commentLen := int(le.Uint16(head[28:])), int(le.Uint16(head[30:])), int(le.Uint16(head[32:]))
	rest := make([]byte, nameLen+extraLen+commentLen)
	if _, err := io.ReadFull(r, rest); err != nil {
		return zipEntry{}, unexpected(err)
	}
	e.raw = string(rest[:nameLen])
	if err := e.extra(rest[nameLen : nameLen+extraLen]); err != nil {
		return zipEntry{}, err
	}
	return e, nil
}

// extra reads what matters among the extra fields: zip64 numbers and the name in Unicode.
func (e *zipEntry) extra(b []byte) error {
	le := binary.LittleEndian
	for len(b) >= 4 {
		id, n := le.Uint16(b), int(le.Uint16(b[2:]))
		if n > len(b)-4 {
			return nil // some tools pad with what is no field
		}
		field := b[4 : 4+n]
		b = b[4+n:]
		switch id {
		case 0x0001:
			if err := zip64(field, &e.unpacked, &e.packed, &e.offset); err != nil {
				return err
			}
		case 0x7075:
			if n > 5 && field[0] == 1 && le.Uint32(field[1:]) == crc32.ChecksumIEEE([]byte(e.raw)) && utf8.Valid(field[5:]) {
				e.name = string(field[5:])
			}
		}
	}
	return nil
}

// zip64 replaces, in order, each number that says "look here".
func zip64(field []byte, numbers ...*int64) error {
	for _, n := range numbers {
		if *n != 1<<32-1 {
			continue
		}
		if len(field) < 8 {
			return errZip
		}
		*n = int64(binary.LittleEndian.Uint64(field))
		field = field[8:]
		if *n < 0 {
			return errZip
		}
	}
	return nil
}

// nameAll decodes the names: as UTF-8 where the entry says so or where they are, else as the one encoding that all the
// other names of the archive are surely in.
func nameAll(entries []zipEntry) error {
	var unknown []string
	for i := range entries {
		e := &entries[i]
		switch {
		case e.name != "":
		case utf8.ValidString(e.raw):
			e.name = e.raw
		case e.flags&flagUTF8 != 0:
			return refuseEncoding(e.raw)
		default:
			unknown = append(unknown, e.raw)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	encoding := legacy(unknown)
	for i := range entries {
		e := &entries[i]
		if e.name != "" || e.raw == "" {
			continue
		}
		var err error
		if e.name, err = decode(encoding, e.raw); err != nil {
			return err
		}
	}
	return nil
}
