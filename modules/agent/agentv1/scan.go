package agentv1

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

const (
	setsField  = 3        // the number of RouteTable.sets
	maxSet     = 16 << 20 // bytes of one set
	maxOther   = 1 << 20  // bytes of everything else together
	sealSize   = 2 + sha256.Size
	scanBuffer = 64 << 10
)

// ScanRouteTable is ReadRouteTable of the file at path for a reader that does not want the whole table in memory: it
// calls each with every encoded RouteSet, which is valid during the call only, and returns the table without sets.
// Whether the file is whole is known at its end: after an error, what each was told means nothing. An error of each
// ends the scan and is returned as it is.
func ScanRouteTable(path string, each func(set []byte) error) (*RouteTable, error) {
	f, err := os.Open(path) //nolint:gosec // the directory is a setting of the operator, the names are constants
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	if info.Size() < sealSize || info.Size() > maxFile {
		return nil, fmt.Errorf("read %s: %d bytes: %w", filepath.Base(path), info.Size(), ErrCorrupt)
	}
	hash := sha256.New()
	s := scanner{in: bufio.NewReaderSize(io.TeeReader(io.LimitReader(f, info.Size()-sealSize), hash), scanBuffer), each: each}
	if err := s.scan(); err != nil {
		return nil, err
	}
	seal := make([]byte, sealSize)
	want := protowire.AppendBytes(protowire.AppendTag(nil, hashField, protowire.BytesType), hash.Sum(nil))
	if _, err := io.ReadFull(f, seal); err != nil || !bytes.Equal(seal, want) {
		return nil, fmt.Errorf("read %s: hash does not match: %w", filepath.Base(path), errors.Join(ErrCorrupt, err))
	}
	table := &RouteTable{}
	if err := proto.Unmarshal(s.rest, table); err != nil {
		return nil, fmt.Errorf("decode %s: %w", filepath.Base(path), errors.Join(ErrCorrupt, err))
	}
	return table, nil
}

type scanner struct {
	in   *bufio.Reader
	each func([]byte) error
	set  []byte // reused
	rest []byte // the other fields, encoded
}

func (s *scanner) scan() error {
	for {
		tag, err := binary.ReadUvarint(s.in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil || tag > math.MaxUint32 {
			return broken(err)
		}
		if protowire.Number(tag>>3) == setsField && protowire.Type(tag&7) == protowire.BytesType { //nolint:gosec // just judged
			err = s.readSet()
		} else {
			err = s.readOther(tag)
		}
		if err != nil {
			return err
		}
	}
}

func (s *scanner) readSet() error {
	n, err := binary.ReadUvarint(s.in)
	if err != nil || n > maxSet {
		return broken(err)
	}
	if uint64(cap(s.set)) < n {
		s.set = make([]byte, n)
	}
	s.set = s.set[:n]
	if _, err := io.ReadFull(s.in, s.set); err != nil {
		return broken(err)
	}
	return s.each(s.set)
}

// readOther copies one field to rest.
func (s *scanner) readOther(tag uint64) error {
	s.rest = binary.AppendUvarint(s.rest, tag)
	length := uint64(0)
	var err error
	switch protowire.Type(tag & 7) { //nolint:gosec // three bits
	case protowire.VarintType:
		var value uint64
		value, err = binary.ReadUvarint(s.in)
		s.rest = binary.AppendUvarint(s.rest, value)
	case protowire.BytesType:
		length, err = binary.ReadUvarint(s.in)
		s.rest = binary.AppendUvarint(s.rest, length)
	case protowire.Fixed32Type:
		length = 4
	case protowire.Fixed64Type:
		length = 8
	default:
		err = ErrCorrupt
	}
	if err != nil || length+uint64(len(s.rest)) > maxOther {
		return broken(err)
	}
	at := len(s.rest)
	s.rest = append(s.rest, make([]byte, length)...)
	if _, err := io.ReadFull(s.in, s.rest[at:]); err != nil {
		return broken(err)
	}
	return nil
}

func broken(err error) error {
	return fmt.Errorf("decode route table: %w", errors.Join(ErrCorrupt, err))
}
