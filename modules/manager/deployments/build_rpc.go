package deployments

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/types/known/durationpb"

	"pandu/jobs"
	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/agentv1/agentv1connect"
	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/servers"
	"pandu/modules/spec"
)

// Mount adds this room's agent doors to the agents' listener.
func (s *Service) Mount(mux *http.ServeMux, options ...connect.HandlerOption) {
	options = append([]connect.HandlerOption{connect.WithReadMaxBytes(4 << 20)}, options...)
	mux.Handle(agentv1connect.NewBuildServiceHandler(buildDoor{s}, options...))
	mux.Handle(agentv1connect.NewSecretServiceHandler(secretDoor{s}, options...))
}

// buildDoor serves agentv1.BuildService. Every method acts on attempts that the calling server holds, and on no others.
type buildDoor struct{ *Service }

// Watch sends the whole list of a server's attempts at once and whenever it changes.
func (d buildDoor) Watch(ctx context.Context, _ *connect.Request[agentv1.WatchBuildsRequest], stream *connect.ServerStream[agentv1.BuildAssignments]) error {
	server, err := servers.Caller(ctx)
	if err != nil {
		return fault.RPC(err)
	}
	changed := d.watch(server)
	defer d.unwatch(server, changed)
	slow := time.NewTicker(10 * time.Second) // covers a lost notification, and tells a dead connection
	defer slow.Stop()
	for {
		list, err := d.assignments(ctx, server)
		if err != nil {
			return fault.RPC(err)
		}
		if err := stream.Send(&agentv1.BuildAssignments{Attempts: list}); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-slow.C:
		}
	}
}

func (d buildDoor) assignments(ctx context.Context, server uuid.UUID) ([]*agentv1.BuildAttempt, error) {
	builds, err := pg.All[Build](ctx, d.DB.Pool, selectAssigned, pg.Args{"server": server})
	if err != nil {
		return nil, fmt.Errorf("read assigned builds: %w", err)
	}
	list := make([]*agentv1.BuildAttempt, 0, len(builds))
	for _, b := range builds {
		body, err := json.Marshal(b.Spec)
		if err != nil {
			return nil, fmt.Errorf("render build: %w", err)
		}
		limit := time.Duration(b.Spec.TimeLimit)
		if limit == 0 {
			limit = DefaultBuildTime
		}
		list = append(list, &agentv1.BuildAttempt{
			AttemptId: b.AttemptID.String(), BuildId: b.ID.String(), OrganizationId: b.OrganizationID.String(), Spec: body,
			Repository: b.Repository, Lease: durationpb.New(BuildLease), TimeLimit: durationpb.New(limit),
			HasVariables: b.Spec.Kind == spec.Dockerfile,
		})
	}
	return list, nil
}

// DefaultBuildTime is how long a build may take when its source does not say.
const DefaultBuildTime = 30 * time.Minute

// attempt reads a build by an attempt that the calling server holds.
func (d buildDoor) attempt(ctx context.Context, id string) (uuid.UUID, Build, error) {
	server, err := servers.Caller(ctx)
	if err != nil {
		return server, Build{}, err
	}
	attempt, err := uuid.Parse(id)
	if err != nil {
		return server, Build{}, errNoAttempt
	}
	b, err := pg.One[Build](ctx, d.DB.Pool, selectAttempt, pg.Args{"attempt": attempt, "server": server})
	if pg.None(err) {
		return server, b, errNoAttempt
	}
	if err != nil {
		return server, b, fmt.Errorf("read attempt: %w", err)
	}
	return server, b, nil
}

var errNoAttempt = fault.New(fault.Conflict, "attempt_over", "This server does not hold this attempt (any more).")

// Source streams the archive that an attempt builds.
func (d buildDoor) Source(ctx context.Context, req *connect.Request[agentv1.BuildSourceRequest], stream *connect.ServerStream[agentv1.Chunk]) error {
	_, b, err := d.attempt(ctx, req.Msg.GetAttemptId())
	if err != nil {
		return fault.RPC(err)
	}
	return fault.RPC(d.sendSource(ctx, b, stream))
}

