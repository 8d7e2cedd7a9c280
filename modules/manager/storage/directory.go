package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"pandu/modules/kit/pg"
)

// directoryFile names the directory: processes that find the same name in it share the same files.
const directoryFile = "directory-id"

type directoryRow struct {
	ID        uuid.UUID `db:"id"`
	Shared    bool      `db:"shared"`
	ClaimedBy string    `db:"claimed_by"`
}

const lockDirectory = `select pg_advisory_xact_lock(hashtextextended('storage.directory', 0))`

const selectDirectory = `select id, shared, claimed_by from storage.directory`

const claimDirectory = `
	insert into storage.directory (id, shared, claimed_by) values (@id, @shared, @by)
	on conflict (singleton) do update
	set id = excluded.id, shared = excluded.shared, claimed_by = excluded.claimed_by, claimed_at = now()`

// Claim makes sure that all live processes keep their files in one directory. It returns an error that says what to do
// when the database knows another one and others (is a process alive elsewhere?) says yes, or when the directory was
// declared shared and is not the one the others share. by names this process in that error.
func (s *Service) Claim(ctx context.Context, by string, shared bool, others func(context.Context) (bool, error)) error {
	id, err := s.directoryID()
	if err != nil {
		return err
	}
	return s.db.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockDirectory); err != nil {
			return fmt.Errorf("lock storage directory: %w", err)
		}
		row, err := pg.One[directoryRow](ctx, tx, selectDirectory, pg.Args{})
		if err != nil && !pg.None(err) {
			return fmt.Errorf("read storage directory: %w", err)
		}
		if err == nil && row.ID != id {
			if err := s.judgeDirectory(ctx, row, shared, others); err != nil {
				return err
			}
		}
		if _, err := pg.Exec(ctx, tx, claimDirectory, pg.Args{"id": id, "shared": shared, "by": by}); err != nil {
			return fmt.Errorf("claim storage directory: %w", err)
		}
		return nil
	})
}

func (s *Service) judgeDirectory(ctx context.Context, row directoryRow, shared bool, others func(context.Context) (bool, error)) error {
	alive, err := others(ctx)
	if err != nil {
		return fmt.Errorf("look for other processes: %w", err)
	}
	switch {
	case alive && shared:
		return fmt.Errorf("%s is declared shared, but it is not the directory that %s uses: mount the same one in both places", s.dir, row.ClaimedBy)
	case alive:
		return fmt.Errorf("%s keeps its files in another directory than %s: give both the same one and declare it shared, or use S3", row.ClaimedBy, s.dir)
	}
	s.log.Warn("files are kept in a new directory, those of the former one are not here",
		slog.String("directory", s.dir), slog.String("former_process", row.ClaimedBy))
	return nil
}

// directoryID reads the directory's name, or gives it one. The lock makes two processes agree.
func (s *Service) directoryID() (uuid.UUID, error) {
	f, err := os.OpenFile(filepath.Join(s.dir, directoryFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return uuid.Nil, fmt.Errorf("open name of storage directory: %w", err)
	}
	defer func() { _ = f.Close() }() // synced before
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return uuid.Nil, fmt.Errorf("lock name of storage directory: %w", err)
	}
	b := make([]byte, 100)
	n, _ := f.Read(b) // an empty file gives nothing
	if text := strings.TrimSpace(string(b[:n])); text != "" {
		id, err := uuid.Parse(text)
		if err != nil {
			return uuid.Nil, errors.New("the file " + filepath.Join(s.dir, directoryFile) + " is damaged: it has to hold one id")
		}
		return id, nil
	}
	id := uuid.New()
	if _, err := f.WriteString(id.String() + "\n"); err != nil {
		return uuid.Nil, fmt.Errorf("name storage directory: %w", err)
	}
	return id, f.Sync()
}
