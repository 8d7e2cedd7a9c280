package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"

	"pandu/modules/kit/fault"
	"pandu/modules/manager/identity"
)

const (
	logPrefix = "logs"
	// maxLog bounds what one log is read back to: what compresses extremely well is still a log, not a disk full of it.
	maxLog = 256 << 20
)

func logKey(organization, id uuid.UUID) string {
	return logPrefix + "/" + organization.String() + "/" + id.String() + ".zst"
}

// PutLog keeps a finished log, compressed, under the id of what it tells of (a build, a task). Doing it again replaces it.
func (s *Service) PutLog(ctx context.Context, a identity.Actor, id uuid.UUID, log io.Reader) error {
	r, w := io.Pipe()
	go func() {
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
		if err == nil {
			_, err = io.Copy(z, io.LimitReader(log, maxLog))
			if closeErr := z.Close(); err == nil {
				err = closeErr
			}
		}
		w.CloseWithError(err)
	}()
	_, _, err := s.store.Put(ctx, logKey(a.OrganizationID, id), r)
	_ = r.CloseWithError(io.ErrClosedPipe) // ends the goroutine when Put gave up before the end
	if err != nil {
		return fmt.Errorf("keep log: %w", err)
	}
	return nil
}

// GetLog opens a log as text; the caller closes it. A log that is not there is a fault of kind NotFound.
func (s *Service) GetLog(ctx context.Context, a identity.Actor, id uuid.UUID) (io.ReadCloser, error) {
	if err := a.Require(identity.LogsRead); err != nil {
		return nil, err
	}
	f, _, err := s.store.Get(ctx, logKey(a.OrganizationID, id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "log_not_found", "There is no log of this.")
	}
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
	if err != nil {
		_ = f.Close() // read only
		return nil, fmt.Errorf("open log: %w", err)
	}
	return &logReader{Reader: io.LimitReader(z, maxLog), z: z, f: f}, nil
}

// DeleteLog removes a log; one that is not there is no error.
func (s *Service) DeleteLog(ctx context.Context, a identity.Actor, id uuid.UUID) error {
	return s.store.Delete(ctx, logKey(a.OrganizationID, id))
}

type logReader struct {
	io.Reader
	z *zstd.Decoder
	f io.Closer
}

func (l *logReader) Close() error {
	l.z.Close()
	return l.f.Close()
}
