package servers_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"google.golang.org/protobuf/proto"

	"pandu/jobs"
	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/agentv1/agentv1connect"
	"pandu/modules/kit/ca"
	"pandu/modules/kit/jointoken"
	"pandu/modules/kit/pg"
	"pandu/modules/kit/pgtest"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/servers"
)

// house is a database with one manager; another adds a process to it.
type house struct {
	t         *testing.T
	db        *pg.DB
	authority *ca.CA
	orders    *jobs.Orders
	alive     map[uuid.UUID]string // processes that beat, and where their peers find them
	mu        sync.Mutex
	*manager
}

// manager is one process with its listener for agents.
type manager struct {
	*servers.Service
	address string
	process uuid.UUID
	http    *http.Server
}

func newHouse(t *testing.T, change ...func(*servers.Deps)) *house {
	t.Helper()
	h := &house{t: t, db: pgtest.New(t), alive: map[uuid.UUID]string{}}
	var err error
	h.authority, err = ca.NewCA(time.Now)
	must(t, err)
	client, err := river.NewClient(riverpgxv5.New(h.db.Pool), &river.Config{Schema: "river"})
	must(t, err)
	h.orders = jobs.NewOrders(client)
	h.manager = h.another(change...)
	return h
}

func (h *house) another(change ...func(*servers.Deps)) *manager {
	h.t.Helper()
	m := &manager{process: uuid.New()}
	deps := servers.Deps{
		DB: h.db, Orders: h.orders, Log: slog.New(slog.DiscardHandler), Process: m.process, AgentURL: "panel.test:8443", Beat: time.Hour,
		Authority: func(context.Context) (*ca.CA, error) { return h.authority, nil },
		Live: func(context.Context) (ids []uuid.UUID, _ error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			for id := range h.alive {
				ids = append(ids, id)
			}
			return ids, nil
		},
		Peer: func(_ context.Context, id uuid.UUID) (string, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.alive[id], nil
		},
	}
	for _, fn := range change {
		fn(&deps)
	}
	m.Service = servers.New(deps)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(h.t, err)
	m.address = l.Addr().String()
	mux := http.NewServeMux()
	m.Mount(mux)
	m.http = &http.Server{Handler: m.Identify(mux), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = m.http.Serve(tls.NewListener(l, h.authority.ManagerConfig(nil)))
	}()
	h.t.Cleanup(func() { _ = m.http.Close(); <-ended })
	h.live(m.process, m.address)
	return m
}

func (h *house) live(process uuid.UUID, address string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.alive[process] = address
}

func (h *house) dead(process uuid.UUID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.alive, process)
}

func (h *house) tx(fn func(tx pgx.Tx) error) {
	h.t.Helper()
	must(h.t, h.db.InTx(context.Background(), fn))
}

func (h *house) exec(sql string, args ...any) {
	h.t.Helper()
	_, err := h.db.Pool.Exec(context.Background(), sql, args...)
	must(h.t, err)
}

func value[T any](h *house, sql string, args ...any) (v T) {
	h.t.Helper()
	must(h.t, h.db.Pool.QueryRow(context.Background(), sql, args...).Scan(&v))
	return v
}

var operator = identity.System(uuid.Nil, "test")

// agent is a server that has joined.
type agent struct {
	h           *house
	id          uuid.UUID
	certificate tls.Certificate
}

// add makes a server and its join token.
func (h *house) add(name string) (uuid.UUID, jointoken.Token) {
	h.t.Helper()
	s, token, err := h.Add(context.Background(), operator, name)
	must(h.t, err)
	return s.ID, token
}

// join makes a server that has enrolled.
func (h *house) join(name string) *agent {
	h.t.Helper()
	_, token := h.add(name)
	a, err := h.enrol(token)
	must(h.t, err)
	return a
}

func (h *house) enrol(token jointoken.Token) (*agent, error) {
	h.t.Helper()
	key, csr := request(h.t)
	client := agentv1connect.NewEnrollServiceClient(h2(h.t, ca.JoinConfig(h.authority.Fingerprint(), time.Now)), "https://"+h.address)
	res, err := client.Enroll(context.Background(), connect.NewRequest(&agentv1.EnrollRequest{Token: token.Encode(), CsrDer: csr}))
	if err != nil {
		return nil, err
	}
	id, err := uuid.Parse(res.Msg.GetServerId())
	must(h.t, err)
	return &agent{h: h, id: id, certificate: tls.Certificate{Certificate: [][]byte{res.Msg.GetCertificateDer()}, PrivateKey: key}}, nil
}

