package servers_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/agentv1/agentv1connect"
	"pandu/modules/kit/fault"
	"pandu/modules/manager/servers"
)

func code(t *testing.T, err error, want connect.Code) {
	t.Helper()
	if connect.CodeOf(err) != want {
		t.Fatalf("error %v, want %s", err, want)
	}
}

func TestSessionNeedsACertificateAndAHello(t *testing.T) {
	h := newHouse(t)
	_, token := h.add("one")
	stranger := &agent{h: h}
	_ = token
	s := h.join("two")
	stranger.certificate = s.certificate
	stranger.certificate.Certificate = nil
	stream := agentv1connect.NewSessionServiceClient(stranger.http(), "https://"+h.address, connect.WithGRPC()).Session(context.Background())
	_ = stream.Send(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_Hello{Hello: &agentv1.Hello{}}})
	_, err := stream.Receive()
	code(t, err, connect.CodeUnauthenticated)
	stream = agentv1connect.NewSessionServiceClient(s.http(), "https://"+h.address, connect.WithGRPC()).Session(context.Background())
	must(t, stream.Send(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_Heartbeat{Heartbeat: &agentv1.Heartbeat{}}}))
	_, err = stream.Receive()
	code(t, err, connect.CodeInvalidArgument)
}

func (h *house) lineage() (string, uint64) {
	return value[string](h, "select lineage::text from servers.epochs order by number desc limit 1"),
		value[uint64](h, "select number from servers.epochs order by number desc limit 1")
}

func (h *house) hello(revisions ...uint64) *agentv1.Hello {
	lineage, number := h.lineage()
	hello := &agentv1.Hello{Protocol: 1, AgentVersion: "test", Epoch: &agentv1.Epoch{Number: number, Lineage: lineage}, Revisions: map[int32]uint64{}}
	for i, r := range revisions {
		hello.Revisions[int32(i+1)] = r
	}
	return hello
}

func TestHelloDecidesWhatIsSent(t *testing.T) {
	h := newHouse(t)
	a := h.join("one")
	owner, first, second := h.owner(), uuid.New(), uuid.New()
	h.put(a.id, instances, owner, item("instance", first))
	h.put(a.id, instances, owner, item("instance", second))
	h.put(a.id, routes, owner, item("routes", first))

	fresh := a.connect(h.manager, &agentv1.Hello{})
	fresh.welcome()
	for _, want := range []struct{ stream, count, revision uint64 }{{1, 2, 2}, {2, 1, 1}} {
		part := fresh.next().GetSnapshot()
		if uint64(part.GetStream()) != want.stream || part.GetCount() != want.count || part.GetRevision() != want.revision || !part.GetLast() {
			t.Fatalf("snapshot %v, want %v", part, want)
		}
		if !bytes.Equal(part.GetHash(), agentv1.HashEntries(part.GetEntries())) {
			t.Fatal("the hash is not that of the entries")
		}
	}
	behind := a.connect(h.manager, h.hello(1, 1))
	behind.welcome()
	d := behind.next().GetDelta()
	if d.GetFrom() != 1 || d.GetRevision() != 2 || len(d.GetEntries()) != 1 || d.GetCount() != 2 {
		t.Fatalf("delta %v", d)
	}
	same := a.connect(h.manager, h.hello(2, 1))
	same.welcome()
	third := uuid.New()
	h.put(a.id, instances, owner, item("instance", third))
	h.bury(a.id, owner, servers.KeyOf("instance", first))
	h.Wake(a.id)
	d = same.next().GetDelta() // the first message: nothing was sent before
	if d.GetFrom() != 2 || d.GetRevision() != 4 || len(d.GetEntries()) != 2 || d.GetCount() != 2 || d.GetEntries()[1].GetCause() != "delete" {
		t.Fatalf("delta %v", d)
	}
}

