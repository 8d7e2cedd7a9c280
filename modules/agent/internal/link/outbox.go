package link

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"pandu/modules/agent/agentv1"
)

const (
	maxFailures = 64      // of requests, waiting to be sent
	reportSize  = 2 << 20 // bytes of one partial report
	fullSize    = 3 << 20 // bytes of a full report before it is shortened
	maxVanished = 256     // statuses the manager remembers and we do not, before it is told everything again
)

// outbox is what waits to be sent. It holds facts, not messages: an instance that changed ten times while the manager
// did not read is sent once, as it is then, so the outbox cannot grow.
type outbox struct {
	wake chan struct{}

	mu      sync.Mutex
	full    bool
	changed bool
	acks    map[agentv1.Stream]*agentv1.Applied
	failed  []*agentv1.RequestFailed
}

func newOutbox() *outbox {
	return &outbox{wake: make(chan struct{}, 1), acks: map[agentv1.Stream]*agentv1.Applied{}}
}

func (o *outbox) note(change func(*outbox)) {
	o.mu.Lock()
	change(o)
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outbox) fail(id, code, message string) {
	if len(o.failed) < maxFailures { // whoever asked for more gives up by itself
		o.failed = append(o.failed, &agentv1.RequestFailed{Id: id, Code: code, Message: message})
	}
}

type facts struct {
	full, changed bool
	acks          map[agentv1.Stream]*agentv1.Applied
	failed        []*agentv1.RequestFailed
}

func (o *outbox) take() facts {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := facts{o.full, o.changed, o.acks, o.failed}
	o.full, o.changed, o.acks, o.failed = false, false, map[agentv1.Stream]*agentv1.Applied{}, nil
	return f
}

// told is what the manager knows from this session.
type told struct {
	instances map[string]*agentv1.InstanceStatus
	keys      map[string]*agentv1.KeyStatus
	server    *agentv1.ServerInfo
}

// send waits for the welcome and then sends what the outbox holds, and a heartbeat each beat.
func (s *session) send(ctx context.Context) error {
	patience := time.NewTimer(3 * s.link.deps.Ping)
	defer patience.Stop()
	var beat time.Duration
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-patience.C:
		return errSilent
	case beat = <-s.welcome:
	}
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	known := &told{}
	for {
		tick := false
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.out.wake:
		case <-ticker.C:
			tick = true
		}
		for _, m := range s.news(known, tick) {
			if err := s.deliver(ctx, beat, m); err != nil {
				return fmt.Errorf("send to manager: %w", err)
			}
		}
	}
}

// news turns facts into messages. An observing manager gets no acknowledgements: it did not issue what we hold.
func (s *session) news(known *told, tick bool) []*agentv1.AgentMessage {
	f := s.out.take()
	var messages []*agentv1.AgentMessage
	if f.full || f.changed || tick {
		messages = s.reports(known, f.full)
	}
	s.mu.Lock()
	observing := s.observing
	s.mu.Unlock()
	for _, ack := range f.acks {
		if !observing {
			messages = append(messages, &agentv1.AgentMessage{Message: &agentv1.AgentMessage_Applied{Applied: ack}})
		}
	}
	for _, failure := range f.failed {
		messages = append(messages, &agentv1.AgentMessage{Message: &agentv1.AgentMessage_RequestFailed{RequestFailed: failure}})
	}
	if tick && known.instances != nil {
		messages = append(messages, known.heartbeat())
	}
	return messages
}

func (s *session) reports(known *told, full bool) []*agentv1.AgentMessage {
	if known.instances == nil && !full {
		return nil // the full report comes first
	}
	instances, keys := s.link.deps.Statuses()
	server := s.link.deps.Server()
	if full || known.vanished(instances) > maxVanished {
		return []*agentv1.AgentMessage{known.all(instances, keys, server)}
	}
	return known.differences(instances, keys, server)
}

