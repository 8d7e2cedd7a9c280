package archive

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"

	"pandu/modules/kit/fault"
)

// judgeLocals compares every entry with the header in front of its content, and refuses contents that overlap.
func (a *Archive) judgeLocals(ctx context.Context, end zipEnd) error {
	for i := range a.zip {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := a.judgeLocal(&a.zip[i], end); err != nil {
			return err
		}
	}
	order := make([]int, len(a.zip))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return int(a.zip[i].offset - a.zip[j].offset) })
	for n := 1; n < len(order); n++ {
		before, e := a.zip[order[n-1]], a.zip[order[n]]
		if e.offset < before.data+before.packed {
			return refuseOverlap(before.name, e.name)
		}
	}
	return nil
}

func refuseOverlap(first, second string) error {
	return fault.Newf(fault.Invalid, "archive_overlap", "The contents of %s and %s overlap in the zip file, as only a trap does. Pack the project again.", show(first), show(second)).
		With("path", show(second)).With("other", show(first))
}

func (a *Archive) judgeLocal(e *zipEntry, end zipEnd) error {
	le := binary.LittleEndian
	head := make([]byte, localSize)
	if e.offset > end.offset-localSize {
		return refuseHeaders(e.name)
	}
	if _, err := a.file.ReadAt(head, e.offset); err != nil {
		return corrupt(e.name, err)
	}
	nameLen, extraLen := int(le.Uint16(head[26:])), int(le.Uint16(head[28:]))
	e.data = e.offset + localSize + int64(nameLen) + int64(extraLen)
	if !bytes.HasPrefix(head, []byte("PK\x03\x04")) || nameLen != len(e.raw) || e.packed > end.offset-e.data {
		return refuseHeaders(e.name)
	}
	rest := make([]byte, nameLen+extraLen)
	if _, err := a.file.ReadAt(rest, e.offset+localSize); err != nil {
		return corrupt(e.name, err)
	}
	l := zipEntry{
		flags: le.Uint16(head[6:]), method: le.Uint16(head[8:]), crc: le.Uint32(head[14:]),
		packed: int64(le.Uint32(head[18:])), unpacked: int64(le.Uint32(head[22:])), raw: string(rest[:nameLen]),
	}
	if err := l.extra(rest[nameLen:]); err != nil {
		return refuseHeaders(e.name)
	}
	return e.judgeTwin(l)
}

// judgeTwin compares an entry with its local header. Numbers that follow the data are zero in the local header.
func (e *zipEntry) judgeTwin(l zipEntry) error {
	if (e.flags|l.flags)&flagEncrypted != 0 {
		return refuse("archive_encrypted", e.name, "The entry %s is encrypted. Pack the project without a password.")
	}
	same := e.raw == l.raw && e.method == l.method
	later := l.flags&flagLater != 0
	for _, pair := range [][2]int64{{e.packed, l.packed}, {e.unpacked, l.unpacked}, {int64(e.crc), int64(l.crc)}} {
		same = same && (pair[0] == pair[1] || (later && (pair[1] == 0 || pair[1] == 1<<32-1)))
	}
	if l.name != "" && l.name != e.name {
		same = false
	}
	if !same {
		return refuseHeaders(e.name)
	}
	return nil
}
