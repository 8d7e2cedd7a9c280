// Package storage keeps bytes: uploaded archives, logs of builds, and the images of the panel's own registry.
//
// Everything goes through one small interface (Store), on disk here; what is uploaded is judged before it is accepted.
// It never unpacks an upload, never runs anything, and does not decide who may push or pull what: the registry asks the
// function it is given. Tables: storage.uploads, repositories, blobs, repository_blobs, directory.
package storage

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sync/semaphore"

	"pandu/modules/kit/pg"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/storage/internal/disk"
)

// Store keeps objects by key: slash-separated parts of letters, digits, '.', '_' and '-', none beginning with a dot.
// An object is whole or not there, and cannot be changed, only replaced. Errors that say "not there" match fs.ErrNotExist.
type Store interface {
	// Put stores what r gives until its end and returns how many bytes that were and their SHA-256 (hex). It is
	// durable when Put returns nil.
	Put(ctx context.Context, key string, r io.Reader) (size int64, sha256 string, err error)
	// Adopt stores the local file at path, which is gone afterwards. The caller has synced the file.
	Adopt(ctx context.Context, key, path string) error
	// Get opens an object; the caller closes it.
	Get(ctx context.Context, key string) (io.ReadSeekCloser, int64, error)
	// Delete removes an object; one that is not there is no error.
	Delete(ctx context.Context, key string) error
	// List calls fn for every object below a prefix, in no particular order, until fn returns an error.
	List(ctx context.Context, prefix string, fn func(Object) error) error
}

// Object is one listed object.
type Object = disk.Object

// Deps are what the service needs.
type Deps struct {
	DB       *pg.DB
	Identity *identity.Service
	Log      *slog.Logger
	Dir      string // of all data; uploads, logs, images and temporary files get directories below it
}

// Service keeps and gives out bytes.
type Service struct {
	db        *pg.DB
	identity  *identity.Service
	log       *slog.Logger
	store     Store
	dir       string
	temp      string // local directory of files that are being received
	receiving *semaphore.Weighted
}

// receivingAtMost bounds how many uploads are received and judged at once in this process.
const receivingAtMost = 16

// New makes the service and the directories it needs, readable by nobody else.
func New(deps Deps) (*Service, error) {
	s := &Service{
		db: deps.DB, identity: deps.Identity, log: deps.Log, dir: deps.Dir, temp: filepath.Join(deps.Dir, "receiving"),
		receiving: semaphore.NewWeighted(receivingAtMost),
	}
	objects := filepath.Join(deps.Dir, "objects")
	for _, dir := range []string{objects, s.temp, s.registryDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make storage directory: %w", err)
		}
	}
	store, err := disk.New(objects)
	if err != nil {
		return nil, err
	}
	s.store = store
	return s, nil
}

func (s *Service) registryDir() string { return filepath.Join(s.dir, "registry") }
