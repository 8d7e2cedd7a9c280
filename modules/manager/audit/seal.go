package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
)

// sealed is an event as the chain sees it: everything but the place in the chain, which is an argument of link.
type sealed struct {
	ID             uuid.UUID         `db:"id"`
	OrganizationID uuid.UUID         `db:"organization_id"`
	ActorKind      string            `db:"actor_kind"`
	ActorID        uuid.UUID         `db:"actor_id"`
	ActorLabel     string            `db:"actor_label"`
	Action         string            `db:"action"`
	ObjectKind     string            `db:"object_kind"`
	ObjectID       uuid.UUID         `db:"object_id"`
	ObjectLabel    string            `db:"object_label"`
	Detail         map[string]string `db:"detail"`
	RequestID      string            `db:"request_id"`
	Address        string            `db:"address"`
	CreatedAt      time.Time         `db:"created_at"`
}

// link is the hash of an event at its place in the chain: SHA-256 over the hash before it (empty for the first), the
// sequence number and every field, each field preceded by its length so that no two events share a text.
func link(previous []byte, sequence int64, e sealed) []byte {
	h := sha256.New()
	field(h, previous)
	number(h, uint64(sequence))
	for _, id := range []uuid.UUID{e.ID, e.OrganizationID, e.ActorID, e.ObjectID} {
		field(h, id[:])
	}
	for _, s := range []string{e.ActorKind, e.ActorLabel, e.Action, e.ObjectKind, e.ObjectLabel, e.RequestID, e.Address} {
		field(h, []byte(s))
	}
	number(h, uint64(e.CreatedAt.UnixMicro()))
	number(h, uint64(len(e.Detail)))
	for _, k := range slices.Sorted(maps.Keys(e.Detail)) {
		field(h, []byte(k))
		field(h, []byte(e.Detail[k]))
	}
	return h.Sum(nil)
}

func field(h hash.Hash, b []byte) {
	number(h, uint64(len(b)))
	h.Write(b)
}

func number(h hash.Hash, n uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	h.Write(b[:])
}