// vanished counts what the manager remembers and we do not. One that went without having been reported as gone is
// something the manager must hear of, so it weighs as much as all.
func (k *told) vanished(instances []*agentv1.InstanceStatus) int {
	here := make(map[string]bool, len(instances))
	for _, status := range instances {
		here[status.GetInstanceId()] = true
	}
	count := 0
	for id, status := range k.instances {
		switch {
		case here[id]:
		case status.GetState() == agentv1.InstanceState_INSTANCE_STATE_GONE:
			count++
		default:
			return maxVanished + 1
		}
	}
	return count
}

func (k *told) all(instances []*agentv1.InstanceStatus, keys []*agentv1.KeyStatus, server *agentv1.ServerInfo) *agentv1.AgentMessage {
	k.instances, k.keys, k.server = map[string]*agentv1.InstanceStatus{}, map[string]*agentv1.KeyStatus{}, server
	report := &agentv1.Report{Full: true, Instances: instances, Keys: keys, Server: server}
	if proto.Size(report) > fullSize {
		report.Instances = withoutLines(instances)
	}
	k.remember(report)
	return &agentv1.AgentMessage{Message: &agentv1.AgentMessage_Report{Report: report}}
}

// withoutLines leaves the log lines out: they are the only large part of a status, and the log itself stays readable.
func withoutLines(instances []*agentv1.InstanceStatus) []*agentv1.InstanceStatus {
	short := make([]*agentv1.InstanceStatus, 0, len(instances))
	for _, status := range instances {
		if len(status.GetLastLines()) > 0 {
			status = proto.CloneOf(status)
			status.LastLines = nil
		}
		short = append(short, status)
	}
	return short
}

// differences is what changed, in as many reports as the limit of a message asks for.
func (k *told) differences(instances []*agentv1.InstanceStatus, keys []*agentv1.KeyStatus, server *agentv1.ServerInfo) []*agentv1.AgentMessage {
	var reports []*agentv1.Report
	report, size := &agentv1.Report{}, 0
	add := func(m proto.Message) {
		if n := proto.Size(m); size > 0 && size+n > reportSize {
			reports = append(reports, report)
			report, size = &agentv1.Report{}, n
		} else {
			size += n
		}
	}
	for _, status := range instances {
		if !proto.Equal(k.instances[status.GetInstanceId()], status) {
			add(status)
			report.Instances = append(report.Instances, status)
		}
	}
	for _, status := range keys {
		if !proto.Equal(k.keys[status.GetKey()], status) {
			add(status)
			report.Keys = append(report.Keys, status)
		}
	}
	if !sameServer(k.server, server) {
		add(server)
		report.Server = server
	}
	if size > 0 {
		reports = append(reports, report)
	}
	messages := make([]*agentv1.AgentMessage, 0, len(reports))
	for _, report := range reports {
		k.remember(report)
		messages = append(messages, &agentv1.AgentMessage{Message: &agentv1.AgentMessage_Report{Report: report}})
	}
	return messages
}

func (k *told) remember(report *agentv1.Report) {
	for _, status := range report.GetInstances() {
		k.instances[status.GetInstanceId()] = status
	}
	for _, status := range report.GetKeys() {
		k.keys[status.GetKey()] = status
	}
	if report.GetServer() != nil {
		k.server = report.GetServer()
	}
}

// sameServer ignores free disk space, which changes all the time, unless a tenth of the disk is in between.
func sameServer(a, b *agentv1.ServerInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	free := a.GetDiskFreeBytes()
	if between := max(free, b.GetDiskFreeBytes()) - min(free, b.GetDiskFreeBytes()); between > b.GetDiskBytes()/10 {
		return false
	}
	like := proto.CloneOf(b)
	like.DiskFreeBytes = free
	return proto.Equal(a, like)
}

// heartbeat is the digest of what the manager was told, which is what it computes, too.
func (k *told) heartbeat() *agentv1.AgentMessage {
	statuses := make([]*agentv1.InstanceStatus, 0, len(k.instances))
	for _, status := range k.instances {
		statuses = append(statuses, status)
	}
	return &agentv1.AgentMessage{Message: &agentv1.AgentMessage_Heartbeat{Heartbeat: &agentv1.Heartbeat{
		Digest: agentv1.HashStatuses(statuses), Instances: uint32(len(statuses)), //nolint:gosec // far below
	}}}
}