func (d buildDoor) sendSource(ctx context.Context, b Build, stream *connect.ServerStream[agentv1.Chunk]) error {
	actor := identity.System(b.OrganizationID, "build")
	dep, err := d.deployment(ctx, d.DB.Pool, actor, b.DeploymentID, false)
	if err != nil {
		return err
	}
	src, err := d.source(ctx, d.DB.Pool, actor, *dep.SourceID)
	if err != nil {
		return err
	}
	if src.UploadID == nil {
		return fault.New(fault.NotFound, "no_archive", "This build needs no archive.")
	}
	body, _, err := d.Storage.Download(ctx, actor, *src.UploadID)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // read only
	buffer := make([]byte, 256<<10)
	for {
		n, err := body.Read(buffer)
		if n > 0 {
			if err := stream.Send(&agentv1.Chunk{Data: buffer[:n]}); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
	}
}

// Progress renews the lease of an attempt and says whether it was cancelled.
func (d buildDoor) Progress(ctx context.Context, req *connect.Request[agentv1.BuildProgress]) (*connect.Response[agentv1.BuildProgressResponse], error) {
	server, err := servers.Caller(ctx)
	if err != nil {
		return nil, fault.RPC(err)
	}
	attempt, err := uuid.Parse(req.Msg.GetAttemptId())
	if err != nil {
		return nil, fault.RPC(errNoAttempt)
	}
	n, err := pg.Exec(ctx, d.DB.Pool, renewLease, pg.Args{"attempt": attempt, "server": server, "phase": clip(req.Msg.GetPhase(), 20), "lease": BuildLease})
	if err != nil {
		return nil, fault.RPC(fmt.Errorf("renew lease: %w", err))
	}
	return connect.NewResponse(&agentv1.BuildProgressResponse{Cancelled: n == 0}), nil
}

// Log stores the whole log of an attempt, compressed as it comes. It may come after the attempt was cancelled.
func (d buildDoor) Log(ctx context.Context, stream *connect.ClientStream[agentv1.BuildLogChunk]) (*connect.Response[agentv1.BuildLogStored], error) {
	server, err := servers.Caller(ctx)
	if err != nil {
		return nil, fault.RPC(err)
	}
	if !stream.Receive() {
		return nil, fault.RPC(fault.New(fault.Invalid, "log_empty", "The first chunk of a log names its attempt."))
	}
	attempt, err := uuid.Parse(stream.Msg().GetAttemptId())
	if err != nil {
		return nil, fault.RPC(errNoAttempt)
	}
	if err := d.storeLog(ctx, server, attempt, &chunkReader{stream: stream, rest: stream.Msg().GetData()}); err != nil {
		return nil, fault.RPC(err)
	}
	return connect.NewResponse(&agentv1.BuildLogStored{}), nil
}

func (d buildDoor) storeLog(ctx context.Context, server, attempt uuid.UUID, packed io.Reader) error {
	args := pg.Args{"attempt": attempt, "server": server}
	organization, err := pg.Value[uuid.UUID](ctx, d.DB.Pool, selectAttemptOrganization, args)
	if pg.None(err) {
		return errNoAttempt
	}
	if err != nil {
		return fmt.Errorf("read attempt: %w", err)
	}
	unpacked, err := zstd.NewReader(io.LimitReader(packed, maxBuildLog), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
	if err != nil {
		return fault.New(fault.Invalid, "log_unreadable", "The log is not compressed as it should be.").Because(err)
	}
	defer unpacked.Close()
	if err := d.Storage.PutLog(ctx, identity.System(organization, "build"), attempt, unpacked); err != nil {
		return err
	}
	if _, err := pg.Exec(ctx, d.DB.Pool, setBuildLog, args); err != nil {
		return fmt.Errorf("record build log: %w", err)
	}
	return nil
}

// maxBuildLog bounds a stored log, compressed.
const maxBuildLog = 64 << 20

// chunkReader reads the data of a stream of log chunks.
type chunkReader struct {
	stream *connect.ClientStream[agentv1.BuildLogChunk]
	rest   []byte
}

func (r *chunkReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if !r.stream.Receive() {
			if err := r.stream.Err(); err != nil {
				return 0, err
			}
			return 0, io.EOF
		}
		r.rest = r.stream.Msg().GetData()
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// Finish ends an attempt. Its result counts only while it is the current one.
func (d buildDoor) Finish(ctx context.Context, req *connect.Request[agentv1.BuildResult]) (*connect.Response[agentv1.BuildFinished], error) {
	server, err := servers.Caller(ctx)
	if err != nil {
		return nil, fault.RPC(err)
	}
	attempt, err := uuid.Parse(req.Msg.GetAttemptId())
	if err != nil {
		return nil, fault.RPC(errNoAttempt)
	}
	err = d.DB.InTx(ctx, func(tx pgx.Tx) error { return d.finishAttempt(ctx, tx, server, attempt, req.Msg) })
	if err != nil {
		return nil, fault.RPC(err)
	}
	return connect.NewResponse(&agentv1.BuildFinished{}), nil
}

func (d buildDoor) finishAttempt(ctx context.Context, tx pgx.Tx, server, attempt uuid.UUID, r *agentv1.BuildResult) error {
	if err := d.lockOwner(ctx, tx, ownerOfAttempt, pg.Args{"attempt": attempt, "server": server}); err != nil {
		return err
	}
	b, err := pg.One[Build](ctx, tx, lockAttempt, pg.Args{"attempt": attempt, "server": server})
	if pg.None(err) {
		return errNoAttempt
	}
	if err != nil {
		return fmt.Errorf("lock attempt: %w", err)
	}
	if b.State == BuildReady && b.Image != nil && b.Image.Digest == r.GetDigest() {
		return nil // the answer to the first Finish was lost
	}
	if b.State != BuildProgress {
		return errNoAttempt
	}
	dep, err := d.deployment(ctx, tx, identity.System(b.OrganizationID, "build"), b.DeploymentID, true)
	if err != nil {
		return err
	}
	if r.GetErrorCode() == "" {
		return d.succeed(ctx, tx, b, dep, r)
	}
	if r.GetRetryable() && b.Attempt < Attempts {
		return d.Postpone(ctx, tx, b, jobs.Backoff(b.Attempt))
	}
	return d.FailBuild(ctx, tx, b, dep, &Error{
		Code: "build_" + clip(r.GetErrorCode(), 40), Message: clip(r.GetError(), 2000), LastLines: lastLines(r.GetLastLines()),
	})
}

func (d buildDoor) succeed(ctx context.Context, tx pgx.Tx, b Build, dep Deployment, r *agentv1.BuildResult) error {
	var config spec.ImageConfig
	if err := json.Unmarshal(r.GetImage(), &config); err != nil {
		return fault.New(fault.Invalid, "image_config_invalid", "The image's configuration is not readable.").Because(err)
	}
	if !spec.Digest(r.GetDigest()) {
		return fault.New(fault.Invalid, "digest_invalid", "The image's digest is not one.")
	}
	return d.built(ctx, tx, b, dep, spec.Image{Repository: b.Repository, Digest: r.GetDigest()}, config)
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

func lastLines(lines []string) []string {
	if len(lines) > 20 {
		lines = lines[len(lines)-20:]
	}
	out := make([]string, 0, len(lines))
	for _, line := range lines {
		out = append(out, clip(line, 2000))
	}
	return out
}

func (s *Service) watch(server uuid.UUID) chan struct{} {
	changed := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watchers[server] == nil {
		s.watchers[server] = map[chan struct{}]bool{}
	}
	s.watchers[server][changed] = true
	return changed
}

func (s *Service) unwatch(server uuid.UUID, changed chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watchers[server], changed)
	if len(s.watchers[server]) == 0 {
		delete(s.watchers, server)
	}
}

// WakeBuilds tells a server that watches here that its assignments changed; uuid.Nil tells all.
func (s *Service) WakeBuilds(server uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, watchers := range s.watchers {
		if server != uuid.Nil && id != server {
			continue
		}
		for changed := range watchers {
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}
}

// MayImage reports whether a server may push to a repository (it holds a build for it) or pull from it (it shall
// run that image, or build on in that repository).
func (s *Service) MayImage(ctx context.Context, server uuid.UUID, repository string, push bool) (bool, error) {
	statement := repositoryHeld
	if !push {
		statement = imageWanted
	}
	ok, err := pg.Value[bool](ctx, s.DB.Pool, statement, pg.Args{"server": server, "repository": repository})
	if err != nil {
		return false, fmt.Errorf("judge image: %w", err)
	}
	return ok, nil
}
