package deployments_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"strings"
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
	"pandu/modules/creator/builds"
	"pandu/modules/creator/rollouts"
	"pandu/modules/kit/ca"
	"pandu/modules/kit/pg"
	"pandu/modules/kit/pgtest"
	"pandu/modules/kit/secret"
	"pandu/modules/manager/audit"
	"pandu/modules/manager/deployments"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/projects"
	"pandu/modules/manager/routing"
	"pandu/modules/manager/servers"
	"pandu/modules/manager/storage"
)

// room is a manager with its creators on a fresh database, and a project.
type room struct {
	t           *testing.T
	db          *pg.DB
	identity    *identity.Service
	storage     *storage.Service
	servers     *servers.Service
	projects    *projects.Service
	deployments *deployments.Service
	rollouts    *rollouts.Rollouts
	builds      *builds.Builds
	mine        identity.Actor
	theirs      identity.Actor
	p           projects.Project
	e           projects.Environment
	address     string
}

var ctx = context.Background()

func newRoom(t *testing.T) *room {
	t.Helper()
	r := &room{t: t, db: pgtest.New(t)}
	log := slog.New(slog.DiscardHandler)
	var err error
	r.identity, err = identity.New(identity.Deps{
		DB: r.db, Audit: audit.New(r.db), MasterKey: secret.NewKey(), PublicURL: "http://panel.test", Now: time.Now, Log: log,
	})
	must(t, err)
	must(t, r.identity.Prepare(ctx))
	r.storage, err = storage.New(storage.Deps{DB: r.db, Identity: r.identity, Log: log, Dir: t.TempDir()})
	must(t, err)
	client, err := river.NewClient(riverpgxv5.New(r.db.Pool), &river.Config{Schema: "river"})
	must(t, err)
	orders := jobs.NewOrders(client)
	process := uuid.New()
	r.servers = servers.New(servers.Deps{
		DB: r.db, Orders: orders, Log: log, Process: process, Authority: r.identity.CA, Beat: time.Hour,
		Live: func(context.Context) ([]uuid.UUID, error) { return []uuid.UUID{process}, nil },
		Peer: func(context.Context, uuid.UUID) (string, error) { return "", nil },
	})
	route := routing.New(routing.Deps{DB: r.db, AppsDomain: "localhost", Ports: routing.PortRange{First: 30000, Last: 30100}})
	r.projects = projects.New(projects.Deps{DB: r.db, Identity: r.identity, Routing: route, Servers: r.servers})
	r.deployments = deployments.New(deployments.Deps{
		DB: r.db, Orders: orders, Log: log, Identity: r.identity, Storage: r.storage, Servers: r.servers, Routing: route, Projects: r.projects,
	})
	r.rollouts = rollouts.New(rollouts.Deps{DB: r.db, Log: log, Servers: r.servers, Deployments: r.deployments})
	r.builds = builds.New(builds.Deps{Log: log, Servers: r.servers, Projects: r.projects, Deployments: r.deployments})
	r.mine = identity.System(value[uuid.UUID](r, "select id from identity.organizations where slug = 'default'"), "test")
	other := uuid.New()
	r.exec("insert into identity.organizations (id, slug, name) values ($1, 'other', 'Other')", other)
	r.theirs = identity.System(other, "test")
	r.p, r.e, err = r.projects.Create(ctx, r.mine, "Hello", "hello")
	must(t, err)
	r.listen()
	return r
}

func (r *room) listen() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(r.t, err)
	r.address = l.Addr().String()
	authority, err := r.identity.CA(ctx)
	must(r.t, err)
	mux := http.NewServeMux()
	r.servers.Mount(mux)
	r.deployments.Mount(mux)
	h := &http.Server{Handler: r.servers.Identify(mux), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = h.Serve(tls.NewListener(l, authority.ManagerConfig(nil)))
	}()
	r.t.Cleanup(func() { _ = h.Close(); <-ended })
}

func (r *room) exec(sql string, args ...any) {
	r.t.Helper()
	_, err := r.db.Pool.Exec(ctx, sql, args...)
	must(r.t, err)
}

