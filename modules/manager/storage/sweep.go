package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"pandu/modules/kit/pg"
	"pandu/modules/manager/storage/internal/disk"
)

const (
	// orphanAge is how old an object without a row must be before it is removed: its row may be about to be committed.
	orphanAge = time.Hour
	// sweepBatch is how many objects are compared with the database at once.
	sweepBatch = 500
)

const selectKnownUploads = `
	select organization_id || '/' || id from storage.uploads where (organization_id || '/' || id) = any (@keys)`

// Sweep removes what killed processes and deleted projects left: files that were being received, half-written objects,
// and archives without a row that are older than an hour. Call it at the start and every few minutes; running it twice,
// or in several processes at once, changes nothing more.
func (s *Service) Sweep(ctx context.Context, now time.Time) error {
	if err := s.sweepReceiving(now); err != nil {
		return fmt.Errorf("sweep received files: %w", err)
	}
	if d, ok := s.store.(*disk.Disk); ok {
		if err := d.Sweep(ctx, orphanAge, now); err != nil {
			return fmt.Errorf("sweep half-written objects: %w", err)
		}
	}
	if err := s.sweepUploads(ctx, now); err != nil {
		return fmt.Errorf("sweep uploads: %w", err)
	}
	return nil
}

// sweepReceiving removes temporary files whose process is dead: the lock on them died with it.
func (s *Service) sweepReceiving(now time.Time) error {
	entries, err := os.ReadDir(s.temp)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || now.Sub(info.ModTime()) < time.Minute || !e.Type().IsRegular() {
			continue // gone, or so young that its lock may not be taken yet
		}
		if err := removeIfDead(filepath.Join(s.temp, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func removeIfDead(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // nothing was written
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return nil // somebody is writing it
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// sweepUploads removes archives whose row is gone.
func (s *Service) sweepUploads(ctx context.Context, now time.Time) error {
	var batch []string
	err := s.store.List(ctx, uploadPrefix, func(o Object) error {
		if now.Sub(o.ModifiedAt) < orphanAge {
			return nil
		}
		batch = append(batch, strings.TrimPrefix(o.Key, uploadPrefix+"/"))
		if len(batch) < sweepBatch {
			return nil
		}
		full := batch
		batch = nil
		return s.removeOrphans(ctx, full)
	})
	if err != nil {
		return err
	}
	return s.removeOrphans(ctx, batch)
}

func (s *Service) removeOrphans(ctx context.Context, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	rows, err := pg.Values[string](ctx, s.db.Pool, selectKnownUploads, pg.Args{"keys": keys})
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, k := range rows {
		known[k] = true
	}
	for _, k := range keys {
		organization, id, _ := strings.Cut(k, "/")
		if known[k] || uuid.Validate(organization) != nil || uuid.Validate(id) != nil {
			continue // in use, or not ours
		}
		if err := s.store.Delete(ctx, uploadPrefix+"/"+k); err != nil {
			return err
		}
	}
	return nil
}
