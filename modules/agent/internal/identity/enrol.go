package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/agentv1/agentv1connect"
	"pandu/modules/kit/ca"
	"pandu/modules/kit/jointoken"
)

const (
	callTimeout = 20 * time.Second // of one manager address
	maxMessage  = 4 << 20          // bytes
)

var errNoManager = errors.New("no manager address is known")

// join spends a token. without is the error when there is none.
func (i *Identity) join(ctx context.Context, without error) error {
	if i.deps.Token == nil {
		return without
	}
	text, err := i.deps.Token(ctx)
	if err != nil {
		return fmt.Errorf("get join token: %w", err)
	}
	if text == "" {
		return without
	}
	token, err := jointoken.Parse(text)
	if err != nil {
		return fmt.Errorf("read join token: %w", err)
	}
	key, csr, err := request()
	if err != nil {
		return err
	}
	var answer *agentv1.EnrollResponse
	err = i.ask(ctx, ca.JoinConfig(token.Fingerprint, i.deps.Now), func(ctx context.Context, client agentv1connect.EnrollServiceClient) error {
		res, err := client.Enroll(ctx, connect.NewRequest(&agentv1.EnrollRequest{Token: text, CsrDer: csr}))
		if err == nil {
			answer = res.Msg
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	return i.keep("join", key, answer.GetCertificateDer(), answer.GetCaDer())
}

// renew exchanges the certificate for a new one, with a new key.
func (i *Identity) renew(ctx context.Context) error {
	key, csr, err := request()
	if err != nil {
		return err
	}
	var answer *agentv1.RenewResponse
	err = i.ask(ctx, i.TLS(), func(ctx context.Context, client agentv1connect.EnrollServiceClient) error {
		res, err := client.Renew(ctx, connect.NewRequest(&agentv1.RenewRequest{CsrDer: csr}))
		if err == nil {
			answer = res.Msg
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("renew certificate: %w", err)
	}
	return i.keep("renew certificate", key, answer.GetCertificateDer(), answer.GetCaDer())
}

func (i *Identity) keep(what string, key *ecdsa.PrivateKey, certificate []byte, trusted [][]byte) error {
	found, err := newCredentials(key, certificate, trusted)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := i.store(found); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	i.take(found)
	i.deps.Logger.Info("server certificate received", "server_id", found.serverID, "not_after", found.certificate.NotAfter)
	return nil
}

// ask calls the managers one after the other until one answers.
func (i *Identity) ask(ctx context.Context, cfg *tls.Config, call func(context.Context, agentv1connect.EnrollServiceClient) error) error {
	err := errNoManager
	for _, address := range i.deps.Addresses {
		if err = i.askOne(ctx, address, cfg, call); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

func (i *Identity) askOne(ctx context.Context, address string, cfg *tls.Config, call func(context.Context, agentv1connect.EnrollServiceClient) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	transport := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true, TLSHandshakeTimeout: callTimeout}
	defer transport.CloseIdleConnections()
	client := agentv1connect.NewEnrollServiceClient(&http.Client{Transport: transport}, "https://"+address, connect.WithReadMaxBytes(maxMessage))
	if err := call(ctx, client); err != nil {
		return fmt.Errorf("ask manager at %s: %w", address, err)
	}
	return nil
}

// request makes a fresh P-256 key and a certificate request for it.
func request() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generate key: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, nil, fmt.Errorf("make certificate request: %w", err)
	}
	return key, csr, nil
}
