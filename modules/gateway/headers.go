package gateway

import (
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"slices"
	"strings"
)

// rewrite makes the request for the instance out of the client's. What says where a request came from is written from
// scratch; what the client sent under these names is dropped, because applications believe it.
func rewrite(p *httputil.ProxyRequest) {
	x := exchangeOf(p.In)
	h := p.Out.Header
	for name := range h {
		if claimed(name) {
			delete(h, name)
		}
	}
	chain, scheme := x.client.String(), "http"
	if x.in.TLS != nil {
		scheme = "https"
	}
	if x.forwarded != nil {
		chain, scheme = x.forwarded.chain, x.forwarded.scheme
	}
	h["X-Forwarded-For"] = []string{chain}
	h["X-Forwarded-Host"] = []string{p.In.Host}
	h["X-Forwarded-Proto"] = []string{scheme}
	h["X-Real-Ip"] = []string{x.client.String()}
	h["X-Request-Id"] = []string{x.requestID}
	if len(p.In.Trailer) > 0 {
		p.Out.Trailer = p.In.Trailer // the same map: its values come when the body has been read
	}
	p.Out.URL.RawQuery = p.In.URL.RawQuery // as it came; we judge nothing by it
}

// claimed reports whether a header (in canonical form) says something that only a gateway may say. "X_Forwarded_For"
// is one as well: CGI and its heirs read it as the same variable as "X-Forwarded-For". "Proxy" would become HTTP_PROXY.
func claimed(name string) bool {
	switch name[0] {
	case 'X', 'x', 'F', 'f', 'P', 'p', 'T', 't', 'C', 'c':
	default:
		return false
	}
	plain := strings.ToLower(strings.ReplaceAll(name, "_", "-"))
	switch plain {
	case "forwarded", "x-forwarded", "x-real-ip", "x-request-id", "x-client-ip", "x-cluster-client-ip", "true-client-ip",
		"cf-connecting-ip", "client-ip", "proxy":
		return true
	}
	return strings.HasPrefix(plain, "x-forwarded-")
}

// trust lists the networks of proxies in front of the gateway, whose word about the client counts.
type trust struct{ networks []netip.Prefix }

func (t trust) includes(ip netip.Addr) bool {
	return slices.ContainsFunc(t.networks, func(n netip.Prefix) bool { return n.Contains(ip) })
}

// forwarded is what a trusted proxy said about a request.
type forwarded struct {
	chain  string // X-Forwarded-For with the proxy itself at the end
	scheme string
}

// maxChain bounds what is kept of X-Forwarded-For, in addresses.
const maxChain = 32

// client is who sent a request: the peer, or, when that is a trusted proxy, the last address of X-Forwarded-For that is
// none. An entry that is no address ends the search: what stands before it was said by nobody we know.
func (t trust) client(r *http.Request) (netip.Addr, *forwarded) {
	peer := peerOf(r)
	if len(t.networks) == 0 || !t.includes(peer) {
		return peer, nil
	}
	said := &forwarded{chain: peer.String(), scheme: "http"}
	if s := r.Header.Get("X-Forwarded-Proto"); s == "https" || s == "http" && r.TLS == nil {
		said.scheme = s
	} else if r.TLS != nil {
		said.scheme = "https"
	}
	client := peer
	entries := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(entries) - 1; i >= max(0, len(entries)-maxChain); i-- {
		ip, err := netip.ParseAddr(strings.TrimSpace(entries[i]))
		if err != nil {
			break
		}
		said.chain = ip.String() + ", " + said.chain
		if client = ip.Unmap(); !t.includes(client) {
			break
		}
	}
	return client, said
}

func peerOf(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return peer.Addr().Unmap().WithZone("")
}

// requestID is a new one, or that of a trusted proxy.
func requestID(r *http.Request, trusted bool) string {
	if said := r.Header.Get("X-Request-Id"); trusted && validRequestID(said) {
		return said
	}
	var b [16]byte
	for i := 0; i < len(b); i += 8 {
		n := rand.Uint64() //nolint:gosec // a name, no secret
		for j := range 8 {
			b[i+j] = byte(n >> (8 * j))
		}
	}
	return hex.EncodeToString(b[:])
}

func validRequestID(id string) bool {
	return id != "" && len(id) <= 128 && strings.IndexFunc(id, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
	}) < 0
}
