package builds

import (
	"context"
	"time"

	"connectrpc.com/connect"

	"pandu/modules/agent/agentv1"
)

// renewEvery is how often Progress is called when the lease allows it.
const renewEvery = 5 * time.Second

// renew keeps the lease until ctx ends, and stops the attempt when it was cancelled or is no longer ours. A manager that
// does not answer changes nothing: if the lease runs out meanwhile, the result is refused at the end.
func (a *attempt) renew(ctx context.Context) {
	every := renewEvery
	if lease := a.GetLease().AsDuration(); lease > 0 && lease/3 < every {
		every = max(lease/3, 50*time.Millisecond)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		a.progress(ctx, every)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-a.moved:
		}
	}
}

func (a *attempt) progress(ctx context.Context, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, max(timeout, time.Second))
	defer cancel()
	phase, _ := a.phase.Load().(string)
	answer, err := a.service.deps.Client.Progress(ctx, connect.NewRequest(&agentv1.BuildProgress{AttemptId: a.GetAttemptId(), Phase: phase}))
	switch {
	case err == nil && answer.Msg.GetCancelled():
		a.stop(errCancelled)
	case err != nil && lost(err):
		a.stop(errLeft)
	}
}

// lost says that the manager knows this attempt and does not count it as ours any more.
func lost(err error) bool {
	switch connect.CodeOf(err) {
	case connect.CodeFailedPrecondition, connect.CodeNotFound, connect.CodePermissionDenied:
		return true
	default:
		return false
	}
}