func TestForeignHistoriesAreOnlyObserved(t *testing.T) {
	for name, hello := range map[string]func(h *house) *agentv1.Hello{
		"unknown lineage": func(h *house) *agentv1.Hello {
			hello := h.hello(1)
			hello.Epoch.Lineage = uuid.NewString()
			return hello
		},
		"revision ahead":    func(h *house) *agentv1.Hello { return h.hello(7) },
		"unheard-of stream": func(h *house) *agentv1.Hello { return h.hello(0, 1) },
	} {
		h := newHouse(t)
		a := h.join("one")
		h.put(a.id, instances, h.owner(), item("instance", uuid.New()))
		s := a.connect(h.manager, hello(h))
		s.welcome()
		if o := s.next().GetObserve(); o.GetReason() == "" {
			t.Fatalf("%s: no observe", name)
		}
		s.report(true)
		h.until("synced", "select synced from servers.sessions where server_id = $1", a.id)
		states, err := h.Sessions(context.Background(), h.db.Pool, a.id)
		must(t, err)
		if states[a.id].Synced {
			t.Fatalf("%s: decisions may be made about an observed server", name)
		}
		list, err := h.List(context.Background(), operator)
		must(t, err)
		if list[0].Mode != "observe" || list[0].ModeReason == "" {
			t.Fatalf("%s: shown as %+v", name, list[0])
		}
		// It stays so until somebody accepts the history, whatever the agent says next.
		again := a.connect(h.manager, &agentv1.Hello{})
		again.welcome()
		if again.next().GetObserve() == nil {
			t.Fatalf("%s: a second connection is trusted", name)
		}
	}
}

func TestOlderEpochOfOursGetsASnapshot(t *testing.T) {
	h := newHouse(t)
	a := h.join("one")
	old := h.hello(9)
	h.exec("insert into servers.epochs (number, lineage, reason) values (2, gen_random_uuid(), 'test')")
	h.put(a.id, instances, h.owner(), item("instance", uuid.New()))
	s := a.connect(h.manager, old)
	if w := s.welcome(); w.GetEpoch().GetNumber() != 2 {
		t.Fatalf("epoch %v", w.GetEpoch())
	}
	if part := s.next().GetSnapshot(); part.GetCount() != 1 || part.GetEpoch().GetNumber() != 2 {
		t.Fatalf("snapshot %v", part)
	}
}

// big is an entry of about 400 KB.
func big(id uuid.UUID) servers.Desired {
	return servers.Desired{Key: servers.KeyOf("instance", id), Body: &agentv1.Instance{Id: id.String(), Spec: bytes.Repeat([]byte("x"), 400<<10)}}
}

func TestLongSnapshotsAndDeltasComeInPieces(t *testing.T) {
	h := newHouse(t)
	a := h.join("one")
	owner := h.owner()
	var items []servers.Desired
	for range 16 {
		items = append(items, big(uuid.New()))
	}
	h.put(a.id, instances, owner, items[0])
	held := a.connect(h.manager, h.hello(1))
	held.welcome()
	held.next() // the empty stream of routes
	h.put(a.id, instances, owner, items...)
	h.Wake(a.id)
	fresh := a.connect // both ways end with the same entries
	collect := func(s *session) int {
		count, parts := 0, 0
		for {
			m := s.next()
			part := m.GetSnapshot()
			if d := m.GetDelta(); d != nil {
				if size(m) > 4<<20 {
					t.Fatalf("a delta of %d bytes", size(m))
				}
				return count + len(d.GetEntries())
			}
			if part.GetStream() != instances {
				continue
			}
			count, parts = count+len(part.GetEntries()), parts+1
			if size(m) > 4<<20 {
				t.Fatalf("a part of %d bytes", size(m))
			}
			if part.GetLast() {
				if part.GetCount() != 16 || parts < 2 {
					t.Fatalf("%d entries in %d parts", part.GetCount(), parts)
				}
				return count
			}
		}
	}
	if n := collect(held); n < 15 {
		t.Fatalf("%d entries reached the connected agent", n)
	}
	behind := fresh(h.manager, h.hello(1))
	behind.welcome()
	if n := collect(behind); n < 15 {
		t.Fatalf("%d entries reached the agent that was behind", n)
	}
	s := fresh(h.manager, &agentv1.Hello{})
	s.welcome()
	if n := collect(s); n != 16 {
		t.Fatalf("%d entries", n)
	}
}

func TestSecondSessionReplacesTheFirst(t *testing.T) {
	h := newHouse(t)
	a := h.join("one")
	first := a.connect(h.manager, &agentv1.Hello{})
	if first.welcome().GetSession() != 1 {
		t.Fatal("first session has another number")
	}
	second := a.connect(h.manager, &agentv1.Hello{})
	if second.welcome().GetSession() != 2 {
		t.Fatal("second session has another number")
	}
	first.ended()
	second.report(true)
	h.until("synced", "select synced and silent_since is null and number = 2 from servers.sessions where server_id = $1", a.id)
}

