package builds

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"
	"github.com/sirupsen/logrus"
	"google.golang.org/protobuf/types/known/durationpb"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/agentv1/agentv1connect"
	"pandu/modules/agent/internal/logs"
	"pandu/modules/spec"
	"pandu/tests/engine"
)

var docker *engine.Engine

func TestMain(m *testing.M) { engine.Main(m, func(e *engine.Engine) { docker = e }) }

// stepProgram is the program test Dockerfiles run.
func stepProgram(t *testing.T) []byte {
	t.Helper()
	program, err := engine.Binary(t.Context(), "pandu/modules/agent/internal/builds/testdata/step")
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// manager is the manager's side of the wire: assignments, sources, variables, and what came back.
type manager struct {
	agentv1connect.UnimplementedBuildServiceHandler
	agentv1connect.UnimplementedSecretServiceHandler

	mu        sync.Mutex
	list      []*agentv1.BuildAttempt
	changed   chan struct{}
	sources   map[string][]byte
	variables map[string]string
	cancelled map[string]bool
	phases    map[string]bool
	refuse    error // of Progress and Finish
	logs      map[string]string
	results   chan *agentv1.BuildResult
	hold      chan struct{} // when set, Source waits for it
}

func (m *manager) Watch(ctx context.Context, _ *connect.Request[agentv1.WatchBuildsRequest], stream *connect.ServerStream[agentv1.BuildAssignments]) error {
	for {
		m.mu.Lock()
		list, changed := m.list, m.changed
		m.mu.Unlock()
		if err := stream.Send(&agentv1.BuildAssignments{Attempts: list}); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

func (m *manager) assign(list ...*agentv1.BuildAttempt) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = list
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *manager) Source(ctx context.Context, r *connect.Request[agentv1.BuildSourceRequest], stream *connect.ServerStream[agentv1.Chunk]) error {
	m.mu.Lock()
	data, hold := m.sources[r.Msg.GetAttemptId()], m.hold
	m.mu.Unlock()
	if data == nil {
		return connect.NewError(connect.CodeNotFound, errors.New("no such source"))
	}
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for len(data) > 0 {
		n := min(len(data), 256<<10)
		if err := stream.Send(&agentv1.Chunk{Data: data[:n]}); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

func (m *manager) Progress(_ context.Context, r *connect.Request[agentv1.BuildProgress]) (*connect.Response[agentv1.BuildProgressResponse], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.phases[r.Msg.GetPhase()] = true
	if m.refuse != nil {
		return nil, m.refuse
	}
	return connect.NewResponse(&agentv1.BuildProgressResponse{Cancelled: m.cancelled[r.Msg.GetAttemptId()]}), nil
}

func (m *manager) Log(_ context.Context, stream *connect.ClientStream[agentv1.BuildLogChunk]) (*connect.Response[agentv1.BuildLogStored], error) {
	var packed bytes.Buffer
	attempt := ""
	for stream.Receive() {
		attempt = stream.Msg().GetAttemptId()
		packed.Write(stream.Msg().GetData())
	}
	if err := stream.Err(); err != nil {
		return nil, err
	}
	unpack, err := zstd.NewReader(&packed)
	if err != nil {
		return nil, err
	}
	defer unpack.Close()
	text, err := io.ReadAll(unpack)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.logs[attempt] = string(text)
	return connect.NewResponse(&agentv1.BuildLogStored{}), nil
}

func (m *manager) Finish(_ context.Context, r *connect.Request[agentv1.BuildResult]) (*connect.Response[agentv1.BuildFinished], error) {
	m.results <- r.Msg
	return connect.NewResponse(&agentv1.BuildFinished{}), nil
}

func (m *manager) Variables(context.Context, *connect.Request[agentv1.VariablesRequest]) (*connect.Response[agentv1.VariablesResponse], error) {
	return connect.NewResponse(&agentv1.VariablesResponse{Variables: m.variables}), nil
}

// bench is a running build service with its manager and registry.
type bench struct {
	t        *testing.T
	manager  *manager
	service  *Service
	logs     *logs.Service
	registry string
	dir      string
}

// newBench starts everything. options change the Deps before.
func newBench(t *testing.T, options ...func(*Deps)) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), manager: &manager{
		changed: make(chan struct{}), sources: map[string][]byte{}, cancelled: map[string]bool{}, phases: map[string]bool{},
		logs: map[string]string{}, results: make(chan *agentv1.BuildResult, 8),
	}}
	mux := http.NewServeMux()
	mux.Handle(agentv1connect.NewBuildServiceHandler(b.manager))
	mux.Handle(agentv1connect.NewSecretServiceHandler(b.manager))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	logger := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if b.logs, err = logs.New(logs.Deps{Docker: docker.Host, Dir: t.TempDir(), Logger: logger, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	b.registry = startRegistry(t)
	deps := Deps{
		Docker: docker.Host, Client: agentv1connect.NewBuildServiceClient(server.Client(), server.URL),
		Secrets: agentv1connect.NewSecretServiceClient(server.Client(), server.URL), Logs: b.logs, Registry: b.registry,
		Dir: b.dir, Concurrency: 2, Logger: logger, Now: time.Now,
	}
	for _, change := range options {
		change(&deps)
	}
	if b.service, err = New(deps); err != nil {
		t.Fatal(err)
	}
	b.service.backoff = backoff{10 * time.Millisecond, 50 * time.Millisecond}
	b.run()
	return b
}

func (b *bench) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = b.service.Run(ctx)
	}()
	b.t.Cleanup(func() {
		cancel()
		<-ended
		if left, _ := filepath.Glob(filepath.Join(b.dir, attemptPrefix+"*")); len(left) > 0 {
			b.t.Errorf("left behind: %v", left)
		}
	})
}

// startRegistry runs the real registry on a temporary folder.
func startRegistry(t *testing.T) string {
	t.Helper()
	config := &configuration.Configuration{Storage: configuration.Storage{"filesystem": {"rootdirectory": t.TempDir()}}}
	config.Catalog.MaxEntries = 10
	config.Log.Level, config.Log.AccessLog.Disabled = "error", true
	logrus.SetOutput(io.Discard) // the registry logs with the package's own logger
	server := httptest.NewUnstartedServer(handlers.NewApp(context.Background(), config))
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return listener.Addr().String()
}

// attempt makes an assignment of a build and its source.
func (b *bench) attempt(build spec.Build, files map[string]string) *agentv1.BuildAttempt {
	b.t.Helper()
	body, err := json.Marshal(build)
	if err != nil {
		b.t.Fatal(err)
	}
	id := uuid.Must(uuid.NewV7()).String()
	if files != nil {
		b.manager.mu.Lock()
		b.manager.sources[id] = pack(b.t, files)
		b.manager.mu.Unlock()
	}
	return &agentv1.BuildAttempt{
		AttemptId: id, BuildId: uuid.NewString(), OrganizationId: uuid.NewString(), Spec: body,
		Repository: "acme/" + strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(b.t.Name())),
		Lease:      durationpb.New(3 * time.Second), TimeLimit: durationpb.New(time.Minute),
	}
}

