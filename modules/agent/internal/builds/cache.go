package builds

import (
	"context"
	"time"

	"github.com/moby/moby/client"
)

// pruneEvery is how often the Engine is asked to forget old build cache; asking costs it a walk over all of it.
const pruneEvery = 10 * time.Minute

// pruneCache keeps the Engine's build cache below the limit: Engines do not bound it unless they are told to. What was
// used longest ago goes first, what a build uses now stays.
func (s *Service) pruneCache(ctx context.Context) {
	now := s.deps.Now()
	s.mu.Lock()
	due := now.Sub(s.pruned) >= pruneEvery
	if due {
		s.pruned = now
	}
	s.mu.Unlock()
	if !due {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	// The client names the limit by the version of the API, which it must know before: an older Engine that is given the
	// newer name ignores it and forgets everything.
	if _, err := s.engine.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		return
	}
	answer, err := s.engine.BuildCachePrune(ctx, client.BuildCachePruneOptions{All: true, ReservedSpace: s.deps.CacheBytes})
	switch {
	case err != nil:
		s.deps.Logger.Warn("build cache was not pruned", "error", err)
	case answer.Report.SpaceReclaimed > 0:
		s.deps.Logger.Info("build cache pruned", "bytes", answer.Report.SpaceReclaimed)
	}
}
