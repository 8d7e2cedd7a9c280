package storage

import (
	"context"
	"fmt"
	"os"

	"github.com/google/uuid"

	"pandu/modules/kit/archive"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/storage/internal/disk"
)

// Archive opens an upload for looking into it; the caller closes it. What it holds was judged when it was accepted.
func (s *Service) Archive(ctx context.Context, a identity.Actor, id uuid.UUID) (*archive.Archive, error) {
	body, _, err := s.Download(ctx, a, id)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }() // read only
	f, err := s.tempFile()
	if err != nil {
		return nil, err
	}
	// The open archive keeps the bytes; nobody needs the name.
	defer func() { _ = f.Close(); _ = os.Remove(f.Name()) }()
	if _, _, err := disk.Copy(ctx, f, body); err != nil {
		return nil, fmt.Errorf("copy upload: %w", disk.Full(err))
	}
	ar, err := archive.Open(f.Name())
	if err != nil {
		return nil, err
	}
	if err := ar.Index(ctx); err != nil {
		_ = ar.Close()
		return nil, err
	}
	return ar, nil
}