func value[T any](r *room, sql string, args ...any) (v T) {
	r.t.Helper()
	must(r.t, r.db.Pool.QueryRow(ctx, sql, args...).Scan(&v))
	return v
}

// agent is a server that has joined, whose session is synced by what the database is told.
type agent struct {
	r    *room
	id   uuid.UUID
	http *http.Client
}

// join adds a server with a real certificate. Its session is a row: what agents report here, they report by observe.
func (r *room) join(name string) *agent {
	r.t.Helper()
	s, token, err := r.servers.Add(ctx, identity.System(uuid.Nil, "test"), name)
	must(r.t, err)
	authority, err := r.identity.CA(ctx)
	must(r.t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(r.t, err)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	must(r.t, err)
	joining := &http.Client{Transport: &http.Transport{TLSClientConfig: ca.JoinConfig(authority.Fingerprint(), time.Now), ForceAttemptHTTP2: true}}
	defer joining.CloseIdleConnections()
	res, err := agentv1connect.NewEnrollServiceClient(joining, "https://"+r.address).
		Enroll(ctx, connect.NewRequest(&agentv1.EnrollRequest{Token: token.Encode(), CsrDer: csr}))
	must(r.t, err)
	certificate := tls.Certificate{Certificate: [][]byte{res.Msg.GetCertificateDer()}, PrivateKey: key}
	cfg := ca.ServerConfig(func() []*x509.Certificate { return []*x509.Certificate{authority.Certificate()} },
		func() (*tls.Certificate, error) { return &certificate, nil }, time.Now)
	transport := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true}
	r.t.Cleanup(transport.CloseIdleConnections)
	a := &agent{r: r, id: s.ID, http: &http.Client{Transport: transport}}
	r.exec("insert into servers.sessions (server_id, process_id, number, synced, capabilities) values ($1, $2, 1, true, '{run,build}')", a.id, uuid.New())
	return a
}

func (a *agent) builds() agentv1connect.BuildServiceClient {
	return agentv1connect.NewBuildServiceClient(a.http, "https://"+a.r.address, connect.WithGRPC())
}

func (a *agent) secrets() agentv1connect.SecretServiceClient {
	return agentv1connect.NewSecretServiceClient(a.http, "https://"+a.r.address, connect.WithGRPC())
}

// observe writes what the server would have reported of an instance, as its session does.
func (a *agent) observe(key string, m proto.Message) {
	a.r.t.Helper()
	body, err := proto.Marshal(m)
	must(a.r.t, err)
	a.r.exec(`insert into servers.observations (server_id, key, owner, session, body) values ($1, $2, $3, 1, $4)
		on conflict (server_id, key) do update set body = excluded.body`, a.id, key, a.r.e.ID, body)
	a.want()
}

func (a *agent) want() {
	a.r.t.Helper()
	must(a.r.t, a.r.db.InTx(ctx, func(tx pgx.Tx) error { return a.r.servers.Want(ctx, tx, a.r.e.ID) }))
}

// everything reports the same state of all instances that shall run, that all tombstones are carried out, and that the
// gateway serves what it was sent.
func (a *agent) everything(state agentv1.InstanceState) {
	a.r.t.Helper()
	for _, id := range a.r.running() {
		a.observe(servers.KeyOf("instance", id), &agentv1.InstanceStatus{InstanceId: id.String(), State: state, Reason: "exited", Message: "It ended."})
	}
	for _, key := range values[string](a.r, "select key from servers.entries where tombstone and stream = 1") {
		if id, ok := strings.CutPrefix(key, "instance/"); ok {
			a.observe(key, &agentv1.InstanceStatus{InstanceId: id, State: agentv1.InstanceState_INSTANCE_STATE_GONE})
			continue
		}
		a.observe(key, &agentv1.KeyStatus{Key: key, State: agentv1.KeyStatus_STATE_GONE})
	}
	a.r.exec("update servers.streams set acked = revision")
	a.want()
	a.r.plan()
}

