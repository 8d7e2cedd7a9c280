package ca_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/url"
	"testing"
	"time"

	"pandu/modules/kit/ca"
)

const serverID = "0193e0b0-6c1e-7a54-9f0b-2f6f0a4c8b11"

func fixed(t time.Time) func() time.Time { return func() time.Time { return t } }

var start = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func newCA(t *testing.T, now func() time.Time) *ca.CA {
	t.Helper()
	c, err := ca.NewCA(now)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func request(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func p256(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func serverCertificate(t *testing.T, c *ca.CA) tls.Certificate {
	t.Helper()
	key := p256(t)
	der, err := c.IssueServer(serverID, request(t, key))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func TestServerIDRoundTripAndRenewal(t *testing.T) {
	c := newCA(t, fixed(start))
	leaf := serverCertificate(t, c).Leaf
	if id, err := ca.ServerID(leaf); err != nil || id != serverID {
		t.Errorf("server id is %q, %v", id, err)
	}
	if err := ca.CheckManager(leaf); !errors.Is(err, ca.ErrIdentity) {
		t.Errorf("a server passes for a manager: %v", err)
	}
	if at := ca.RenewAt(leaf); !at.After(start.Add(4*24*time.Hour)) || !at.Before(start.Add(5*24*time.Hour)) {
		t.Errorf("renewed at %v", at)
	}
}

func TestLoadGivesTheSameAuthority(t *testing.T) {
	c := newCA(t, fixed(start))
	cert, key, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ca.Load(cert, key, fixed(start))
	if err != nil || again.Fingerprint() != c.Fingerprint() {
		t.Errorf("loaded %v, %v", again, err)
	}
	_, otherKey, err := newCA(t, fixed(start)).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ca.Load(cert, otherKey, fixed(start)); err == nil {
		t.Error("a foreign key was loaded")
	}
}

func TestIssueServerRefuses(t *testing.T) {
	c := newCA(t, fixed(start))
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	forged := request(t, p256(t))
	forged[len(forged)-1] ^= 1
	for name, tc := range map[string]struct {
		id  string
		csr []byte
	}{
		"no uuid":         {"manager", request(t, p256(t))},
		"other uuid form": {"{" + serverID + "}", request(t, p256(t))},
		"path in the id":  {serverID + "/../x", request(t, p256(t))},
		"P-384":           {serverID, request(t, p384)},
		"Ed25519":         {serverID, request(t, ed)},
		"bad signature":   {serverID, forged},
		"garbage":         {serverID, []byte("csr")},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := c.IssueServer(tc.id, tc.csr); err == nil {
				t.Error("issued")
			}
		})
	}
}

func TestIdentityIsStrict(t *testing.T) {
	for _, text := range []string{
		"pandu://server/", "pandu://server", "pandu://server/x", "pandu://server/" + serverID + "/y", "pandu://server/" + serverID + "?a",
		"pandu://server/" + serverID + "#a", "pandu://u@server/" + serverID, "other://server/" + serverID, "pandu://manager/" + serverID,
	} {
		uri, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if id, err := ca.ServerID(&x509.Certificate{URIs: []*url.URL{uri}}); err == nil {
			t.Errorf("%s was read as %s", text, id)
		}
	}
	good, err := url.Parse("pandu://server/" + serverID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ca.ServerID(&x509.Certificate{URIs: []*url.URL{good, good}}); err == nil {
		t.Error("two identities in one certificate were accepted")
	}
}

func TestHandshakes(t *testing.T) {
	c, foreign := newCA(t, fixed(start)), newCA(t, fixed(start))
	agent, stranger := serverCertificate(t, c), serverCertificate(t, foreign)
	trust := func() []*x509.Certificate { return []*x509.Certificate{c.Certificate()} }
	presenting := func(cert tls.Certificate, now time.Time) *tls.Config {
		return ca.ServerConfig(trust, func() (*tls.Certificate, error) { return &cert, nil }, fixed(now))
	}
	serverAsManager := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{agent}, Time: fixed(start)}
	week := start.Add(8 * 24 * time.Hour)
	cases := []struct {
		name           string
		server, client *tls.Config
		ok             bool
		id             string
	}{
		{"agent", c.ManagerConfig(nil), presenting(agent, start), true, serverID},
		{"joining", c.ManagerConfig([]string{"panel.example"}), ca.JoinConfig(c.Fingerprint(), fixed(start)), true, ""},
		{"joining another authority", foreign.ManagerConfig(nil), ca.JoinConfig(c.Fingerprint(), fixed(start)), false, ""},
		{"manager of another authority", foreign.ManagerConfig(nil), presenting(agent, start), false, ""},
		{"agent of another authority", c.ManagerConfig(nil), presenting(stranger, start), false, ""},
		{"server that plays a manager", serverAsManager, presenting(agent, start), false, ""},
		{"agent's clock is a week ahead", c.ManagerConfig(nil), presenting(agent, week), false, ""},
		{"two authorities during a change", c.ManagerConfig(nil, foreign.Certificate()), presenting(stranger, start), true, serverID},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			state, err := handshake(t, tc.server, tc.client)
			if (err == nil) != tc.ok {
				t.Fatalf("handshake: %v", err)
			}
			if !tc.ok {
				return
			}
			if id, err := ca.PeerServer(state); (err == nil) != (tc.id != "") || id != tc.id {
				t.Errorf("peer is %q, %v", id, err)
			}
		})
	}
}

func TestManagerSpeaksToManager(t *testing.T) {
	c := newCA(t, fixed(start))
	state, err := handshake(t, c.ManagerConfig(nil), c.PeerConfig())
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.PeerManager(state); err != nil {
		t.Error(err)
	}
}

func TestManagerRenewsItsOwnCertificate(t *testing.T) {
	now := start
	c := newCA(t, func() time.Time { return now })
	cfg := c.ManagerConfig(nil)
	first, err := cfg.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	if same, _ := cfg.GetCertificate(nil); same != first {
		t.Error("a fresh certificate was made again")
	}
	now = start.Add(6 * 24 * time.Hour)
	second, err := cfg.GetCertificate(nil)
	if err != nil || second == first {
		t.Errorf("certificate was not made again: %v", err)
	}
}

// handshake returns what the server sees, once both sides have spoken a byte: TLS 1.3 tells a client late that it was refused.
func handshake(t *testing.T, serverConfig, clientConfig *tls.Config) (*tls.ConnectionState, error) {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", serverConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	seen := make(chan tls.ConnectionState, 1)
	go func() {
		defer close(seen)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("x")); err == nil {
			seen <- conn.(*tls.Conn).ConnectionState()
		}
	}()
	client, err := tls.Dial("tcp", listener.Addr().String(), clientConfig)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
		return nil, err
	}
	state, ok := <-seen
	if !ok {
		return nil, errors.New("server refused")
	}
	return &state, nil
}
