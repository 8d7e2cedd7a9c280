package gateway

import (
	"math"
	"strings"

	"pandu/modules/agent/agentv1"
	"pandu/modules/kit/fault"
)

const (
	maxHost      = 253
	maxLabel     = 63
	maxPath      = 1024
	maxID        = 128
	maxInstances = 1024 // of one route or name
)

func invalidf(format string, args ...any) error {
	return fault.Newf(fault.Invalid, "gateway_invalid", format, args...)
}

func refusedf(format string, args ...any) error {
	return fault.Newf(fault.Conflict, "gateway_refused", format, args...)
}

// normaliseHost turns what a client sent as Host into the form in which routes are kept: lower case, without port and
// trailing dot. It is "" when that is no host name; an address in brackets is none.
func normaliseHost(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		if !digits(host[i+1:]) {
			return ""
		}
		host = host[:i]
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if !validHost(host) {
		return ""
	}
	return host
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) <= 5
}

// validHost reports whether host is a name as routes hold them: labels of a-z, 0-9, "-" and "_".
func validHost(host string) bool {
	if host == "" || len(host) > maxHost {
		return false
	}
	start := 0
	for i := range len(host) {
		switch c := host[i]; {
		case c == '.':
			if !validLabel(host[start:i]) {
				return false
			}
			start = i + 1
		case !labelByte(c):
			return false
		}
	}
	return validLabel(host[start:])
}

func validLabel(label string) bool {
	return label != "" && len(label) <= maxLabel && label[0] != '-' && label[len(label)-1] != '-'
}

func labelByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

func validateSet(s *agentv1.RouteSet) error {
	if !validID(s.GetEnvironmentId()) {
		return invalidf("A route set has no valid environment id.")
	}
	for _, r := range s.GetRoutes() {
		if err := validateRoute(r); err != nil {
			return err
		}
	}
	for _, n := range s.GetNames() {
		if !validHost(strings.ToLower(n.GetName())) {
			return invalidf("%q is no name that a service can have.", n.GetName())
		}
		if err := validateInstances(n.GetInstanceIds()); err != nil {
			return err
		}
	}
	return nil
}

func validateRoute(r *agentv1.Route) error {
	if r.GetListenPort() > math.MaxUint16 || r.GetPort() > math.MaxUint16 {
		return invalidf("Route %q has a port above 65535.", r.GetHost())
	}
	if !validRouteHost(r.GetHost()) && (r.GetListenPort() == 0 || r.GetHost() != "") {
		return invalidf("%q is no host that a route can have.", r.GetHost())
	}
	if !validPath(r.GetPath()) {
		return invalidf("Route %q has the path %q, which is none.", r.GetHost(), r.GetPath())
	}
	switch r.GetState() {
	case agentv1.Route_STATE_SERVING, agentv1.Route_STATE_STOPPED, agentv1.Route_STATE_STARTING:
		return validateInstances(r.GetInstanceIds())
	default:
		return invalidf("Route %q has the unknown state %d.", r.GetHost(), r.GetState())
	}
}

// validRouteHost also takes "*.example.org", which stands for exactly one more label, as in certificates.
func validRouteHost(host string) bool {
	parent, wildcard := strings.CutPrefix(host, "*.")
	if wildcard && len(parent) > maxHost-2 {
		return false
	}
	return validHost(parent)
}

func validPath(path string) bool {
	if path == "" {
		return true // the default
	}
	return path[0] == '/' && len(path) <= maxPath && strings.IndexFunc(path, notInPath) < 0
}

func notInPath(r rune) bool { return r <= ' ' || r == 0x7f || r == '?' || r == '#' || r == '\\' }

func validateInstances(ids []string) error {
	if len(ids) > maxInstances {
		return invalidf("A route has %d instances; %d are possible.", len(ids), maxInstances)
	}
	for _, id := range ids {
		if !validID(id) {
			return invalidf("%q is no instance id.", id)
		}
	}
	return nil
}

func validID(id string) bool { return id != "" && len(id) <= maxID }
