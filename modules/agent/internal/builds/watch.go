package builds

import (
	"context"
	"fmt"

	"connectrpc.com/connect"

	"pandu/modules/agent/agentv1"
)

// watch follows one stream of assignments. got says that at least one list came.
func (s *Service) watch(ctx context.Context) (got bool, err error) {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := s.deps.Client.Watch(inner, connect.NewRequest(&agentv1.WatchBuildsRequest{Concurrency: uint32(s.deps.Concurrency)}))
	if err != nil {
		return false, fmt.Errorf("watch builds: %w", err)
	}
	defer stream.Close()
	lists := make(chan []*agentv1.BuildAttempt)
	go func() {
		defer close(lists)
		for stream.Receive() {
			select {
			case lists <- stream.Msg().GetAttempts():
			case <-inner.Done():
				return
			}
		}
	}()
	return s.follow(ctx, lists), stream.Err()
}

// follow applies every list, and the newest one again whenever an attempt ended and made room.
func (s *Service) follow(ctx context.Context, lists <-chan []*agentv1.BuildAttempt) (got bool) {
	var newest []*agentv1.BuildAttempt
	for {
		select {
		case list, open := <-lists:
			if !open {
				return got
			}
			newest, got = list, true
		case <-s.room:
		}
		if got {
			s.reconcile(ctx, newest)
		}
	}
}
