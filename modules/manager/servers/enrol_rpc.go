package servers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"

	"connectrpc.com/connect"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/agentv1/agentv1connect"
	"pandu/modules/kit/ca"
	"pandu/modules/kit/fault"
	"pandu/modules/kit/jointoken"
	"pandu/modules/kit/pg"
)

// maxMessage bounds every message an agent may send.
const maxMessage = 4 << 20

// Mount adds this room's agent doors to the agents' listener.
func (s *Service) Mount(mux *http.ServeMux, options ...connect.HandlerOption) {
	options = append([]connect.HandlerOption{connect.WithReadMaxBytes(maxMessage)}, options...)
	mux.Handle(agentv1connect.NewEnrollServiceHandler(enrolDoor{s}, options...))
	mux.Handle(agentv1connect.NewSessionServiceHandler(sessionDoor{s}, options...))
	mux.Handle(agentv1connect.NewLogServiceHandler(logDoor{s}, options...))
	mux.Handle(agentv1connect.NewPeerServiceHandler(peerDoor{s}, options...))
}

type (
	callerKey  struct{} // uuid.UUID of a server
	managerKey struct{} // true for another manager
)

func fromManager(ctx context.Context) bool { return ctx.Value(managerKey{}) == true }

// Identify puts the caller's identity into the request's context. It comes from the verified client certificate only;
// a certificate that was revoked, or whose server was removed, is no identity.
func (s *Service) Identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := s.identify(r)
		if err != nil {
			http.Error(w, fault.From(err).Message, fault.KindOf(err).Status())
			return
		}
		ctx := context.WithValue(r.Context(), callerKey{}, id)
		if r.TLS != nil && ca.PeerManager(r.TLS) == nil {
			ctx = context.WithValue(ctx, managerKey{}, true)
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

func (s *Service) identify(r *http.Request) (uuid.UUID, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return uuid.Nil, nil
	}
	id := named(r.TLS)
	if id == uuid.Nil {
		return id, nil // a manager, or nobody; the doors decide
	}
	serial := r.TLS.PeerCertificates[0].SerialNumber.String()
	good, err := pg.Value[bool](r.Context(), s.DB.Pool, certificateGood, pg.Args{"serial": serial, "server": id})
	if err != nil && !pg.None(err) {
		return uuid.Nil, fault.New(fault.Unavailable, "database_away", "The database does not answer. Try again.").Because(err)
	}
	if !good {
		return uuid.Nil, fault.New(fault.Unauthorized, "certificate_revoked", "This server's certificate is not valid any more. Join it again with a new token.")
	}
	return id, nil
}

// named is the server that a verified certificate names, uuid.Nil when it names none.
func named(state *tls.ConnectionState) uuid.UUID {
	text, err := ca.PeerServer(state)
	if err != nil {
		return uuid.Nil
	}
	id, err := uuid.Parse(text)
	if err != nil {
		return uuid.Nil
	}
	return id
}

// Caller is the server that calls, from its certificate.
func Caller(ctx context.Context) (uuid.UUID, error) {
	if id, ok := ctx.Value(callerKey{}).(uuid.UUID); ok && id != uuid.Nil {
		return id, nil
	}
	return uuid.Nil, fault.New(fault.Unauthorized, "certificate_required", "A server's certificate is needed here. Join with a token first.")
}

// enrolDoor serves agentv1.EnrollService.
type enrolDoor struct{ *Service }

// Enroll spends a join token for a certificate.
func (d enrolDoor) Enroll(ctx context.Context, req *connect.Request[agentv1.EnrollRequest]) (*connect.Response[agentv1.EnrollResponse], error) {
	res, err := d.enrol(ctx, req.Msg)
	if err != nil {
		return nil, fault.RPC(err)
	}
	return connect.NewResponse(res), nil
}

func (d enrolDoor) enrol(ctx context.Context, req *agentv1.EnrollRequest) (*agentv1.EnrollResponse, error) {
	refused := fault.New(fault.Denied, "join_token_refused", "This join token is unknown, used or expired. Make a new one.")
	token, err := jointoken.Parse(req.GetToken())
	if err != nil {
		return nil, refused
	}
	authority, err := d.Authority(ctx)
	if err != nil {
		return nil, err
	}
	res := &agentv1.EnrollResponse{CaDer: [][]byte{authority.Certificate().Raw}}
	err = d.DB.InTx(ctx, func(tx pgx.Tx) error {
		server, err := pg.Value[uuid.UUID](ctx, tx, spendToken, pg.Args{"hash": token.Hash()})
		if pg.None(err) {
			return refused
		}
		if err != nil {
			return fmt.Errorf("spend join token: %w", err)
		}
		res.ServerId = server.String()
		res.CertificateDer, err = d.issue(ctx, tx, authority, server, req.GetCsrDer())
		if err != nil {
			return err
		}
		return d.recordJoin(ctx, tx, server)
	})
	return res, err
}

// Renew exchanges a valid certificate for a new one.
func (d enrolDoor) Renew(ctx context.Context, req *connect.Request[agentv1.RenewRequest]) (*connect.Response[agentv1.RenewResponse], error) {
	server, err := Caller(ctx)
	if err != nil {
		return nil, fault.RPC(err)
	}
	authority, err := d.Authority(ctx)
	if err != nil {
		return nil, fault.RPC(err)
	}
	res := &agentv1.RenewResponse{CaDer: [][]byte{authority.Certificate().Raw}}
	err = d.DB.InTx(ctx, func(tx pgx.Tx) error {
		res.CertificateDer, err = d.issue(ctx, tx, authority, server, req.Msg.GetCsrDer())
		return err
	})
	if err != nil {
		return nil, fault.RPC(err)
	}
	return connect.NewResponse(res), nil
}

func (d enrolDoor) issue(ctx context.Context, tx pgx.Tx, authority *ca.CA, server uuid.UUID, csr []byte) ([]byte, error) {
	der, err := authority.IssueServer(server.String(), csr)
	if err != nil {
		return nil, fault.New(fault.Invalid, "csr_refused", "The certificate request is not valid.").Because(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read issued certificate: %w", err)
	}
	_, err = pg.Exec(ctx, tx, insertCertificate, pg.Args{
		"serial": certificate.SerialNumber.String(), "server": server, "not_after": certificate.NotAfter,
	})
	if err != nil {
		return nil, fmt.Errorf("record certificate: %w", err)
	}
	return der, nil
}

const certificateGood = `
	select true from servers.certificates c
	join servers.servers s on s.id = c.server_id
	where c.serial = @serial and c.server_id = @server and c.revoked_at is null and s.deleted_at is null`

const spendToken = `
	update servers.join_tokens t set used_at = now()
	from servers.servers s
	where t.hash = @hash and t.used_at is null and t.expires_at > now() and s.id = t.server_id and s.deleted_at is null
	returning t.server_id`

const insertCertificate = `
	insert into servers.certificates (serial, server_id, not_after)
	values (@serial, @server, @not_after)`
