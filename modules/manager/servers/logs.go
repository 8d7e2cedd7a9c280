package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"connectrpc.com/connect"
	"github.com/google/uuid"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/agentv1/agentv1connect"
	"pandu/modules/kit/fault"
)

// maxReaders bounds the logs that one process reads from agents at a time.
const maxReaders = 512

// ReadLog reads a log through the agent that has it and calls send for every chunk, until the log ends, send fails or
// ctx is over. When another manager holds the server's session, that one is asked.
func (s *Service) ReadLog(ctx context.Context, server uuid.UUID, req *agentv1.LogRequest, send func(*agentv1.LogChunk) error) error {
	if live := s.local(server); live != nil {
		return s.readLocal(ctx, live, req, send)
	}
	sessions, err := s.Sessions(ctx, s.DB.Pool, server)
	if err != nil {
		return err
	}
	state, ok := sessions[server]
	if !ok || state.SilentSince != nil || state.process == s.Process {
		return fault.New(fault.Unavailable, "server_silent", "The server that has this log is not connected. The log is still there and can be read when it is back.")
	}
	return s.readPeer(ctx, state.process, server, req, send)
}

// A reader waits for what one LogRequest asked for.
type reader struct {
	server uuid.UUID
	chunks chan *agentv1.LogChunk // unbuffered: a slow reader slows the agent's stream, nothing piles up
	done   chan struct{}          // closed when nobody reads any more
	failed chan error             // the agent cannot serve it, or stopped in the middle; buffered
}

func (s *Service) readLocal(ctx context.Context, live *session, req *agentv1.LogRequest, send func(*agentv1.LogChunk) error) error {
	id := uuid.NewString()
	r := &reader{server: live.server, chunks: make(chan *agentv1.LogChunk), done: make(chan struct{}), failed: make(chan error, 1)}
	if err := s.expect(id, r); err != nil {
		return err
	}
	defer s.unexpect(id, r)
	err := live.send(ctx, &agentv1.ManagerMessage{Message: &agentv1.ManagerMessage_Request{Request: &agentv1.Request{
		Id: id, Request: &agentv1.Request_Log{Log: req},
	}}})
	if err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-r.failed:
			return err
		case <-live.over:
			return errInterrupted
		case c := <-r.chunks:
			if err := send(c); err != nil || c.GetEnd() {
				return err
			}
		}
	}
}

// errInterrupted ends a reader whose agent went away in the middle.
var errInterrupted = fault.New(fault.Unavailable, "log_interrupted", "The server stopped sending the log. Try again.")

func (s *Service) expect(id string, r *reader) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.readers) >= maxReaders {
		return fault.New(fault.Limit, "too_many_readers", "Too many logs are being read at once. Try again in a moment.")
	}
	s.readers[id] = r
	return nil
}

func (s *Service) unexpect(id string, r *reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.readers, id)
	close(r.done)
}

func (s *Service) expected(id string, server uuid.UUID) *reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.readers[id]; r != nil && r.server == server {
		return r
	}
	return nil
}

// refused ends the reader of a request that the agent could not serve.
func (s *Service) refused(live *session, f *agentv1.RequestFailed) {
	r := s.expected(f.GetId(), live.server)
	if r == nil {
		return
	}
	err := fault.New(fault.Unavailable, "log_unreadable", "The server cannot read this log now. Try again.")
	if f.GetCode() == "not_found" {
		err = fault.New(fault.NotFound, "log_not_found", "There is no log of this any more.")
	}
	r.fail(err)
}

func (r *reader) fail(err error) {
	select {
	case r.failed <- err:
	default:
	}
}

// logDoor serves agentv1.LogService.
type logDoor struct{ *Service }

// errNobody tells an agent to stop sending.
var errNobody = fault.New(fault.NotFound, "nobody_reads", "Nobody waits for this log any more.")

// Send takes in what a LogRequest asked for and hands it to the one who waits for it.
func (d logDoor) Send(ctx context.Context, stream *connect.ClientStream[agentv1.LogChunk]) (*connect.Response[agentv1.LogReceived], error) {
	server, err := Caller(ctx)
	if err != nil {
		return nil, fault.RPC(err)
	}
	var r *reader
	for stream.Receive() {
		if r == nil {
			if r = d.expected(stream.Msg().GetRequestId(), server); r == nil {
				return nil, fault.RPC(errNobody)
			}
			defer r.fail(errInterrupted) // no effect once the reader has seen the end
		}
		select {
		case r.chunks <- stream.Msg():
		case <-r.done:
			return nil, fault.RPC(errNobody)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err := stream.Err(); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return connect.NewResponse(&agentv1.LogReceived{}), nil
}

// peerDoor serves agentv1.PeerService.
type peerDoor struct{ *Service }

// Log reads a log for another manager, whose certificate must be a manager's.
func (d peerDoor) Log(ctx context.Context, req *connect.Request[agentv1.PeerLogRequest], stream *connect.ServerStream[agentv1.LogChunk]) error {
	if !fromManager(ctx) {
		return fault.RPC(fault.New(fault.Denied, "manager_required", "Only a manager may ask for this."))
	}
	server, err := uuid.Parse(req.Msg.GetServerId())
	if err != nil {
		return fault.RPC(fault.New(fault.Invalid, "server_id_invalid", "This is not a server's id."))
	}
	live := d.local(server)
	if live == nil {
		return fault.RPC(fault.New(fault.Unavailable, "server_silent", "The server is not connected here."))
	}
	return fault.RPC(d.readLocal(ctx, live, req.Msg.GetRequest(), stream.Send))
}

func (s *Service) readPeer(ctx context.Context, process, server uuid.UUID, req *agentv1.LogRequest, send func(*agentv1.LogChunk) error) error {
	address, err := s.Peer(ctx, process)
	if err != nil {
		return err
	}
	if address == "" {
		return fault.New(fault.Unavailable, "server_silent", "The manager that holds the server's session has gone. Try again in a moment.")
	}
	authority, err := s.Authority(ctx)
	if err != nil {
		return err
	}
	transport := &http.Transport{TLSClientConfig: authority.PeerConfig(), ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	client := agentv1connect.NewPeerServiceClient(&http.Client{Transport: transport}, "https://"+address)
	stream, err := client.Log(ctx, connect.NewRequest(&agentv1.PeerLogRequest{ServerId: server.String(), Request: req}))
	if err != nil {
		return fmt.Errorf("ask manager for log: %w", err)
	}
	defer func() { _ = stream.Close() }() // read to its end already, or given up
	for stream.Receive() {
		if err := send(stream.Msg()); err != nil {
			return err
		}
	}
	return stream.Err()
}
