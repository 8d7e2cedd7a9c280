package converge

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"

	"pandu/modules/agent/agentv1"
)

// rest is how long an address or subnet that was given back is not given out again: somebody may still have it in a
// table. It is broken only when nothing else is left.
const rest = time.Hour

// record is what is remembered of an instance: its report, its address, and what decides its future.
type record struct {
	Environment string                `json:"environment,omitempty"`
	SpecHash    string                `json:"spec_hash,omitempty"`
	ContainerID string                `json:"container_id,omitempty"`
	IP          netip.Addr            `json:"ip,omitzero"`
	Port        int                   `json:"port,omitempty"`
	State       agentv1.InstanceState `json:"state,omitempty"`
	Ready       bool                  `json:"ready,omitempty"`     // visitors may be sent there
	WasReady    bool                  `json:"was_ready,omitempty"` // it passed its gate once and is never gated again
	Started     bool                  `json:"started,omitempty"`   // its container was started once
	Outcome     bool                  `json:"outcome,omitempty"`   // State is its last: completed, or failed for good
	ExitCode    int32                 `json:"exit_code,omitempty"`
	Restarts    uint32                `json:"restarts,omitempty"`
	Healed      uint32                `json:"healed,omitempty"`
	Reason      string                `json:"reason,omitempty"`
	Message     string                `json:"message,omitempty"`
	Parameters  map[string]string     `json:"parameters,omitempty"`
	Lines       []string              `json:"lines,omitempty"`
	Drift       string                `json:"drift,omitempty"` // what somebody changed in its container
	Drain       time.Duration         `json:"drain,omitempty"` // of the entry, which the tombstone no longer tells
	Grace       time.Duration         `json:"grace,omitempty"`
	Repository  string                `json:"repository,omitempty"` // of its image, which the tombstone does not tell, either
}

// say sets what a person reads about the instance.
func (r *record) say(reason, message string, parameters map[string]string) {
	r.Reason, r.Message, r.Parameters, r.Lines = reason, message, parameters, nil
}

// ledger is the agent's memory on disk. Losing it loses no container: addresses are read back from Docker.
type ledger struct {
	path string
	pool netip.Prefix
	bits int
	now  func() time.Time

	mu    sync.Mutex
	dirty bool
	data  ledgerData
}

type ledgerData struct {
	Subnets   map[string]netip.Prefix    `json:"subnets"`  // by environment
	Released  map[netip.Addr]time.Time   `json:"released"` // addresses given back
	Retired   map[netip.Prefix]time.Time `json:"retired"`  // subnets given back, or found taken by something else
	Records   map[string]*record         `json:"records"`  // by instance
	Registers []string                   `json:"registries"`
}

// openLedger reads the file in dir. A file that does not read is put aside: starting with less memory beats not starting.
func openLedger(dir string, pool netip.Prefix, bits int, now func() time.Time) (*ledger, error) {
	l := &ledger{path: filepath.Join(dir, "converge.json"), pool: pool.Masked(), bits: bits, now: now}
	if bits < pool.Bits() || bits > 29 || !pool.Addr().Is4() {
		return nil, fmt.Errorf("pool %s cannot be cut into subnets of /%d", pool, bits)
	}
	b, err := os.ReadFile(l.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	if err == nil && json.Unmarshal(b, &l.data) != nil {
		if err := os.Rename(l.path, l.path+".broken"); err != nil {
			return nil, fmt.Errorf("put broken ledger aside: %w", err)
		}
		l.data = ledgerData{}
	}
	l.data.fill()
	return l, nil
}

func (d *ledgerData) fill() {
	if d.Subnets == nil {
		d.Subnets = map[string]netip.Prefix{}
	}
	if d.Released == nil {
		d.Released = map[netip.Addr]time.Time{}
	}
	if d.Retired == nil {
		d.Retired = map[netip.Prefix]time.Time{}
	}
	if d.Records == nil {
		d.Records = map[string]*record{}
	}
	maps.DeleteFunc(d.Records, func(_ string, r *record) bool { return r == nil })
}

// flush writes the ledger when something changed since the last time: write, fsync, rename.
func (l *ledger) flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.dirty {
		return nil
	}
	b, err := json.Marshal(l.data)
	if err != nil {
		return fmt.Errorf("encode ledger: %w", err)
	}
	if err := replaceFile(l.path, b); err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	l.dirty = false
	return nil
}

func replaceFile(path string, b []byte) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// record is a copy of what is known about an instance.
func (l *ledger) record(id string) record {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.data.Records[id]; r != nil {
		return *r
	}
	return record{}
}

// update changes a record and reports whether the report or the address is another one now.
func (l *ledger) update(id string, change func(*record)) (changed, moved bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.data.Records[id]
	if r == nil {
		r = &record{}
		l.data.Records[id] = r
	}
	before := *r
	change(r)
	if reflect.DeepEqual(before, *r) {
		return false, false
	}
	l.dirty = true
	return true, before.IP != r.IP || before.Port != r.Port || before.Ready != r.Ready
}

// forget drops an instance whose tombstone was carried out and is no longer asked for.
func (l *ledger) forget(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.data.Records, id)
	l.dirty = true
}

// records copies all records.
func (l *ledger) records() map[string]record {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string]record, len(l.data.Records))
	for id, r := range l.data.Records {
		out[id] = *r
	}
	return out
}

// registries remembers every registry name images were pulled under; the port changes between runs of the agent.
func (l *ledger) registries(current string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(l.data.Registers, current) {
		l.data.Registers = append(l.data.Registers, current)
		l.data.Registers = l.data.Registers[max(0, len(l.data.Registers)-32):]
		l.dirty = true
	}
	return slices.Clone(l.data.Registers)
}