// settle lets all go well until nothing more happens.
func (a *agent) settle() {
	a.r.t.Helper()
	for range 6 {
		a.r.plan()
		a.everything(agentv1.InstanceState_INSTANCE_STATE_READY)
	}
}

func values[T any](r *room, sql string, args ...any) []T {
	r.t.Helper()
	rows, err := r.db.Pool.Query(ctx, sql, args...)
	must(r.t, err)
	list, err := pgx.CollectRows(rows, pgx.RowTo[T])
	must(r.t, err)
	return list
}

func (r *room) running() []uuid.UUID {
	r.t.Helper()
	return values[uuid.UUID](r, "select id from deployments.instances where desired = 'running' and gone_at is null order by created_at, id")
}

// plan works the orders of rollouts until none is due.
func (r *room) plan() {
	r.t.Helper()
	for range 10 {
		due := values[uuid.UUID](r, "select owner from servers.reconciles where done < wanted")
		if len(due) == 0 {
			return
		}
		for _, id := range due {
			must(r.t, r.rollouts.Run(ctx, id))
		}
	}
	r.t.Fatal("the planner never comes to rest")
}

// upload stores an archive of files.
func (r *room) upload(files ...string) storage.Upload {
	r.t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		w, err := z.Create(files[i])
		must(r.t, err)
		_, err = w.Write([]byte(files[i+1]))
		must(r.t, err)
	}
	must(r.t, z.Close())
	u, _, err := r.deployments.Upload(ctx, r.mine, r.p, "site.zip", &b, "")
	must(r.t, err)
	return u
}

// pages is an upload that needs one build; n makes it another one each time.
func (r *room) pages(n string) deployments.Request {
	r.t.Helper()
	u := r.upload("index.html", n)
	return deployments.Request{UploadID: &u.ID}
}

func (r *room) create(req deployments.Request) deployments.Deployment {
	r.t.Helper()
	r.reload()
	d, err := r.deployments.Create(ctx, r.mine, r.p, r.e, req)
	must(r.t, err)
	return d
}

func (r *room) reload() {
	r.t.Helper()
	var err error
	r.p, r.e, err = r.projects.Load(ctx, r.db.Pool, r.e.ID)
	must(r.t, err)
}

func (r *room) state(d deployments.Deployment) string {
	r.t.Helper()
	return value[string](r, "select state from deployments.deployments where id = $1", d.ID)
}

// give hands out every build that waits.
func (r *room) give() {
	r.t.Helper()
	for _, id := range values[uuid.UUID](r, "select id from deployments.builds where state in ('pending', 'progress')") {
		must(r.t, r.builds.Run(ctx, id))
	}
}

func (r *room) attempt(d deployments.Deployment) string {
	r.t.Helper()
	return value[uuid.UUID](r, "select attempt_id from deployments.builds where deployment_id = $1 and state = 'progress' limit 1", d.ID).String()
}

// digest is a different one for each letter.
func digest(letter string) string { return "sha256:" + strings.Repeat(letter, 64) }

func (a *agent) finish(attempt string, change ...func(*agentv1.BuildResult)) error {
	res := &agentv1.BuildResult{AttemptId: attempt, Digest: digest("a"), Image: []byte(`{"ports":[80]}`)}
	for _, fn := range change {
		fn(res)
	}
	_, err := a.builds().Finish(ctx, connect.NewRequest(res))
	return err
}

// live deploys pages with an image and lets all go well.
func (a *agent) live(letter string) deployments.Deployment {
	r := a.r
	r.t.Helper()
	d := r.create(r.pages(letter))
	r.give()
	must(r.t, a.finish(r.attempt(d), func(b *agentv1.BuildResult) { b.Digest = digest(letter) }))
	a.settle()
	if got := r.state(d); got != "live" {
		r.t.Fatalf("deployment is %s: %s", got, value[string](r, "select coalesce(error::text, '') from deployments.deployments where id = $1", d.ID))
	}
	return d
}

func (r *room) pagesOf(upload uuid.UUID) deployments.Request {
	return deployments.Request{UploadID: &upload}
}
