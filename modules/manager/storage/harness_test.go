package storage_test

import (
	"archive/zip"
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"pandu/modules/kit/pg"
	"pandu/modules/kit/pgtest"
	"pandu/modules/kit/secret"
	"pandu/modules/manager/audit"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/storage"
)

type room struct {
	t        *testing.T
	db       *pg.DB
	dir      string
	identity *identity.Service
	storage  *storage.Service
	mine     identity.Actor // of organization default
	theirs   identity.Actor // of another one
	project  uuid.UUID
}

func newRoom(t *testing.T) *room {
	t.Helper()
	r := &room{t: t, db: pgtest.New(t), dir: t.TempDir(), project: uuid.New()}
	var err error
	r.identity, err = identity.New(identity.Deps{
		DB: r.db, Audit: audit.New(r.db), MasterKey: secret.NewKey(), PublicURL: "http://panel.test", Now: time.Now,
	})
	must(t, err)
	must(t, r.identity.Prepare(context.Background()))
	r.storage = r.at(r.dir)
	r.mine = identity.System(r.organization("default"), "test")
	_, err = r.db.Pool.Exec(context.Background(), "insert into identity.organizations (id, slug, name) values ($1, 'other', 'Other')", uuid.New())
	must(t, err)
	r.theirs = identity.System(r.organization("other"), "test")
	return r
}

// at is a process with its files in dir.
func (r *room) at(dir string) *storage.Service {
	r.t.Helper()
	s, err := storage.New(storage.Deps{DB: r.db, Identity: r.identity, Log: slog.New(slog.DiscardHandler), Dir: dir})
	must(r.t, err)
	return s
}

func (r *room) organization(slug string) (id uuid.UUID) {
	r.t.Helper()
	must(r.t, r.db.Pool.QueryRow(context.Background(), "select id from identity.organizations where slug = $1", slug).Scan(&id))
	return id
}

func (r *room) count(sql string, args ...any) (n int) {
	r.t.Helper()
	must(r.t, r.db.Pool.QueryRow(context.Background(), sql, args...).Scan(&n))
	return n
}

// files counts the regular files below a part of the data directory.
func (r *room) files(part string) (n int) {
	r.t.Helper()
	must(r.t, filepath.WalkDir(filepath.Join(r.dir, part), func(_ string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			n++
		}
		return err
	}))
	return n
}

// zipOf packs names and contents.
func zipOf(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range files {
		w, err := z.Create(name)
		must(t, err)
		_, err = w.Write([]byte(content))
		must(t, err)
	}
	must(t, z.Close())
	return b.Bytes()
}