// The first session is on a manager that has not heard of the second: what it reports late must not be believed.
func TestLateReportOfAReplacedSessionIsFenced(t *testing.T) {
	h := newHouse(t)
	other := h.another()
	a := h.join("one")
	id, owner := uuid.New(), h.owner()
	h.put(a.id, instances, owner, item("instance", id))
	first := a.connect(h.manager, &agentv1.Hello{})
	first.welcome()
	second := a.connect(other, &agentv1.Hello{})
	second.welcome()
	second.report(true, status(id, agentv1.InstanceState_INSTANCE_STATE_FAILED))
	h.until("observed", "select exists (select from servers.observations where key = $1)", servers.KeyOf("instance", id))
	first.report(false, status(id, agentv1.InstanceState_INSTANCE_STATE_READY))
	first.ended()
	seen, err := h.Observations(context.Background(), h.db.Pool, owner.ID)
	must(t, err)
	if got := seen[servers.KeyOf("instance", id)].Instance.GetState(); got != agentv1.InstanceState_INSTANCE_STATE_FAILED {
		t.Fatalf("observed %s", got)
	}
	h.until("the second is untouched", "select synced and silent_since is null from servers.sessions where server_id = $1", a.id)
}

func status(id uuid.UUID, state agentv1.InstanceState) *agentv1.InstanceStatus {
	return &agentv1.InstanceStatus{InstanceId: id.String(), State: state}
}

func TestSilenceOfThreeBeatsEndsASession(t *testing.T) {
	h := newHouse(t, func(d *servers.Deps) { d.Beat = 20 * time.Millisecond })
	a := h.join("one")
	s := a.connect(h.manager, &agentv1.Hello{})
	s.welcome()
	s.report(true)
	s.ended()
	h.until("silent", "select silent_since is not null and not synced from servers.sessions where server_id = $1", a.id)
	list, err := h.List(context.Background(), operator)
	must(t, err)
	if list[0].Status != "unknown" || list[0].Knowledge != "stale" || list[0].LastSeenAt == nil {
		t.Fatalf("shown as %+v", list[0])
	}
}

func TestSweepSilencesSessionsOfDeadProcesses(t *testing.T) {
	h := newHouse(t)
	other := h.another()
	a, b := h.join("one"), h.join("two")
	mine, theirs := a.connect(h.manager, &agentv1.Hello{}), b.connect(other, &agentv1.Hello{})
	for _, s := range []*session{mine, theirs} {
		s.welcome()
		s.report(true)
	}
	h.until("both synced", "select count(*) = 2 from servers.sessions where synced")
	h.dead(other.process)
	must(t, h.SweepSessions(context.Background()))
	h.until("the dead process's is silent", "select silent_since is not null and not synced from servers.sessions where server_id = $1", b.id)
	h.until("the other's is not", "select silent_since is null and synced from servers.sessions where server_id = $1", a.id)
}

// A process that could not beat for a while is taken for dead although its sessions go on. They must become known again.
func TestSessionsOfAProcessTakenForDeadComeBack(t *testing.T) {
	h := newHouse(t)
	other := h.another()
	a := h.join("one")
	s := a.connect(h.manager, &agentv1.Hello{})
	s.welcome()
	s.report(true)
	h.until("synced", "select synced from servers.sessions where server_id = $1", a.id)
	h.dead(h.process)
	must(t, other.SweepSessions(context.Background()))
	h.until("silent", "select not synced from servers.sessions where server_id = $1", a.id)
	h.live(h.process, h.address)
	must(t, h.SweepSessions(context.Background()))
	s.ended() // the agent comes back and says what is real
	back := a.connect(h.manager, &agentv1.Hello{})
	back.welcome()
	back.report(true)
	h.until("synced again", "select synced from servers.sessions where server_id = $1", a.id)
	must(t, h.SweepSessions(context.Background()))
	h.until("and stays so", "select synced from servers.sessions where server_id = $1", a.id)
}

func TestOnlyTransitionsAreWritten(t *testing.T) {
	h := newHouse(t)
	a := h.join("one")
	id, owner := uuid.New(), h.owner()
	key := servers.KeyOf("instance", id)
	h.put(a.id, instances, owner, item("instance", id))
	s := a.connect(h.manager, &agentv1.Hello{})
	s.welcome()
	s.report(true, status(id, agentv1.InstanceState_INSTANCE_STATE_STARTING))
	h.until("planned", "select exists (select from servers.reconciles where owner = $1 and wanted > 0)", owner.ID)
	wanted := value[int64](h, "select wanted from servers.reconciles where owner = $1", owner.ID)
	at := value[time.Time](h, "select observed_at from servers.observations where key = $1", key)
	for range 3 {
		s.report(false, status(id, agentv1.InstanceState_INSTANCE_STATE_STARTING))
	}
	other := uuid.New()
	s.report(false, status(other, agentv1.InstanceState_INSTANCE_STATE_QUARANTINED)) // nobody's: stored, and a mark that all before were read
	h.until("read", "select exists (select from servers.observations where key = $1 and owner is null)", servers.KeyOf("instance", other))
	if again := value[int64](h, "select wanted from servers.reconciles where owner = $1", owner.ID); again != wanted {
		t.Fatalf("planned %d times for nothing", again-wanted)
	}
	if again := value[time.Time](h, "select observed_at from servers.observations where key = $1", key); !again.Equal(at) {
		t.Fatal("written although nothing changed")
	}
	s.report(false, status(id, agentv1.InstanceState_INSTANCE_STATE_READY))
	h.until("a transition", "select wanted = $2 from servers.reconciles where owner = $1", owner.ID, wanted+1)
}

