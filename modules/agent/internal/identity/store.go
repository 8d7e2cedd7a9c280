package identity

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"pandu/modules/kit/ca"
)

var errDamaged = errors.New("identity file is damaged")

// newCredentials checks what a manager answered before anything is kept.
func newCredentials(key *ecdsa.PrivateKey, certificateDER []byte, trustedDER [][]byte) (*credentials, error) {
	certificate, err := x509.ParseCertificate(certificateDER)
	if err != nil {
		return nil, fmt.Errorf("parse certificate: %w", err)
	}
	if !key.PublicKey.Equal(certificate.PublicKey) {
		return nil, errors.New("certificate is not for our key")
	}
	c := &credentials{key: key, certificate: certificate}
	if c.serverID, err = ca.ServerID(certificate); err != nil {
		return nil, err
	}
	for _, der := range trustedDER {
		authority, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("parse authority: %w", err)
		}
		c.trusted = append(c.trusted, authority)
	}
	if len(c.trusted) == 0 {
		return nil, errors.New("no authority to trust")
	}
	return c, nil
}

// store replaces the identity file; after a crash it is the old or the new one, whole.
func (i *Identity) store(c *credentials) error {
	b, err := encode(c)
	if err != nil {
		return fmt.Errorf("encode identity: %w", err)
	}
	path := filepath.Join(i.deps.Dir, fileName)
	f, err := os.CreateTemp(i.deps.Dir, "."+fileName+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write identity: %w", err), os.Remove(f.Name()))
	}
	return syncDir(i.deps.Dir)
}

func syncDir(path string) error {
	d, err := os.Open(path) //nolint:gosec // the directory is a setting
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}

func encode(c *credentials) ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		return nil, err
	}
	b := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	for _, certificate := range append([]*x509.Certificate{c.certificate}, c.trusted...) {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})...)
	}
	return b, nil
}

func decode(b []byte) (*credentials, error) {
	var key *ecdsa.PrivateKey
	var certificates [][]byte
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "PRIVATE KEY":
			parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, errors.Join(errDamaged, err)
			}
			key, _ = parsed.(*ecdsa.PrivateKey)
		case "CERTIFICATE":
			certificates = append(certificates, block.Bytes)
		}
	}
	if key == nil || len(certificates) < 2 {
		return nil, errDamaged
	}
	c, err := newCredentials(key, certificates[0], certificates[1:])
	if err != nil {
		return nil, errors.Join(errDamaged, err)
	}
	return c, nil
}
