package ca

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"

	"github.com/google/uuid"
)

const scheme = "pandu"

// ErrIdentity says that a certificate does not name what was expected in its one URI.
var ErrIdentity = errors.New("certificate has another identity")

// ServerID is the uuid of the server that a certificate belongs to. The certificate's chain is not looked at: TLS did.
// The error is ErrIdentity.
func ServerID(certificate *x509.Certificate) (string, error) {
	identity, err := identityOf(certificate)
	if err != nil {
		return "", err
	}
	if identity.Host != "server" || len(identity.Path) < 2 {
		return "", fmt.Errorf("%w: not a server", ErrIdentity)
	}
	id, err := canonical(identity.Path[1:])
	if err != nil {
		return "", fmt.Errorf("%w: not a server", ErrIdentity)
	}
	return id, nil
}

// CheckManager returns ErrIdentity when a certificate is not a manager's.
func CheckManager(certificate *x509.Certificate) error {
	identity, err := identityOf(certificate)
	if err != nil {
		return err
	}
	if *identity != *managerURI() {
		return fmt.Errorf("%w: not a manager", ErrIdentity)
	}
	return nil
}

// identityOf is strict: exactly one URI, ours, with nothing but a host and a path.
func identityOf(certificate *x509.Certificate) (*url.URL, error) {
	if certificate == nil || len(certificate.URIs) != 1 {
		return nil, fmt.Errorf("%w: expected exactly one URI", ErrIdentity)
	}
	identity := certificate.URIs[0]
	plain := url.URL{Scheme: scheme, Host: identity.Host, Path: identity.Path}
	if *identity != plain {
		return nil, fmt.Errorf("%w: unexpected URI", ErrIdentity)
	}
	return identity, nil
}

func managerURI() *url.URL { return &url.URL{Scheme: scheme, Host: "manager"} }

func serverURI(id string) (*url.URL, error) {
	id, err := canonical(id)
	if err != nil {
		return nil, err
	}
	return &url.URL{Scheme: scheme, Host: "server", Path: "/" + id}, nil
}

// canonical accepts only the form a uuid prints itself in: one server has one identity.
func canonical(id string) (string, error) {
	parsed, err := uuid.Parse(id)
	if err != nil || parsed.String() != id || parsed == uuid.Nil {
		return "", fmt.Errorf("server id %q is not a uuid", id)
	}
	return id, nil
}
