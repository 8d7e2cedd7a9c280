package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"pandu/modules/agent/agentv1"
)

// The kinds of record. A base comes first and is written again as a whole; the others are what was accepted since.
const (
	recordBase    = 'B' // Snapshot: every entry but the unknown ones; tombstones too
	recordUnknown = 'U' // Snapshot: the entries that the last snapshot lacked
	recordWhole   = 'S' // Snapshot, as it was accepted
	recordDelta   = 'D' // Delta, as it was accepted
)

const (
	headerSize = 9         // kind, length, CRC-32C of kind and payload
	maxRecord  = 512 << 20 // bytes
	minCompact = 256 << 10 // bytes added before a file is made again
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //nolint:gochecknoglobals // a constant

// log is the file of one stream.
type log struct {
	path   string
	stream agentv1.Stream
	file   *os.File
	base   int64 // bytes of the base
	size   int64 // bytes that are good
	torn   bool  // a write failed halfway: make the file again instead of adding to it
}

// openLog reads a stream's file, cuts off a torn end and leaves it open for adding.
func openLog(path string, stream agentv1.Stream, logger *slog.Logger) (*log, *State, error) {
	if err := os.Remove(path + ".new"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, err // what a crash left of a new file
	}
	l := &log{path: path, stream: stream}
	b, err := os.ReadFile(path) //nolint:gosec // the directory is a setting
	if errors.Is(err, os.ErrNotExist) {
		state := newState()
		return l, state, l.rewrite(state)
	}
	if err != nil {
		return nil, nil, err
	}
	state, good, base := replay(b)
	if good == 0 {
		logger.Error("ledger is damaged and was put aside", "path", path)
		state = newState()
		if err := os.Rename(path, path+".damaged"); err != nil {
			return nil, nil, err
		}
		return l, state, l.rewrite(state)
	}
	l.base, l.size = int64(base), int64(good)
	if good < len(b) {
		logger.Warn("ledger had an unfinished end that was cut off", "path", path, "bytes", len(b)-good)
		return l, state, l.rewrite(state)
	}
	l.file, err = os.OpenFile(path, os.O_WRONLY, 0o600) //nolint:gosec // as above
	return l, state, err
}

// replay reads records until the end or the first that is not whole. good is how many bytes were; 0: not even the base.
func replay(b []byte) (state *State, good, base int) {
	state = newState()
	for good < len(b) {
		kind, payload, n := next(b[good:])
		if n == 0 || (good == 0) != (kind == recordBase) {
			return state, good, base
		}
		changed, err := redo(state, kind, payload)
		if err != nil {
			return state, good, base
		}
		state = changed
		good += n
		if kind == recordBase || kind == recordUnknown {
			base = good
		}
	}
	return state, good, base
}

// next cuts one record off b; n is 0 when there is none that is whole.
func next(b []byte) (kind byte, payload []byte, n int) {
	if len(b) < headerSize {
		return 0, nil, 0
	}
	size := int(binary.BigEndian.Uint32(b[1:]))
	if size > maxRecord || len(b) < headerSize+size {
		return 0, nil, 0
	}
	payload = b[headerSize : headerSize+size]
	if checksum(b[0], payload) != binary.BigEndian.Uint32(b[5:]) {
		return 0, nil, 0
	}
	return b[0], payload, headerSize + size
}

// redo applies a record by the same function that accepted it.
func redo(state *State, kind byte, payload []byte) (*State, error) {
	if kind == recordDelta {
		d := &agentv1.Delta{}
		if err := proto.Unmarshal(payload, d); err != nil {
			return nil, err
		}
		return Apply(state, change{
			epoch: d.GetEpoch(), from: d.GetFrom(), revision: d.GetRevision(), entries: d.GetEntries(),
			count: d.GetCount(), hash: d.GetHash(), confirmed: true,
		})
	}
	s := &agentv1.Snapshot{}
	if err := proto.Unmarshal(payload, s); err != nil {
		return nil, err
	}
	switch kind {
	case recordWhole:
		return Apply(state, change{
			epoch: s.GetEpoch(), revision: s.GetRevision(), entries: s.GetEntries(), count: s.GetCount(), hash: s.GetHash(),
			confirmed: true, whole: true,
		})
	case recordBase:
		state.Revision = s.GetRevision()
		if s.GetEpoch() != nil {
			state.Epoch = s.GetEpoch()
		}
	case recordUnknown:
		for _, e := range s.GetEntries() {
			state.Unknown[e.GetKey()] = true
		}
	default:
		return nil, fmt.Errorf("unknown record %q", kind)
	}
	for _, e := range s.GetEntries() {
		state.Entries[e.GetKey()] = e
	}
	return state, nil
}

// append makes an accepted change durable; next is the state with it.
func (l *log) append(c change, next *State) error {
	if l.torn || l.size-l.base > max(minCompact, 4*l.base) {
		return l.rewrite(next)
	}
	record, err := c.record(l.stream)
	if err != nil {
		return err
	}
	if _, err = l.file.WriteAt(record, l.size); err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		// After a failed fsync nobody knows what is on disk, so this file gets no more records.
		l.torn = true
		return errors.Join(err, l.file.Truncate(l.size))
	}
	l.size += int64(len(record))
	return nil
}

func (c change) record(stream agentv1.Stream) ([]byte, error) {
	if c.whole {
		return encode(recordWhole, &agentv1.Snapshot{
			Stream: stream, Epoch: c.epoch, Revision: c.revision, Entries: c.entries, Last: true, Count: c.count, Hash: c.hash,
		})
	}
	return encode(recordDelta, &agentv1.Delta{
		Stream: stream, Epoch: c.epoch, From: c.from, Revision: c.revision, Entries: c.entries, Count: c.count, Hash: c.hash,
		Confirmed: c.confirmed,
	})
}

// rewrite makes the file again from a whole state: written beside, synced, renamed, and the directory synced.
func (l *log) rewrite(state *State) error {
	known, unknown := &agentv1.Snapshot{Stream: l.stream, Epoch: state.Epoch, Revision: state.Revision}, &agentv1.Snapshot{}
	for key, e := range state.Entries {
		if state.Unknown[key] {
			unknown.Entries = append(unknown.Entries, e)
		} else {
			known.Entries = append(known.Entries, e)
		}
	}
	base, err := encode(recordBase, known)
	if err != nil {
		return err
	}
	rest, err := encode(recordUnknown, unknown)
	if err != nil {
		return err
	}
	file, err := replace(l.path, append(base, rest...))
	if err != nil {
		return err
	}
	if l.file != nil {
		_ = l.file.Close() // the old file has no name any more
	}
	l.file, l.base, l.size, l.torn = file, int64(len(base)+len(rest)), int64(len(base)+len(rest)), false
	return nil
}

func (l *log) close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

func encode(kind byte, m proto.Message) ([]byte, error) {
	payload, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	if len(payload) > maxRecord {
		return nil, fmt.Errorf("record of %d bytes is too large", len(payload))
	}
	b := make([]byte, headerSize, headerSize+len(payload))
	b[0] = kind
	binary.BigEndian.PutUint32(b[1:], uint32(len(payload))) //nolint:gosec // bounded above
	binary.BigEndian.PutUint32(b[5:], checksum(kind, payload))
	return append(b, payload...), nil
}

func checksum(kind byte, payload []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte{kind}, castagnoli), castagnoli, payload)
}

// replace puts b at path and returns the file, open for writing.
func replace(path string, b []byte) (*os.File, error) {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // the directory is a setting
	if err != nil {
		return nil, err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func syncDir(path string) error {
	d, err := os.Open(path) //nolint:gosec // as above
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
