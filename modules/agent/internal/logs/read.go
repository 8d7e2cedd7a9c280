package logs

import (
	"context"
	"errors"
	"slices"

	"pandu/modules/agent/agentv1"
	"pandu/modules/kit/fault"
)

// How much goes into one chunk.
const (
	chunkLines = 256
	chunkBytes = 256 << 10
)

// Read sends the log of request's instance or build in chunks, from its position or its tail on. Without follow it ends
// after what is there; with follow when ctx ends (nil) or the build does. The last chunk of a log that ended has End.
// Errors: fault NotFound when there is no such log here, Invalid for a bad id, and what send returns.
func (s *Service) Read(ctx context.Context, request *agentv1.LogRequest, send func(*agentv1.LogChunk) error) error {
	key, err := requestKey(request)
	if err != nil {
		return err
	}
	st, err := s.acquire(key, false)
	if err != nil {
		return err
	}
	defer s.release(key, st)
	r := reader{stream: st, send: send}
	if r.next, err = r.start(request); err != nil {
		return err
	}
	return r.run(ctx, request.GetFollow(), request.GetBuildAttemptId() != "")
}

func requestKey(request *agentv1.LogRequest) (string, error) {
	instance, build := request.GetInstanceId(), request.GetBuildAttemptId()
	switch {
	case build == "" && idPattern.MatchString(instance):
		return instanceKey(instance), nil
	case instance == "" && idPattern.MatchString(build):
		return buildKey(build), nil
	default:
		return "", fault.New(fault.Invalid, "log_request", "A log request names one instance or one build attempt.")
	}
}

type reader struct {
	stream *stream
	send   func(*agentv1.LogChunk) error
	next   int64 // position of the first line not sent yet
}

// start is the position the first line begins at.
func (r *reader) start(request *agentv1.LogRequest) (int64, error) {
	segments, end, _, _ := r.stream.view()
	if request.GetTail() == 0 {
		if after := int64(request.GetAfter()); after >= 0 && after <= end {
			return r.align(segments, after, end)
		}
		return segments[0], nil // a position of a log that was lost: everything is new
	}
	want := int(request.GetTail())
	for i, first := range slices.Backward(segments) {
		var starts []int64
		position := first
		err := r.stream.scan(first, 0, end, func(_ record, after int64) bool {
			starts = append(starts, position)
			position = after
			return true
		})
		if err != nil {
			return 0, err
		}
		if len(starts) >= want {
			return starts[len(starts)-want], nil
		}
		if want -= len(starts); i == 0 {
			return first, nil
		}
	}
	return end, nil
}

// align is the first position from after on where a record begins: after came from a stranger.
func (r *reader) align(segments []int64, after, end int64) (int64, error) {
	if after <= segments[0] || after == end {
		return after, nil
	}
	i, found := slices.BinarySearch(segments, after)
	if found {
		return after, nil
	}
	begin := segments[i-1]
	err := r.stream.scan(begin, 0, end, func(_ record, next int64) bool {
		if begin < after {
			begin = next
		}
		return begin < after
	})
	return begin, err
}

func (r *reader) run(ctx context.Context, follow, build bool) error {
	for {
		segments, end, changed, writers := r.stream.view()
		if err := r.drain(ctx, segments, end); err != nil {
			return err
		}
		if !follow || build && writers == 0 {
			return r.send(&agentv1.LogChunk{End: true})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// drain sends what lies between next and end.
func (r *reader) drain(ctx context.Context, segments []int64, end int64) error {
	chunk := &agentv1.LogChunk{}
	if r.next < segments[0] {
		chunk.Dropped = uint64(segments[0] - r.next)
		r.next = segments[0]
	}
	size := 0
	for i, first := range segments {
		if i+1 < len(segments) && segments[i+1] <= r.next {
			continue
		}
		var failed error
		err := r.stream.scan(first, r.next, end, func(rec record, after int64) bool {
			if size += int(rec.size()); size > chunkBytes || len(chunk.Lines) == chunkLines {
				if failed = r.flush(ctx, chunk); failed != nil {
					return false
				}
				chunk, size = &agentv1.LogChunk{}, int(rec.size())
			}
			chunk.Dropped += uint64(after - rec.size() - r.next)
			chunk.Lines = append(chunk.Lines, rec.line(after))
			r.next = after
			return true
		})
		if err = errors.Join(failed, err); err != nil {
			return err
		}
	}
	if len(chunk.Lines) == 0 && chunk.Dropped == 0 {
		return nil
	}
	return r.flush(ctx, chunk)
}

func (r *reader) flush(ctx context.Context, chunk *agentv1.LogChunk) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.send(chunk)
}