// build runs one attempt to its result.
func (b *bench) build(a *agentv1.BuildAttempt) *agentv1.BuildResult {
	b.t.Helper()
	b.manager.assign(a)
	result := b.result()
	if result.GetAttemptId() != a.GetAttemptId() {
		b.t.Fatalf("result of %s, want %s", result.GetAttemptId(), a.GetAttemptId())
	}
	return result
}

func (b *bench) result() *agentv1.BuildResult {
	b.t.Helper()
	select {
	case r := <-b.manager.results:
		return r
	case <-time.After(2 * time.Minute):
		b.t.Fatal("no result within two minutes")
		return nil
	}
}

func (b *bench) log(a *agentv1.BuildAttempt) string {
	b.manager.mu.Lock()
	defer b.manager.mu.Unlock()
	return b.manager.logs[a.GetAttemptId()]
}

// shown waits until the live log of an attempt has text.
func (b *bench) shown(a *agentv1.BuildAttempt, text string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	found := errors.New("found")
	for ctx.Err() == nil {
		err := b.logs.Read(ctx, &agentv1.LogRequest{BuildAttemptId: a.GetAttemptId(), Follow: true}, func(c *agentv1.LogChunk) error {
			for _, l := range c.GetLines() {
				if strings.Contains(l.GetText(), text) {
					return found
				}
			}
			return nil
		})
		if errors.Is(err, found) {
			return
		}
	}
	b.t.Fatalf("the live log never showed %q", text)
}

func pack(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	archive := tar.NewWriter(zip)
	for name, text := range files {
		header := &tar.Header{Name: name, Mode: 0o755, Size: int64(len(text)), Typeflag: tar.TypeReg}
		if err := archive.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(archive, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(archive.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func mustNotExist(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there", path)
	}
}
