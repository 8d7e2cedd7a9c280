package logs

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	"pandu/modules/agent/agentv1"
)

// maxText is the longest text of one line in bytes; what is longer becomes several lines.
const maxText = 16 << 10

// A record is a header of fixed size and the text:
//
//	1 byte  source (agentv1.LogLine_Source), with the bit more when it goes on the line before it
//	4 bytes hash of the container's id, 0 for our own notes and for builds
//	8 bytes time in Unix nanoseconds
//	4 bytes length of the text
const (
	headerSize = 17
	more       = 0x80
)

type record struct {
	source    agentv1.LogLine_Source
	more      bool // the rest of the line before it
	container uint32
	at        time.Time
	text      string
}

func (r record) size() int64 { return headerSize + int64(len(r.text)) }

func (r record) append(b []byte) []byte {
	first := byte(r.source)
	if r.more {
		first |= more
	}
	b = append(b, first)
	b = binary.BigEndian.AppendUint32(b, r.container)
	b = binary.BigEndian.AppendUint64(b, uint64(r.at.UnixNano()))
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.text)))
	return append(b, r.text...)
}

func (r record) line(position int64) *agentv1.LogLine {
	return &agentv1.LogLine{Position: uint64(position), At: timestamppb.New(r.at), Source: r.source, Text: r.text}
}

var errTorn = errors.New("log record is torn")

// readRecord reads the next record. io.EOF at a clean end; errTorn for half a record or for bytes that are none.
func readRecord(from *bufio.Reader) (record, error) {
	var h [headerSize]byte
	if _, err := io.ReadFull(from, h[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return record{}, errTorn
		}
		return record{}, err
	}
	r := record{
		source:    agentv1.LogLine_Source(h[0] &^ more),
		more:      h[0]&more != 0,
		container: binary.BigEndian.Uint32(h[1:]),
		at:        time.Unix(0, int64(binary.BigEndian.Uint64(h[5:]))).UTC(),
	}
	length := binary.BigEndian.Uint32(h[13:])
	if r.source < agentv1.LogLine_SOURCE_STDOUT || r.source > agentv1.LogLine_SOURCE_PANDU || length > maxText {
		return record{}, errTorn
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(from, text); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return record{}, errTorn
		}
		return record{}, err
	}
	r.text = string(text)
	return r, nil
}

// split makes the records of one line: valid UTF-8, no line end, at most maxText bytes each.
func split(source agentv1.LogLine_Source, container uint32, at time.Time, line string) []record {
	text := strings.ToValidUTF8(strings.TrimRight(line, "\r\n"), "\uFFFD")
	var out []record
	for {
		n := len(text)
		if n > maxText {
			for n = maxText; !utf8.RuneStart(text[n]); n-- {
			}
		}
		out = append(out, record{source, len(out) > 0, container, at, text[:n]})
		if text = text[n:]; text == "" {
			return out
		}
	}
}

func containerHash(id string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // never fails
	return max(h.Sum32(), 1)
}
