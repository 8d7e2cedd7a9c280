package agentv1

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// HashEntries is the SHA-256 of what a desired stream holds: key, revision and body of every live entry, whatever the
// order of the slice. Tombstones are left out, since they are no part of what is held; so is the cause.
func HashEntries(entries []*Entry) []byte {
	live := make([]*Entry, 0, len(entries))
	for _, e := range entries {
		if !e.GetTombstone() {
			live = append(live, e)
		}
	}
	slices.SortFunc(live, compareEntries)
	d := newDigest("pandu entries 1")
	for _, e := range live {
		d.text(e.GetKey())
		d.number(e.GetRevision())
		d.bytes(e.GetBody())
	}
	return d.sum()
}

// compareEntries goes on after the key so that even doubled keys, which no valid stream has, hash alike in every order.
func compareEntries(a, b *Entry) int {
	return cmp.Or(cmp.Compare(a.GetKey(), b.GetKey()), cmp.Compare(a.GetRevision(), b.GetRevision()), bytes.Compare(a.GetBody(), b.GetBody()))
}

// HashStatuses is the SHA-256 of a server's real state: id, state, spec hash, container, port and restarts of every
// instance, whatever the order of the slice. Reasons, log lines and the like are left out: they change nothing.
func HashStatuses(statuses []*InstanceStatus) []byte {
	sorted := slices.Clone(statuses)
	slices.SortFunc(sorted, compareStatuses)
	d := newDigest("pandu statuses 1")
	for _, s := range sorted {
		d.text(s.GetInstanceId())
		d.number(uint64(s.GetState())) //nolint:gosec // an enum is never negative; any fixed mapping would do
		d.text(s.GetSpecHash())
		d.text(s.GetContainerId())
		d.number(uint64(s.GetPort()))
		d.number(uint64(s.GetRestarts()))
	}
	return d.sum()
}

func compareStatuses(a, b *InstanceStatus) int {
	return cmp.Or(
		cmp.Compare(a.GetInstanceId(), b.GetInstanceId()), cmp.Compare(a.GetState(), b.GetState()),
		cmp.Compare(a.GetSpecHash(), b.GetSpecHash()), cmp.Compare(a.GetContainerId(), b.GetContainerId()),
		cmp.Compare(a.GetPort(), b.GetPort()), cmp.Compare(a.GetRestarts(), b.GetRestarts()))
}

// HashRouteTable is the SHA-256 of a table without its hash field, as WriteRouteTable stores it; nil when a text in
// it is not UTF-8.
func HashRouteTable(table *RouteTable) []byte {
	body, err := marshalBare(table)
	if err != nil {
		return nil
	}
	sum := sha256.Sum256(body)
	return sum[:]
}

// marshalBare serialises m without its hash field. The copy shares everything below the first level with m.
func marshalBare(m proto.Message) ([]byte, error) {
	bare := m.ProtoReflect().New()
	m.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if field.Number() != hashField {
			bare.Set(field, value)
		}
		return true
	})
	bare.SetUnknown(m.ProtoReflect().GetUnknown())
	return proto.MarshalOptions{Deterministic: true}.Marshal(bare.Interface())
}

// seal appends the hash of body to it, as the bytes field number hashField.
func seal(body []byte) []byte {
	sum := sha256.Sum256(body)
	return protowire.AppendBytes(protowire.AppendTag(body, hashField, protowire.BytesType), sum[:])
}

// sealed reports whether file is what seal made. It judges the bytes that are on disk, not the message they decode to:
// another version of the code, which may know fewer fields or order them otherwise, comes to the same answer.
func sealed(file []byte) bool {
	end := len(file) - protowire.SizeTag(hashField) - protowire.SizeBytes(sha256.Size)
	if end < 0 {
		return false
	}
	sum := sha256.Sum256(file[:end])
	return bytes.Equal(file[end:], protowire.AppendBytes(protowire.AppendTag(nil, hashField, protowire.BytesType), sum[:]))
}

// hashField is the number of the hash field in RouteTable and in AddressBook.
const hashField = 4

// digest hashes fields with their lengths, so that no two different lists make the same stream of bytes.
type digest struct{ hash.Hash }

func newDigest(purpose string) digest {
	d := digest{sha256.New()}
	d.text(purpose)
	return d
}

func (d digest) number(n uint64) { d.Write(binary.BigEndian.AppendUint64(nil, n)) }
func (d digest) text(s string)   { d.bytes([]byte(s)) }
func (d digest) sum() []byte     { return d.Sum(nil) }

func (d digest) bytes(b []byte) {
	d.number(uint64(len(b)))
	d.Write(b)
}
