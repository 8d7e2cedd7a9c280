package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"time"

	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/pg"
)

// seenEvery is how fresh last_seen_at is kept; what is unseen for a day may be collected.
const seenEvery = 10 * time.Minute

const touchRepository = `
	insert into storage.repositories (name) values (@repository)
	on conflict (name) do update set last_seen_at = now()
	where repositories.last_seen_at < now() - make_interval(secs => @every)`

const touchBlob = `
	insert into storage.blobs (digest, size) values (@digest, @size)
	on conflict (digest) do update set last_seen_at = now(), size = greatest(blobs.size, excluded.size)
	where blobs.last_seen_at < now() - make_interval(secs => @every) or blobs.size < excluded.size`

const touchLink = `
	insert into storage.repository_blobs (repository, digest, manifest) values (@repository, @digest, @manifest)
	on conflict (repository, digest) do update set last_seen_at = now()
	where repository_blobs.last_seen_at < now() - make_interval(secs => @every)`

const deleteRepository = `delete from storage.repositories where name = @repository`

// remember records, after a request has succeeded, that a blob is in a repository and was seen: pushed, or asked for.
func (s *Service) remember(ctx context.Context, q registryRequest, answer *statusWriter) error {
	digest, size := q.digest, int64(0)
	switch {
	case q.repository == "" || answer.status >= 300 || (q.kind == kindUpload && answer.status != http.StatusCreated):
		return nil // nothing there, or still on its way
	case q.kind == kindManifest && answer.Header().Get("Docker-Content-Digest") != "":
		digest = answer.Header().Get("Docker-Content-Digest")
	}
	if digest == "" {
		return nil
	}
	if q.push {
		size = s.blobSize(digest)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	args := pg.Args{
		"repository": q.repository, "digest": digest, "size": size, "manifest": q.kind == kindManifest, "every": seenEvery.Seconds(),
	}
	err := s.db.InTx(ctx, func(tx pgx.Tx) error {
		for _, statement := range []string{touchRepository, touchBlob, touchLink} {
			if _, err := pg.Exec(ctx, tx, statement, args); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("record blob: %w", err)
	}
	return nil
}

// blobSize looks a pushed blob up where distribution's filesystem driver puts it; 0 when it is not there.
func (s *Service) blobSize(digest string) int64 {
	hex := digest[len("sha256:"):]
	info, err := os.Stat(path.Join(s.registryDir(), "docker/registry/v2/blobs/sha256", hex[:2], hex, "data"))
	if err != nil {
		return 0
	}
	return info.Size()
}

// DeleteRepository makes a repository and all its links go away. The bytes of blobs that no other repository links are
// collected later, when they have not been seen for a day.
func (s *Service) DeleteRepository(ctx context.Context, name string) error {
	if !repositoryName.MatchString(name) {
		return fmt.Errorf("delete repository: malformed name %q", name)
	}
	root, err := os.OpenRoot(s.registryDir())
	if err != nil {
		return fmt.Errorf("open registry: %w", err)
	}
	defer func() { _ = root.Close() }() // a directory
	at := path.Join("docker/registry/v2/repositories", name)
	for _, part := range []string{"_manifests", "_layers", "_uploads"} { // other repositories may lie below this one's name
		if err := root.RemoveAll(path.Join(at, part)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("delete repository: %w", err)
		}
	}
	_ = root.Remove(at) // unless others lie below
	if _, err := pg.Exec(ctx, s.db.Pool, deleteRepository, pg.Args{"repository": name}); err != nil {
		return fmt.Errorf("delete repository: %w", err)
	}
	return nil
}