func TestAcknowledgementsWakeTheirOwners(t *testing.T) {
	h := newHouse(t)
	a := h.join("one")
	one, two := h.owner(), h.owner()
	h.put(a.id, routes, one, item("routes", one.ID))
	h.put(a.id, routes, two, item("routes", two.ID))
	s := a.connect(h.manager, &agentv1.Hello{})
	epoch := s.welcome().GetEpoch()
	acked := func() uint64 {
		n, err := h.Acked(context.Background(), h.db.Pool, a.id, routes)
		must(t, err)
		return n
	}
	s.applied(routes, &agentv1.Epoch{Number: 1, Lineage: uuid.NewString()}, 2) // of another history
	s.applied(routes, epoch, 1)
	h.until("acknowledged", "select acked = 1 from servers.streams where stream = 2")
	h.until("its owner", "select exists (select from servers.reconciles where owner = $1)", one.ID)
	if value[bool](h, "select exists (select from servers.reconciles where owner = $1)", two.ID) {
		t.Fatal("an owner was woken whose routes are not served")
	}
	s.applied(routes, epoch, 2)
	h.until("the other", "select exists (select from servers.reconciles where owner = $1)", two.ID)
	s.applied(routes, epoch, 1)
	s.applied(routes, epoch, 99) // never issued
	s.report(true)
	h.until("synced", "select synced from servers.sessions where server_id = $1", a.id)
	if acked() != 2 {
		t.Fatalf("acknowledged %d: it went back", acked())
	}
}

func TestDigestThatDiffersAsksForAFullReport(t *testing.T) {
	h := newHouse(t)
	a := h.join("one")
	s := a.connect(h.manager, &agentv1.Hello{})
	s.welcome()
	for s.next().GetSnapshot().GetStream() != routes { //nolint:revive // both streams are sent first
	}
	id := uuid.New()
	s.report(true, status(id, agentv1.InstanceState_INSTANCE_STATE_READY))
	same := agentv1.HashStatuses([]*agentv1.InstanceStatus{status(id, agentv1.InstanceState_INSTANCE_STATE_READY)})
	beat := func(digest []byte) {
		s.send(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_Heartbeat{Heartbeat: &agentv1.Heartbeat{Digest: digest, Instances: 1}}})
	}
	beat(same)
	beat([]byte("other"))
	if s.next().GetRequest().GetFullReport() == nil {
		t.Fatal("no full report was asked for")
	}
	select {
	case m := <-s.in:
		t.Fatalf("asked twice: %v", m)
	default:
	}
}

func TestPlaceTakesOnlyServersThatAreWell(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	a, b := h.join("one"), h.join("two")
	group := value[uuid.UUID](h, "select group_id from servers.servers limit 1")
	if _, err := h.Place(ctx, h.db.Pool, group, "run"); fault.KindOf(err) != fault.Unavailable {
		t.Fatal(err)
	}
	for _, x := range []*agent{a, b} {
		s := x.connect(h.manager, &agentv1.Hello{})
		s.welcome()
		s.report(true)
	}
	h.until("synced", "select count(*) = 2 from servers.sessions where synced")
	h.put(a.id, instances, h.owner(), item("instance", uuid.New()))
	if id, err := h.Place(ctx, h.db.Pool, group, "run"); err != nil || id != b.id {
		t.Fatalf("placed on %s, %v", id, err)
	}
	if _, err := h.Place(ctx, h.db.Pool, group, "fly"); fault.KindOf(err) != fault.Unavailable {
		t.Fatal(err)
	}
	h.exec("update servers.servers set mode = 'drain' where id = $1", b.id)
	if id, err := h.Place(ctx, h.db.Pool, group, "run"); err != nil || id != a.id {
		t.Fatalf("placed on %s, %v", id, err)
	}
	h.tx(func(tx pgx.Tx) error {
		got, err := h.GroupFor(ctx, tx, operator)
		if err != nil || got != group {
			t.Fatalf("group %s, %v", got, err)
		}
		return nil
	})
}