func request(t *testing.T) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	must(t, err)
	return key, csr
}

func h2(t *testing.T, cfg *tls.Config) *http.Client {
	transport := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func (a *agent) http() *http.Client {
	return h2(a.h.t, ca.ServerConfig(func() []*x509.Certificate { return []*x509.Certificate{a.h.authority.Certificate()} },
		func() (*tls.Certificate, error) { return &a.certificate, nil }, time.Now))
}

func (a *agent) renew() ([]byte, error) {
	key, csr := request(a.h.t)
	res, err := agentv1connect.NewEnrollServiceClient(a.http(), "https://"+a.h.address).
		Renew(context.Background(), connect.NewRequest(&agentv1.RenewRequest{CsrDer: csr}))
	if err != nil {
		return nil, err
	}
	a.certificate = tls.Certificate{Certificate: [][]byte{res.Msg.GetCertificateDer()}, PrivateKey: key}
	return res.Msg.GetCertificateDer(), nil
}

// session is an agent's side of a session.
type session struct {
	t      *testing.T
	a      *agent
	stream *connect.BidiStreamForClient[agentv1.AgentMessage, agentv1.ManagerMessage]
	in     chan *agentv1.ManagerMessage
	over   chan error // what the session ended with
}

// connect opens a session to a manager with what the agent says it holds.
func (a *agent) connect(m *manager, hello *agentv1.Hello) *session {
	a.h.t.Helper()
	hello.Capabilities = append(hello.Capabilities, "run", "build")
	ctx, cancel := context.WithCancel(context.Background())
	a.h.t.Cleanup(cancel)
	s := &session{t: a.h.t, a: a, in: make(chan *agentv1.ManagerMessage, 100), over: make(chan error, 1)}
	s.stream = agentv1connect.NewSessionServiceClient(a.http(), "https://"+m.address, connect.WithGRPC()).Session(ctx)
	must(s.t, s.stream.Send(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_Hello{Hello: hello}}))
	go func() {
		for {
			m, err := s.stream.Receive()
			if err != nil {
				s.over <- err
				return
			}
			s.in <- m
		}
	}()
	return s
}

// next is the next message.
func (s *session) next() *agentv1.ManagerMessage {
	s.t.Helper()
	select {
	case m := <-s.in:
		return m
	case err := <-s.over:
		s.t.Fatalf("the session ended: %v", err)
	case <-time.After(20 * time.Second):
		s.t.Fatal("nothing was received")
	}
	return nil
}

func (s *session) welcome() *agentv1.Welcome {
	s.t.Helper()
	w := s.next().GetWelcome()
	if w == nil {
		s.t.Fatal("the first message is no welcome")
	}
	return w
}

// ended waits for the end.
func (s *session) ended() error {
	s.t.Helper()
	for {
		select {
		case err := <-s.over:
			return err
		case <-s.in:
		case <-time.After(20 * time.Second):
			s.t.Fatal("the session goes on")
		}
	}
}

func (s *session) send(m *agentv1.AgentMessage) {
	s.t.Helper()
	must(s.t, s.stream.Send(m))
}

func (s *session) report(full bool, instances ...*agentv1.InstanceStatus) {
	s.t.Helper()
	s.send(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_Report{Report: &agentv1.Report{Full: full, Instances: instances}}})
}

func (s *session) applied(stream agentv1.Stream, epoch *agentv1.Epoch, revision uint64) {
	s.t.Helper()
	s.send(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_Applied{Applied: &agentv1.Applied{Stream: stream, Epoch: epoch, Revision: revision}}})
}

// until waits for a state of the database.
func (h *house) until(what, sql string, args ...any) {
	h.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !value[bool](h, sql, args...) {
		if time.Now().After(deadline) {
			h.t.Fatalf("never: %s", what)
		}
		time.Sleep(2 * time.Millisecond) // between two looks at a state
	}
}

// organization is one that entries may belong to.
func (h *house) owner() servers.Owner {
	return servers.Owner{OrganizationID: uuid.New(), ID: uuid.New()}
}

func item(kind string, id uuid.UUID) servers.Desired {
	return servers.Desired{Key: servers.KeyOf(kind, id), Body: &agentv1.Instance{Id: id.String()}}
}

func size(m *agentv1.ManagerMessage) int { return proto.Size(m) }
