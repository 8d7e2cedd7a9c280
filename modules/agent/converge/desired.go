package converge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"pandu/modules/agent/agentv1"
	"pandu/modules/kit/fault"
	"pandu/modules/spec"

	"google.golang.org/protobuf/proto"
)

// Prefixes of keys in the instances stream.
const (
	prefixEnvironment = "environment/"
	prefixVolume      = "volume/"
	prefixInstance    = "instance/"
)

func environmentKey(id string) string { return prefixEnvironment + id }
func volumeKey(id string) string      { return prefixVolume + id }
func instanceKey(id string) string    { return prefixInstance + id }

// desired is the decoded desired list, by id.
type desired struct {
	environments map[string]*environment
	volumes      map[string]*volume
	instances    map[string]*instance
}

type environment struct {
	id, organization, name string
	tombstone              bool
	broken                 string // why it cannot be carried out
}

type volume struct {
	id, organization, environment, name string
	tombstone                           bool
	broken                              string
}

// instance is one desired container. A tombstone has nothing but its id and its cause.
type instance struct {
	id        string
	tombstone bool
	cause     string // of the tombstone
	body      *agentv1.Instance
	spec      spec.Container
	broken    string // the policy or the decoder refused it
}

// runsToEnd reports whether the container's end is a result and not an accident.
func (i *instance) runsToEnd() bool { return i.spec.Restart == spec.RestartNever }

func (i *instance) grace() time.Duration {
	if g := time.Duration(i.spec.StopGrace); g > 0 {
		return g
	}
	return 10 * time.Second
}

// decodedEntry saves decoding an entry again that did not change.
type decodedEntry struct {
	entry *agentv1.Entry
	value any
}

// decode reads the entries into a new desired, reusing what cache knows, and returns the new cache. It never fails: an
// entry that cannot be carried out is kept with the reason, so that it is reported and what runs of it stays.
func decode(entries []*agentv1.Entry, cache map[string]decodedEntry) (desired, map[string]decodedEntry) {
	d := desired{map[string]*environment{}, map[string]*volume{}, map[string]*instance{}}
	next := make(map[string]decodedEntry, len(entries))
	for _, e := range entries {
		known, ok := cache[e.GetKey()]
		if !ok || known.entry != e && !proto.Equal(known.entry, e) {
			known = decodedEntry{e, decodeEntry(e)}
		}
		next[e.GetKey()] = known
		switch v := known.value.(type) {
		case *environment:
			d.environments[v.id] = v
		case *volume:
			d.volumes[v.id] = v
		case *instance:
			d.instances[v.id] = v
		}
	}
	return d, next
}

// decodeEntry gives an environment, volume or instance; nil for a key of another kind.
func decodeEntry(e *agentv1.Entry) any {
	key := e.GetKey()
	if id, ok := strings.CutPrefix(key, prefixEnvironment); ok {
		return decodeEnvironment(id, e)
	}
	if id, ok := strings.CutPrefix(key, prefixVolume); ok {
		return decodeVolume(id, e)
	}
	if id, ok := strings.CutPrefix(key, prefixInstance); ok {
		return decodeInstance(id, e)
	}
	return nil
}

func decodeEnvironment(id string, e *agentv1.Entry) *environment {
	v := &environment{id: id, tombstone: e.GetTombstone()}
	if v.tombstone {
		return v
	}
	var body agentv1.Environment
	if err := unmarshal(e, id, &body); err != nil {
		v.broken = err.Error()
		return v
	}
	v.organization, v.name = body.GetOrganizationId(), body.GetProject()+"-"+body.GetEnvironment()
	return v
}

func decodeVolume(id string, e *agentv1.Entry) *volume {
	v := &volume{id: id, tombstone: e.GetTombstone()}
	if v.tombstone {
		return v
	}
	var body agentv1.Volume
	if err := unmarshal(e, id, &body); err != nil {
		v.broken = err.Error()
		return v
	}
	v.organization, v.environment, v.name = body.GetOrganizationId(), body.GetEnvironmentId(), body.GetName()
	return v
}

func decodeInstance(id string, e *agentv1.Entry) *instance {
	v := &instance{id: id, tombstone: e.GetTombstone(), cause: e.GetCause()}
	if v.tombstone {
		return v
	}
	var body agentv1.Instance
	err := unmarshal(e, id, &body)
	v.body = &body
	if err == nil {
		err = decodeSpec(body.GetSpec(), &v.spec)
	}
	if err == nil {
		err = spec.Policy(v.spec)
	}
	if err != nil {
		v.broken = fault.From(err).Message
		if fault.KindOf(err) == fault.Internal {
			v.broken = "The agent cannot read this entry: " + err.Error()
		}
	}
	return v
}

// decodeSpec refuses what this agent does not know: half of a specification must not run.
func decodeSpec(b []byte, c *spec.Container) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		return fmt.Errorf("decode specification: %w", err)
	}
	if d.More() {
		return errors.New("decode specification: more than one value")
	}
	return nil
}

// unmarshal reads a body and checks that it speaks of the key's id.
func unmarshal(e *agentv1.Entry, id string, m interface {
	proto.Message
	GetId() string
}) error {
	if err := proto.Unmarshal(e.GetBody(), m); err != nil {
		return fmt.Errorf("decode entry: %w", err)
	}
	if m.GetId() != id {
		return fmt.Errorf("decode entry: key %q holds id %q", e.GetKey(), m.GetId())
	}
	return nil
}
