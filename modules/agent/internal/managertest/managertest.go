// Package managertest is a manager for the agent's tests: the real wire (Connect over HTTP/2 and mutual TLS) with a
// script in place of the database. It decides nothing by itself.
package managertest

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/agentv1/agentv1connect"
	"pandu/modules/kit/ca"
	"pandu/modules/kit/jointoken"
)

// Patience is how long a test waits for a state before it fails.
const Patience = 15 * time.Second

// ServerID is the server that every token is for.
const ServerID = "0193e0b0-6c1e-7a54-9f0b-2f6f0a4c8b11"

// Manager is one manager process.
type Manager struct {
	agentv1connect.UnimplementedEnrollServiceHandler
	agentv1connect.UnimplementedBuildServiceHandler

	CA      *ca.CA
	Address string

	sessions chan *Session
	chunks   chan *agentv1.LogChunk
	server   *http.Server
	done     chan struct{}

	mu        sync.Mutex
	tokens    map[string]bool
	renewals  int
	variables map[string]map[string]string
	registry  string
}

// NewCA makes an authority.
func NewCA(t testing.TB, now func() time.Time) *ca.CA {
	t.Helper()
	authority, err := ca.NewCA(now)
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

// Start starts a manager on a free port; it ends with the test.
func Start(t testing.TB, authority *ca.CA) *Manager {
	t.Helper()
	return StartAt(t, authority, "127.0.0.1:0")
}

// StartAt is Start at an address.
func StartAt(t testing.TB, authority *ca.CA, address string) *Manager {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	m := &Manager{
		CA: authority, Address: listener.Addr().String(), sessions: make(chan *Session, 16), chunks: make(chan *agentv1.LogChunk, 64),
		done: make(chan struct{}), tokens: map[string]bool{}, variables: map[string]map[string]string{},
	}
	mux := http.NewServeMux()
	mux.Handle(agentv1connect.NewEnrollServiceHandler(m))
	mux.Handle(agentv1connect.NewSessionServiceHandler(sessionDoor{m}))
	mux.Handle(agentv1connect.NewLogServiceHandler(m))
	mux.Handle(agentv1connect.NewSecretServiceHandler(m))
	mux.Handle(agentv1connect.NewBuildServiceHandler(m))
	mux.HandleFunc("/v2/", m.images)
	m.server = &http.Server{Handler: mux, TLSConfig: authority.ManagerConfig(nil), ErrorLog: log.New(io.Discard, "", 0)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = m.server.ServeTLS(listener, "", "")
	}()
	t.Cleanup(func() { m.Stop(); <-ended })
	return m
}

// Stop ends the process at once, as a kill would.
func (m *Manager) Stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.done:
		return
	default:
	}
	close(m.done)
	_ = m.server.Close()
}

// Token makes a join token that works once.
func (m *Manager) Token() string {
	token := jointoken.New(m.CA.Fingerprint())
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tokens[string(token.Hash())] = true
	return token.Encode()
}

// Renewals is how often a certificate was renewed.
func (m *Manager) Renewals() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.renewals
}

// SetVariables says what SecretService gives for an instance.
func (m *Manager) SetVariables(instance string, variables map[string]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.variables[instance] = variables
}

// SetRegistry says which plain registry (host:port) stands behind /v2/. Only a server with a certificate reaches it.
func (m *Manager) SetRegistry(address string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.registry = address
}

func (m *Manager) images(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	address := m.registry
	m.mu.Unlock()
	if _, err := ca.PeerServer(r.TLS); err != nil || address == "" {
		http.Error(w, "not for you", http.StatusForbidden)
		return
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(&url.URL{Scheme: "http", Host: address}) }}
	proxy.ServeHTTP(w, r)
}

// Chunk waits for the next chunk of a log.
func (m *Manager) Chunk(t testing.TB) *agentv1.LogChunk {
	t.Helper()
	return receive(t, m.chunks, "log chunk")
}

// Sessions gives the sessions as they are opened.
func (m *Manager) Sessions() <-chan *Session { return m.sessions }

// Session waits for the next session.
func (m *Manager) Session(t testing.TB) *Session {
	t.Helper()
	return receive(t, m.sessions, "session")
}

func receive[T any](t testing.TB, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(Patience):
		t.Fatalf("no %s in %v", what, Patience)
		panic("unreachable")
	}
}

// Enroll spends a token.
func (m *Manager) Enroll(_ context.Context, req *connect.Request[agentv1.EnrollRequest]) (*connect.Response[agentv1.EnrollResponse], error) {
	token, err := jointoken.Parse(req.Msg.GetToken())
	if err != nil {
		return nil, connect.NewError(connect.CodePermissionDenied, err)
	}
	m.mu.Lock()
	known := m.tokens[string(token.Hash())]
	delete(m.tokens, string(token.Hash()))
	m.mu.Unlock()
	if !known {
		return nil, connect.NewError(connect.CodePermissionDenied, errors.New("unknown, used or expired"))
	}
	der, err := m.CA.IssueServer(ServerID, req.Msg.GetCsrDer())
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	return connect.NewResponse(&agentv1.EnrollResponse{ServerId: ServerID, CertificateDer: der, CaDer: [][]byte{m.CA.Certificate().Raw}}), nil
}

// Renew issues a new certificate.
func (m *Manager) Renew(_ context.Context, req *connect.Request[agentv1.RenewRequest]) (*connect.Response[agentv1.RenewResponse], error) {
	der, err := m.CA.IssueServer(ServerID, req.Msg.GetCsrDer())
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	m.mu.Lock()
	m.renewals++
	m.mu.Unlock()
	return connect.NewResponse(&agentv1.RenewResponse{CertificateDer: der, CaDer: [][]byte{m.CA.Certificate().Raw}}), nil
}

// Variables gives what SetVariables said.
func (m *Manager) Variables(_ context.Context, req *connect.Request[agentv1.VariablesRequest]) (*connect.Response[agentv1.VariablesResponse], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, ok := m.variables[req.Msg.GetInstanceId()]
	if !ok {
		return nil, connect.NewError(connect.CodeNotFound, errors.New("no such instance"))
	}
	return connect.NewResponse(&agentv1.VariablesResponse{Variables: found}), nil
}

// Send collects the chunks of logs.
func (m *Manager) Send(ctx context.Context, stream *connect.ClientStream[agentv1.LogChunk]) (*connect.Response[agentv1.LogReceived], error) {
	for stream.Receive() {
		select {
		case m.chunks <- stream.Msg():
		case <-m.done:
			return nil, errors.New("stopped")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return connect.NewResponse(&agentv1.LogReceived{}), stream.Err()
}

type sessionDoor struct{ manager *Manager }

// Session holds a session until the test or either side ends it.
func (d sessionDoor) Session(ctx context.Context, stream *connect.BidiStream[agentv1.AgentMessage, agentv1.ManagerMessage]) error {
	return d.manager.hold(ctx, stream)
}
