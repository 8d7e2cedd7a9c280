package builds

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"sync/atomic"
	"time"

	"pandu/modules/agent/agentv1"
	"pandu/modules/spec"
)

// Why an attempt's context ends.
var (
	errLeft      = errors.New("the attempt is no longer assigned to this server")
	errCancelled = errors.New("the build was cancelled")
	errTime      = errors.New("the build reached its time limit")
)

// Phases, as Progress tells them.
const (
	phaseSource = "source"
	phaseBuild  = "build"
	phasePush   = "push"
)

// defaultTime bounds a build that came without a limit.
const defaultTime = 30 * time.Minute

// attempt is one run of one build.
type attempt struct {
	*agentv1.BuildAttempt
	service *Service
	spec    spec.Build
	dir     string // temporary files, removed at the end
	journal *journal
	secrets map[string]string
	stop    context.CancelCauseFunc
	phase   atomic.Value // string
	moved   chan struct{}
}

var attemptID = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z_-]{0,63}$`)

// start begins an attempt. The caller holds the lock.
func (s *Service) start(ctx context.Context, assigned *agentv1.BuildAttempt) {
	id := assigned.GetAttemptId()
	if !attemptID.MatchString(id) {
		s.deps.Logger.Error("build attempt has an id that is none", "attempt_id", id)
		return
	}
	ctx, stop := context.WithCancelCause(ctx)
	a := &attempt{
		BuildAttempt: assigned, service: s, stop: stop, dir: filepath.Join(s.deps.Dir, attemptPrefix+id),
		moved: make(chan struct{}, 1),
	}
	a.phase.Store(phaseSource)
	s.running[id] = a
	s.wait.Add(1)
	go func() {
		defer s.wait.Done()
		defer stop(nil)
		over := a.run(ctx)
		s.end(id, over)
		if a.spec.Kind == spec.Dockerfile {
			s.pruneCache(s.life)
		}
	}()
}

// end makes room. over says the attempt must not run again here even if it is still in the list.
func (s *Service) end(id string, over bool) {
	s.mu.Lock()
	delete(s.running, id)
	if over {
		s.finished[id] = true
	}
	s.mu.Unlock()
	select {
	case s.room <- struct{}{}:
	default:
	}
}

// run builds and reports. It returns false when the attempt was given up because this process stops.
func (a *attempt) run(ctx context.Context) (over bool) {
	log := a.service.deps.Logger.With("attempt_id", a.GetAttemptId(), "build_id", a.GetBuildId())
	begun := a.service.deps.Now()
	renewed, endLease := context.WithCancel(context.WithoutCancel(ctx))
	defer endLease()
	go a.renew(renewed)
	defer os.RemoveAll(a.dir)

	built, err := a.build(ctx)
	if ctx.Err() != nil && stopping(ctx) {
		a.journal.close()
		log.Info("build given up", "phase", a.phase.Load())
		return false
	}
	result := a.result(ctx, built, err)
	a.conclude(result, begun)
	if err := a.deliver(ctx, result); err != nil {
		log.Warn("build result was not taken", "error", err)
	}
	log.Info("build ended", "code", result.GetErrorCode(), "digest", result.GetDigest(), "took", a.service.deps.Now().Sub(begun))
	return true
}

// stopping says that ctx ended with the process, not for a reason of this attempt.
func stopping(ctx context.Context) bool {
	cause := context.Cause(ctx)
	return !errors.Is(cause, errLeft) && !errors.Is(cause, errCancelled)
}

// built is what a build made.
type built struct {
	digest string
	config spec.ImageConfig
}

// build does the work within the time limit. Its errors are *failure, or the cause of ctx.
func (a *attempt) build(ctx context.Context) (built, error) {
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return built{}, diskFailure("make the build's folder", err)
	}
	var err error
	if a.journal, err = newJournal(a.service.deps.Logs, a.GetAttemptId(), filepath.Join(a.dir, "log"), a.service.deps.Now); err != nil {
		return built{}, diskFailure("open the build's log", err)
	}
	decodeErr := json.Unmarshal(a.GetSpec(), &a.spec)
	limit := a.timeLimit()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTime)
	defer cancel()
	if decodeErr != nil {
		return built{}, failed(codeDockerfile, "What to build cannot be read.").because(decodeErr)
	}
	if err := a.fetchSecrets(ctx); err != nil {
		return built{}, err
	}
	out, err := a.make(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return built{}, cause
	}
	return out, err
}

func (a *attempt) make(ctx context.Context) (built, error) {
	switch a.spec.Kind {
	case spec.Dockerfile:
		return a.makeDockerfile(ctx)
	case spec.Static:
		return a.makeStatic(ctx)
	case spec.Import:
		return a.makeImport(ctx)
	default:
		return built{}, failed(codeDockerfile, "This agent does not know how to make a build of kind %q. Update the agent.", a.spec.Kind)
	}
}

func (a *attempt) timeLimit() time.Duration {
	limit := a.GetTimeLimit().AsDuration()
	if own := time.Duration(a.spec.TimeLimit); own > 0 && (limit <= 0 || own < limit) {
		limit = own
	}
	if limit <= 0 {
		return defaultTime
	}
	return limit
}

func (a *attempt) enter(phase string) {
	a.phase.Store(phase)
	select {
	case a.moved <- struct{}{}:
	default:
	}
}
