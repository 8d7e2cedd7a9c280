package link

import "net/http"

// Transport reaches whichever manager the session is with, or the one that was tried last while there is none. It is for bulk
// (images, builds, variables) and has connections of its own, so that a heartbeat never waits behind an image. The host
// of a request does not matter. Close its idle connections after a renewal, and at the end.
func (l *Link) Transport() *Bulk { return &Bulk{link: l, base: l.transport()} }

// Bulk is an http.RoundTripper.
type Bulk struct {
	link *Link
	base *http.Transport
}

// RoundTrip sends the request to a manager.
func (b *Bulk) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = "https", b.Address()
	return b.base.RoundTrip(r)
}

// Address is where the next request goes, as host:port: the manager of the session, or the one that was tried last.
func (b *Bulk) Address() string {
	if address := b.link.State().Address; address != "" {
		return address
	}
	return b.link.deps.Addresses[b.link.start]
}

// CloseIdleConnections closes what is not in use.
func (b *Bulk) CloseIdleConnections() { b.base.CloseIdleConnections() }
