package ca

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrFingerprint says that a peer's chain does not hold the authority that a join token names.
var ErrFingerprint = errors.New("peer does not present the expected authority")

// ManagerConfig is the server side of a manager: TLS 1.3, HTTP/2, its own certificate (made again in time, without a
// restart), and a client certificate that is verified when one is given. Without one only enrolment is possible: each
// door asks with PeerServer. trusted are all authorities whose certificates count, usually c alone.
func (c *CA) ManagerConfig(hosts []string, trusted ...*x509.Certificate) *tls.Config {
	own := &managerCertificate{ca: c, hosts: hosts}
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		NextProtos:     []string{"h2"},
		ClientAuth:     tls.VerifyClientCertIfGiven,
		ClientCAs:      pool(c.trusting(trusted)),
		Time:           c.now,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return own.get() },
	}
}

// PeerConfig is a manager's client side towards another manager.
func (c *CA) PeerConfig(trusted ...*x509.Certificate) *tls.Config {
	own := &managerCertificate{ca: c}
	all := c.trusting(trusted)
	cfg := clientConfig(func() []*x509.Certificate { return all }, c.now)
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own.get() }
	return cfg
}

func (c *CA) trusting(others []*x509.Certificate) []*x509.Certificate {
	return append([]*x509.Certificate{c.certificate}, others...)
}

// ServerConfig is the client side of a server's agent: it trusts only these authorities, checks that the peer is a
// manager by its identity and not by its host name, and sends its certificate always, whatever the peer says it accepts.
// Both functions are asked at every handshake, so that a renewal needs no new configuration.
func ServerConfig(trusted func() []*x509.Certificate, certificate func() (*tls.Certificate, error), now func() time.Time) *tls.Config {
	cfg := clientConfig(trusted, now)
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate() }
	return cfg
}

// JoinConfig is the client side of a server that has only a join token: the peer's chain must hold the authority with
// this fingerprint, and that authority must have signed a manager's certificate.
func JoinConfig(fingerprint [sha256.Size]byte, now func() time.Time) *tls.Config {
	cfg := clientConfig(nil, now)
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		for _, certificate := range state.PeerCertificates {
			if sha256.Sum256(certificate.Raw) == fingerprint && certificate.IsCA {
				return verifyManager(state, []*x509.Certificate{certificate}, now())
			}
		}
		return ErrFingerprint
	}
	return cfg
}

// PeerServer is the id of the server at the other end of a verified connection. Call it on every request of an agent.
func PeerServer(state *tls.ConnectionState) (string, error) {
	leaf, err := verifiedLeaf(state)
	if err != nil {
		return "", err
	}
	return ServerID(leaf)
}

// PeerManager returns an error when the other end of a verified connection is not a manager.
func PeerManager(state *tls.ConnectionState) error {
	leaf, err := verifiedLeaf(state)
	if err != nil {
		return err
	}
	return CheckManager(leaf)
}

func verifiedLeaf(state *tls.ConnectionState) (*x509.Certificate, error) {
	if state == nil || len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return nil, fmt.Errorf("%w: no verified certificate", ErrIdentity)
	}
	return state.VerifiedChains[0][0], nil
}

// clientConfig turns off the verification by host name and puts our own, stricter one in its place. Sessions are not
// resumed, so the peer is verified on every connection.
func clientConfig(trusted func() []*x509.Certificate, now func() time.Time) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{"h2"},
		InsecureSkipVerify:     true, //nolint:gosec // VerifyConnection checks chain, usage and identity
		SessionTicketsDisabled: true,
		Time:                   now,
		VerifyConnection: func(state tls.ConnectionState) error {
			return verifyManager(state, trusted(), now())
		},
	}
}

func verifyManager(state tls.ConnectionState, trusted []*x509.Certificate, now time.Time) error {
	if len(state.PeerCertificates) == 0 {
		return fmt.Errorf("%w: no certificate", ErrIdentity)
	}
	leaf := state.PeerCertificates[0]
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots:       pool(trusted),
		CurrentTime: now,
		KeyUsages:   []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return fmt.Errorf("verify manager: %w", err)
	}
	return CheckManager(leaf)
}

func pool(certificates []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, certificate := range certificates {
		p.AddCert(certificate)
	}
	return p
}

// managerCertificate keeps one certificate and makes a new one at two thirds of its life.
type managerCertificate struct {
	ca    *CA
	hosts []string

	mu      sync.Mutex
	current *tls.Certificate
}

func (m *managerCertificate) get() (*tls.Certificate, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current != nil && m.ca.now().Before(RenewAt(m.current.Leaf)) {
		return m.current, nil
	}
	made, err := m.ca.IssueManager(m.hosts)
	if err != nil {
		return nil, err
	}
	m.current = &made
	return m.current, nil
}

// RenewAt is two thirds into a certificate's life.
func RenewAt(certificate *x509.Certificate) time.Time {
	life := certificate.NotAfter.Sub(certificate.NotBefore)
	return certificate.NotBefore.Add(life * 2 / 3)
}
