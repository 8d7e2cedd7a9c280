// Package ca is the small certificate authority between managers and the servers they command.
//
// Who a peer is stands in exactly one URI of its certificate: pandu://server/<uuid> or pandu://manager. Host names and
// subjects mean nothing here. Certificates live seven days; an expired one ends conversations, nothing else. The package
// keeps no files and decides no rights: who may have a certificate is the caller's business.
package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"time"
)

// Life is how long a certificate of a server or a manager is valid; it is renewed at two thirds.
const Life = 7 * 24 * time.Hour

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	backdate      = time.Hour // a peer's clock may be a little behind
)

// CA signs certificates. It is safe for concurrent use.
type CA struct {
	certificate *x509.Certificate
	key         crypto.Signer
	now         func() time.Time
}

// NewCA makes a new authority with a key of its own, valid for ten years.
func NewCA(now func() time.Time) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate authority key: %w", err)
	}
	at := now()
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "Pandu agents " + at.UTC().Format(time.DateOnly)},
		NotBefore:             at.Add(-backdate),
		NotAfter:              at.Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign authority: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse authority: %w", err)
	}
	return &CA{certificate: certificate, key: key, now: now}, nil
}

// Load makes an authority of what Marshal gave.
func Load(certificateDER, keyDER []byte, now func() time.Time) (*CA, error) {
	certificate, err := x509.ParseCertificate(certificateDER)
	if err != nil {
		return nil, fmt.Errorf("parse authority: %w", err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyDER)
	if err != nil {
		return nil, fmt.Errorf("parse authority key: %w", err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(certificate.PublicKey) || !certificate.IsCA {
		return nil, errors.New("load authority: key and certificate do not belong together")
	}
	return &CA{certificate: certificate, key: key, now: now}, nil
}

// Marshal gives the certificate (DER) and the private key (PKCS #8 DER), which the caller keeps sealed.
func (c *CA) Marshal() (certificateDER, keyDER []byte, err error) {
	keyDER, err = x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		return nil, nil, fmt.Errorf("marshal authority key: %w", err)
	}
	return c.certificate.Raw, keyDER, nil
}

// Certificate is the authority's own certificate.
func (c *CA) Certificate() *x509.Certificate { return c.certificate }

// Fingerprint is the SHA-256 of the authority's certificate, as a join token carries it.
func (c *CA) Fingerprint() [sha256.Size]byte { return sha256.Sum256(c.certificate.Raw) }

// IssueServer signs a server's request (PKCS #10 DER, ECDSA P-256). Only its key counts; who it is for is serverID, a
// uuid in its canonical form. It returns the certificate's DER form.
func (c *CA) IssueServer(serverID string, csrDER []byte) ([]byte, error) {
	identity, err := serverURI(serverID)
	if err != nil {
		return nil, err
	}
	request, err := x509.ParseCertificateRequest(csrDER)
	if err != nil {
		return nil, fmt.Errorf("parse certificate request: %w", err)
	}
	if err := request.CheckSignature(); err != nil {
		return nil, fmt.Errorf("check certificate request: %w", err)
	}
	key, ok := request.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("check certificate request: key is not ECDSA P-256")
	}
	template := c.template(identity, x509.ExtKeyUsageClientAuth)
	der, err := x509.CreateCertificate(rand.Reader, template, c.certificate, key, c.key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	return der, nil
}

// IssueManager makes a key and a certificate for a manager. hosts (names or addresses) are put in for tools that look at
// them; agents do not. The chain ends with the authority, so that a joining server can check its fingerprint.
func (c *CA) IssueManager(hosts []string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("generate manager key: %w", err)
	}
	template := c.template(managerURI(), x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.certificate, key.Public(), c.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("sign certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("parse certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der, c.certificate.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

func (c *CA) template(identity *url.URL, usage ...x509.ExtKeyUsage) *x509.Certificate {
	now := c.now()
	return &x509.Certificate{
		SerialNumber:          serial(),
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(Life),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           usage,
		BasicConstraintsValid: true,
		URIs:                  []*url.URL{identity},
	}
}

func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[0] &= 0x7f // positive
	return new(big.Int).SetBytes(b[:])
}
