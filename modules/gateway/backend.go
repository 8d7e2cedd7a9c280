package gateway

import (
	"net/netip"
	"sync/atomic"
	"time"

	"pandu/modules/agent/agentv1"
)

// backend is one instance as far as a gateway knows it. It outlives tables: while a request is in flight its counter
// stays, also after the instance left every route, because the agent waits for it to reach zero before it stops it.
type backend struct {
	id       string
	inFlight atomic.Int64
	target   atomic.Pointer[target] // nil: not in the address book
	left     atomic.Bool            // no route names it any more
	ejection ejection

	references int // sets that name it; under the registry's user's lock
}

// target is where an instance is, as the address book says.
type target struct {
	ip    netip.Addr
	port  uint16 // 0: not known
	ready bool
	links *links // the connections to ip; shared by the targets of an instance while its address stays
}

// at is where a route with this port of its own (0: none) reaches t; not valid when no port is known.
func (t *target) at(port uint16) netip.AddrPort {
	if port == 0 {
		port = t.port
	}
	if port == 0 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(t.ip, port)
}

// accepts reports whether a new request of a route with this port may go there.
func (t *target) accepts(port uint16) bool { return t != nil && t.ready && (port != 0 || t.port != 0) }

// usable is accepts of the present target, while a route names the instance.
func (b *backend) usable(port uint16) bool { return b.target.Load().accepts(port) && !b.left.Load() }

// enter counts a request in and returns where it goes; nil when the instance is not usable after all. The count comes
// before the look at the state, and Apply changes the state before anybody reads the count: so either the request sees
// that the instance left, or the agent sees the request.
func (b *backend) enter(port uint16) *target {
	b.inFlight.Add(1)
	if t := b.target.Load(); t.accepts(port) && !b.left.Load() {
		return t
	}
	b.leave()
	return nil
}

// leave counts a request out. The last one of an instance that left closes its idle connections.
func (b *backend) leave() {
	if b.inFlight.Add(-1) == 0 && b.left.Load() {
		b.closeIdle()
	}
}

func (b *backend) closeIdle() {
	if t := b.target.Load(); t != nil {
		t.links.closeIdle()
	}
}

// ejection keeps requests away from an instance whose connections fail, for a short and bounded while. The agent's
// check decides what is ready; this only bridges the time until it has noticed.
type ejection struct {
	failures atomic.Int32
	until    atomic.Int64 // unix nanoseconds of this machine's clock
}

const (
	firstEjection = 500 * time.Millisecond
	maxEjection   = 8 * time.Second
)

func (e *ejection) failed(now time.Time) {
	n := min(e.failures.Add(1), 6)
	e.until.Store(now.Add(min(firstEjection<<(n-1), maxEjection)).UnixNano())
}

func (e *ejection) succeeded() {
	if e.failures.Load() != 0 {
		e.failures.Store(0)
		e.until.Store(0)
	}
}

func (e *ejection) active(now time.Time) bool {
	until := e.until.Load()
	return until != 0 && now.UnixNano() < until
}

// registry holds every backend that a table names or that still has requests in flight. It is used under the
// gateway's lock.
type registry struct {
	responseTimeout time.Duration // of new links

	backends map[string]*backend
	leaving  map[*backend]struct{}
	book     map[string]address
}

type address struct {
	ip    netip.Addr
	port  uint16
	ready bool
}

func newRegistry(responseTimeout time.Duration) *registry {
	return &registry{
		responseTimeout: responseTimeout, backends: map[string]*backend{},
		leaving: map[*backend]struct{}{}, book: map[string]address{},
	}
}

// acquire adds a reference to the backend of an instance.
func (r *registry) acquire(id string) *backend {
	b := r.backends[id]
	if b == nil {
		b = &backend{id: id}
		r.backends[id] = b
		r.locate(b)
	}
	b.references++
	if b.references == 1 {
		delete(r.leaving, b)
		b.left.Store(false)
	}
	return b
}

// release gives one reference to each back. A backend without any takes no new request from here on.
func (r *registry) release(backends []*backend) {
	for _, b := range backends {
		if b.references--; b.references == 0 {
			b.left.Store(true)
			b.closeIdle()
			r.leaving[b] = struct{}{}
		}
	}
}

// sweep forgets the backends that left and have nothing in flight.
func (r *registry) sweep() {
	for b := range r.leaving {
		if b.inFlight.Load() == 0 {
			b.closeIdle()
			delete(r.leaving, b)
			delete(r.backends, b.id)
		}
	}
}

// relocate takes a new address book over.
func (r *registry) relocate(book map[string]address) {
	old := r.book
	r.book = book
	for id := range old {
		if _, stays := book[id]; !stays && r.backends[id] != nil {
			r.locate(r.backends[id])
		}
	}
	for id, a := range book {
		if b := r.backends[id]; b != nil && (old[id] != a || b.target.Load() == nil) {
			r.locate(b)
		}
	}
}

// locate makes the target of b what the address book says. New links are made only for a new address: the old ones
// finish what they carry and keep nothing idle.
func (r *registry) locate(b *backend) {
	old := b.target.Load()
	a, known := r.book[b.id]
	if !known {
		b.target.Store(nil)
	} else {
		next := &target{ip: a.ip, port: a.port, ready: a.ready}
		if old != nil && old.ip == a.ip && old.port == a.port {
			next.links = old.links
		} else {
			next.links = &links{responseTimeout: r.responseTimeout}
			b.ejection.succeeded()
		}
		b.target.Store(next)
	}
	if now := b.target.Load(); old != nil && (now == nil || now.links != old.links) {
		old.links.closeIdle()
	}
}

// inFlight counts what is not finished, by instance id; instances without any are left out.
func (r *registry) inFlight() map[string]uint32 {
	counts := map[string]uint32{}
	for id, b := range r.backends {
		if n := b.inFlight.Load(); n > 0 {
			counts[id] = uint32(n) //nolint:gosec // bounded by the connections of this machine
		}
	}
	return counts
}

// readBook judges an address book as a whole: the agent writes it, so one bad line means that the file is not to be
// trusted.
func readBook(book *agentv1.AddressBook) (map[string]address, error) {
	addresses := make(map[string]address, len(book.GetAddresses()))
	for _, a := range book.GetAddresses() {
		ip, err := netip.ParseAddr(a.GetIp())
		if err != nil || ip.Zone() != "" || !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() {
			return nil, invalidf("Instance %q has the address %q, which is none.", a.GetInstanceId(), a.GetIp())
		}
		if !validID(a.GetInstanceId()) || a.GetPort() > 65535 {
			return nil, invalidf("Instance %q has no valid id or port.", a.GetInstanceId())
		}
		addresses[a.GetInstanceId()] = address{ip.Unmap(), uint16(a.GetPort()), a.GetReady()} //nolint:gosec // just judged
	}
	return addresses, nil
}
