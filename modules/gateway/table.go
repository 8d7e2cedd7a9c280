package gateway

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"pandu/modules/agent/agentv1"
)

// table is what is served. It never changes after it was published, so requests read it without a lock; only the
// backends it points to have state of their own.
type table struct {
	epoch     *agentv1.Epoch
	revision  uint64
	sets      *index[*set]     // by environment id
	hosts     *index[*site]    // exact host
	wildcards *index[*site]    // "example.org" for "*.example.org"
	ports     map[uint16]*site // ports of their own, where every host is answered
	routes    int
}

// set is one environment's RouteSet, compiled. It is kept from table to table as long as its bytes stay the same; of
// it, requests read only names.
type set struct {
	environment string
	fingerprint uint64
	kept        uint64 // the compiler's last pass that met it again
	hosts       []hostSite
	ports       []portSite
	names       map[string][]*backend // lower case
	backends    []*backend            // each once; the set holds one reference to each
	routes      int
}

type hostSite struct {
	host string
	site *site
}

type portSite struct {
	port uint16
	site *site
}

// site is everything below one host or one port: its routes, longest path first.
type site struct{ routes []route }

type route struct {
	path     string // prefix of whole segments; "/" matches everything
	state    agentv1.Route_State
	port     uint16 // 0: the port each instance was found to listen on
	backends []*backend
}

func emptyTable() *table {
	return &table{
		sets: newIndex[*set](), hosts: newIndex[*site](), wildcards: newIndex[*site](), ports: map[uint16]*site{},
	}
}

// clone copies the indexes, not what they point to.
func (t *table) clone() *table {
	c := *t
	c.sets, c.hosts, c.wildcards, c.ports = t.sets.clone(), t.hosts.clone(), t.wildcards.clone(), maps.Clone(t.ports)
	return &c
}

// site finds what answers a host (normalised, "" when it is none) on a port (0: the shared ports); nil when nothing does.
func (t *table) site(host string, port uint16) *site {
	if port != 0 {
		return t.ports[port]
	}
	s, ok := t.hosts.get(host)
	if ok {
		return s
	}
	if _, parent, ok := strings.Cut(host, "."); ok {
		s, _ = t.wildcards.get(parent)
	}
	return s
}

// route is the one with the longest path that path lies under; nil when there is none.
func (s *site) route(path string) *route {
	for i := range s.routes {
		if under(path, s.routes[i].path) {
			return &s.routes[i]
		}
	}
	return nil
}

// under compares whole segments: "/api" holds "/api" and "/api/x", not "/apix".
func under(path, prefix string) bool {
	if !strings.HasPrefix(path, prefix) {
		return prefix == "/"
	}
	return strings.HasSuffix(prefix, "/") || len(path) == len(prefix) || path[len(prefix)] == '/'
}

// add puts s into the indexes. It changes nothing and says why when a host or port already belongs to another set:
// two environments never share one, whoever came second would take over the other's visitors.
func (t *table) add(s *set) error {
	if _, twice := t.sets.get(s.environment); twice {
		return invalidf("Environment %q has two route sets.", s.environment)
	}
	for _, h := range s.hosts {
		index, key := t.indexOf(h.host)
		if _, taken := index.get(key); taken {
			return invalidf("Host %q belongs to more than one environment.", h.host)
		}
	}
	for _, p := range s.ports {
		if t.ports[p.port] != nil {
			return invalidf("Port %d belongs to more than one environment.", p.port)
		}
	}
	for _, h := range s.hosts {
		index, key := t.indexOf(h.host)
		index.set(key, h.site)
	}
	for _, p := range s.ports {
		t.ports[p.port] = p.site
	}
	t.sets.set(s.environment, s)
	t.routes += s.routes
	return nil
}

func (t *table) remove(s *set) {
	for _, h := range s.hosts {
		index, key := t.indexOf(h.host)
		index.delete(key)
	}
	for _, p := range s.ports {
		delete(t.ports, p.port)
	}
	t.sets.delete(s.environment)
	t.routes -= s.routes
}

func (t *table) indexOf(host string) (*index[*site], string) {
	if parent, ok := strings.CutPrefix(host, "*."); ok {
		return t.wildcards, parent
	}
	return t.hosts, host
}

// names are the services of an environment; nil when it has none or is not known here.
func (t *table) names(environment string) map[string][]*backend {
	if s, ok := t.sets.get(environment); ok {
		return s.names
	}
	return nil
}

// sortRoutes puts the longest path first, which is what makes the first match the right one.
func (s *site) sortRoutes() {
	slices.SortFunc(s.routes, func(a, b route) int {
		return cmp.Or(-cmp.Compare(len(a.path), len(b.path)), cmp.Compare(a.path, b.path))
	})
}
