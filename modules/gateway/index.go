package gateway

import (
	"hash/maphash"
	"maps"
)

// index is a map that is never changed once it was published, and cheap to make a changed copy of: it is cut into
// shards, and only those that a change touches are copied.
type index[V any] struct {
	seed   maphash.Seed
	shards [shards]map[string]V
	own    [shards]bool // copied since clone
}

const shards = 256

func newIndex[V any]() *index[V] { return &index[V]{seed: maphash.MakeSeed()} }

func (x *index[V]) get(key string) (V, bool) {
	v, ok := x.shards[x.shard(key)][key]
	return v, ok
}

func (x *index[V]) clone() *index[V] { return &index[V]{seed: x.seed, shards: x.shards} }

func (x *index[V]) set(key string, v V) { x.writable(key)[key] = v }

func (x *index[V]) delete(key string) { delete(x.writable(key), key) }

func (x *index[V]) writable(key string) map[string]V {
	i := x.shard(key)
	if !x.own[i] {
		x.own[i] = true
		if x.shards[i] = maps.Clone(x.shards[i]); x.shards[i] == nil {
			x.shards[i] = map[string]V{}
		}
	}
	return x.shards[i]
}

func (x *index[V]) shard(key string) uint64 { return maphash.String(x.seed, key) % shards }
