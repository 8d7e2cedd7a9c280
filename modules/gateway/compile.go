package gateway

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"pandu/modules/agent/agentv1"
)

// compiler makes tables out of what is on disk. It keeps what did not change, so that the cost of an Apply follows the
// size of the change and not that of the table; and it decodes one set at a time, so that memory does as well.
// It is used under the gateway's lock.
type compiler struct {
	seed     maphash.Seed
	registry *registry
	served   map[uint64]*set // the sets of the table that is served, by fingerprint
	pass     uint64          // counts the calls of next
}

func newCompiler(r *registry) *compiler {
	return &compiler{seed: maphash.MakeSeed(), registry: r, served: map[uint64]*set{}}
}

// source tells the sets of a table one after the other and returns the rest of it.
type source func(each func(set []byte) error) (*agentv1.RouteTable, error)

// next makes the table that from tells out of the one served now, which must be the last one it made. It takes a
// reference to the backends of every set it compiles; the caller gives back those of the sets it returns as gone, once
// nobody can find them any more. On an error everything is as before.
func (c *compiler) next(now *table, from source) (next *table, gone []*set, err error) {
	c.pass++
	changed := map[string]*set{}
	head, err := from(func(raw []byte) error { return c.meet(raw, changed) })
	if err == nil {
		err = newer(now, head)
	}
	if err != nil {
		c.giveBack(changed)
		return nil, nil, err
	}
	next = now.clone()
	next.epoch, next.revision = cmp.Or(head.GetEpoch(), &agentv1.Epoch{}), head.GetRevision() // never nil once served
	for _, s := range c.served {
		if s.kept != c.pass {
			next.remove(s)
			gone = append(gone, s)
		}
	}
	for _, s := range changed {
		if err := next.add(s); err != nil {
			c.giveBack(changed)
			return nil, nil, err
		}
	}
	c.serve(changed, gone)
	return next, gone, nil
}

// meet marks a set that is served already as staying, and compiles any other.
func (c *compiler) meet(raw []byte, changed map[string]*set) error {
	fingerprint := maphash.Bytes(c.seed, raw)
	if s := c.served[fingerprint]; s != nil && s.kept != c.pass {
		s.kept = c.pass
		return nil
	}
	return c.compileInto(changed, raw, fingerprint)
}

func (c *compiler) serve(changed map[string]*set, gone []*set) {
	for _, s := range gone {
		delete(c.served, s.fingerprint)
	}
	for _, s := range changed {
		c.served[s.fingerprint] = s
	}
}

// newer refuses what would take the table back in history. The same revision is welcome: it may repair the file.
func newer(now *table, head *agentv1.RouteTable) error {
	have, comes := now.epoch, head.GetEpoch()
	switch {
	case have == nil || comes.GetNumber() > have.GetNumber():
		return nil
	case comes.GetNumber() < have.GetNumber():
		return refusedf("The route table is of epoch %d; epoch %d is served.", comes.GetNumber(), have.GetNumber())
	case comes.GetLineage() != have.GetLineage():
		return refusedf("The route table is of another lineage of epoch %d than the one served.", have.GetNumber())
	case head.GetRevision() < now.revision:
		return refusedf("The route table is of revision %d; revision %d is served.", head.GetRevision(), now.revision)
	}
	return nil
}

func (c *compiler) compileInto(sets map[string]*set, raw []byte, fingerprint uint64) error {
	var message agentv1.RouteSet
	if err := proto.Unmarshal(raw, &message); err != nil {
		return invalidf("A route set cannot be decoded.")
	}
	if err := validateSet(&message); err != nil {
		return err
	}
	if sets[message.GetEnvironmentId()] != nil {
		return invalidf("Environment %q has two route sets.", message.GetEnvironmentId())
	}
	s, err := c.compile(&message)
	if err != nil {
		return err
	}
	s.environment, s.fingerprint = message.GetEnvironmentId(), fingerprint
	sets[message.GetEnvironmentId()] = s
	return nil
}

// compile expects a valid message; only paths can still collide.
func (c *compiler) compile(message *agentv1.RouteSet) (*set, error) {
	b := builder{registry: c.registry, set: &set{}, found: map[string]*backend{}, sites: map[string]*site{}}
	for _, r := range message.GetRoutes() {
		if err := b.addRoute(r); err != nil {
			c.registry.release(b.set.backends)
			return nil, err
		}
	}
	for _, n := range message.GetNames() {
		b.addName(n)
	}
	b.finish()
	return b.set, nil
}

func (c *compiler) giveBack(sets map[string]*set) {
	for _, s := range sets {
		c.registry.release(s.backends)
	}
}

// builder makes one set.
type builder struct {
	registry *registry
	set      *set
	found    map[string]*backend // by instance id
	sites    map[string]*site    // by host, or ":port"
}

func (b *builder) addRoute(r *agentv1.Route) error {
	at := b.site(r)
	path := "/"
	if r.GetPath() != "" {
		path = r.GetPath()
	}
	if slices.ContainsFunc(at.routes, func(o route) bool { return o.path == path }) {
		return invalidf("Path %q of host %q, port %d has two routes.", path, r.GetHost(), r.GetListenPort())
	}
	at.routes = append(at.routes, route{
		path: path, state: r.GetState(), backends: b.backends(r.GetInstanceIds()),
		port: uint16(r.GetPort()), //nolint:gosec // validated
	})
	b.set.routes++
	return nil
}

// site of a port of its own ignores the host: every one is answered there.
func (b *builder) site(r *agentv1.Route) *site {
	port, key := uint16(r.GetListenPort()), r.GetHost() //nolint:gosec // validated
	if port != 0 {
		key = fmt.Sprintf(":%d", port)
	}
	s := b.sites[key]
	if s != nil {
		return s
	}
	s = &site{}
	b.sites[key] = s
	if port != 0 {
		b.set.ports = append(b.set.ports, portSite{port, s})
	} else {
		b.set.hosts = append(b.set.hosts, hostSite{key, s})
	}
	return s
}

func (b *builder) addName(n *agentv1.ServiceName) {
	if b.set.names == nil {
		b.set.names = map[string][]*backend{}
	}
	name := strings.ToLower(n.GetName())
	b.set.names[name] = append(b.set.names[name], b.backends(n.GetInstanceIds())...)
}

func (b *builder) backends(ids []string) []*backend {
	backends := make([]*backend, 0, len(ids))
	for _, id := range ids {
		if b.found[id] == nil {
			b.found[id] = b.registry.acquire(id)
			b.set.backends = append(b.set.backends, b.found[id])
		}
		if !slices.Contains(backends, b.found[id]) {
			backends = append(backends, b.found[id])
		}
	}
	return backends
}

func (b *builder) finish() {
	for _, s := range b.sites {
		s.sortRoutes()
		s.routes = slices.Clip(s.routes)
	}
	b.set.backends = slices.Clip(b.set.backends)
}
