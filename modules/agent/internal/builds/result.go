package builds

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"connectrpc.com/connect"
	"github.com/klauspost/compress/zstd"

	"pandu/modules/agent/agentv1"
)

// deliverFor is how long a result is offered to managers that do not answer.
const deliverFor = 10 * time.Minute

func (a *attempt) result(ctx context.Context, made built, err error) *agentv1.BuildResult {
	out := &agentv1.BuildResult{AttemptId: a.GetAttemptId()}
	if err == nil {
		image, marshal := json.Marshal(made.config)
		if marshal == nil {
			out.Digest, out.Image = made.digest, image
			return out
		}
		err = marshal
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	f := classify(err)
	out.ErrorCode, out.Error, out.Retryable = f.code, a.journal.mask(f.message), f.passing
	if f.code == codeTimeout {
		out.Error = fmt.Sprintf("The build did not end within its time limit of %s.", a.timeLimit())
	}
	if f.cause != nil && f.passing {
		a.service.deps.Logger.Warn("build failed", "attempt_id", a.GetAttemptId(), "code", f.code, "error", a.journal.mask(f.Error()))
	}
	return out
}

// conclude writes the end into the log and the last lines into the result.
func (a *attempt) conclude(result *agentv1.BuildResult, begun time.Time) {
	took := a.service.deps.Now().Sub(begun).Round(100 * time.Millisecond)
	if result.GetErrorCode() == "" {
		a.journal.note("Image %s built in %s.", result.GetDigest(), took)
	} else {
		result.LastLines = a.journal.last()
		a.journal.note("Failed after %s: %s", took, result.GetError())
	}
	a.journal.close()
}

// deliver stores the log and then the result, again and again while no manager answers. An attempt that was taken away
// meanwhile is refused; that is the error. It ends early when the process stops.
func (a *attempt) deliver(ctx context.Context, result *agentv1.BuildResult) error {
	if errors.Is(context.Cause(ctx), errLeft) {
		return nil // nobody waits for it
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deliverFor)
	defer cancel()
	defer context.AfterFunc(a.service.life, cancel)()
	if err := a.again(ctx, a.storeLog); err != nil {
		a.service.deps.Logger.Warn("build log was not stored", "attempt_id", a.GetAttemptId(), "error", err)
	}
	return a.again(ctx, func(ctx context.Context) error {
		_, err := a.service.deps.Client.Finish(ctx, connect.NewRequest(result))
		return err
	})
}

// again calls f until it succeeds, is refused for good, or ctx ends.
func (a *attempt) again(ctx context.Context, f func(context.Context) error) error {
	for pause := a.service.first; ; pause = min(2*pause, a.service.last) {
		try, cancel := context.WithTimeout(ctx, time.Minute)
		err := f(try)
		cancel()
		if err == nil || lost(err) || connect.CodeOf(err) == connect.CodeInvalidArgument || ctx.Err() != nil {
			return err
		}
		sleep(ctx, pause)
	}
}

// storeLog sends the whole log, compressed.
func (a *attempt) storeLog(ctx context.Context) error {
	file, err := a.journal.open()
	if err != nil {
		return err
	}
	if file == nil {
		return nil
	}
	defer file.Close()
	stream := a.service.deps.Client.Log(ctx)
	out := &logSender{attempt: a.GetAttemptId(), stream: stream}
	packed, err := zstd.NewWriter(out, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("compress build log: %w", err)
	}
	_, err = io.Copy(packed, file)
	err = errors.Join(err, packed.Close())
	_, closed := stream.CloseAndReceive()
	if closed != nil {
		return closed // says why when the sending failed
	}
	return err
}

// logSender sends what is written as chunks.
type logSender struct {
	attempt string
	stream  *connect.ClientStreamForClient[agentv1.BuildLogChunk, agentv1.BuildLogStored]
}

func (s *logSender) Write(p []byte) (int, error) {
	return len(p), s.stream.Send(&agentv1.BuildLogChunk{AttemptId: s.attempt, Data: p})
}
