package storage

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"pandu/modules/kit/archive"
	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
	"pandu/modules/manager/audit"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/storage/internal/disk"
)

// Upload is an archive that was accepted.
type Upload struct {
	ID        uuid.UUID `json:"id" db:"id"`
	ProjectID uuid.UUID `json:"project_id" db:"project_id"`
	Filename  string    `json:"filename" db:"filename" doc:"As the uploader called it."`
	Digest    string    `json:"digest" db:"digest" doc:"sha256: and 64 hexadecimal digits, of the archive as it was uploaded."`
	Size      int64     `json:"size" db:"size" doc:"Bytes of the archive."`
	Format    string    `json:"format" db:"format" doc:"zip, tar or tar.gz."`
	Entries   int       `json:"entries" db:"entries" doc:"Files, folders and links in it."`
	Unpacked  int64     `json:"unpacked" db:"unpacked" doc:"Bytes of all files in it."`
	CreatedBy string    `json:"created_by" db:"created_by"`
	CreatedAt time.Time `json:"created_at" db:"created_at"`
}

var (
	errReceiving = fault.New(fault.Unavailable, "uploads_busy", "Many uploads are arriving at this moment. Try again in a few seconds.").
			After(5 * time.Second)
	errBrokenOff = fault.New(fault.Invalid, "upload_incomplete", "The upload broke off before its end. Upload the file again.")
	errDigest    = fault.New(fault.Invalid, "upload_digest", "What arrived is not what was sent: the checksums differ. Upload the file again.")
)

// Receive takes an archive for a project: streams it to disk, compares the declared SHA-256 (64 hexadecimal digits,
// with or without "sha256:"; "" for none), judges the archive, and only then accepts and records it. A refused or
// broken upload leaves nothing behind. The caller has checked that the project exists and that the actor may upload.
func (s *Service) Receive(ctx context.Context, a identity.Actor, projectID uuid.UUID, filename string, body io.Reader, declaredSHA256 string) (Upload, error) {
	if err := a.Require(identity.UploadsCreate); err != nil {
		return Upload{}, err
	}
	if !s.receiving.TryAcquire(1) {
		return Upload{}, errReceiving
	}
	defer s.receiving.Release(1)
	f, err := s.tempFile()
	if err != nil {
		return Upload{}, err
	}
	// Whatever happened, the file has another name now or is not wanted.
	defer func() { _ = f.Close(); _ = os.Remove(f.Name()) }()
	u := Upload{ID: pg.NewID(), ProjectID: projectID, Filename: cleanFilename(filename), CreatedBy: a.Label}
	if u.Size, u.Digest, err = receive(ctx, f, body, declaredSHA256); err != nil {
		return Upload{}, err
	}
	if err := u.judge(ctx, f.Name()); err != nil {
		return Upload{}, err
	}
	return u, s.accept(ctx, a, &u, f.Name())
}

// tempFile makes a file that is locked while this process lives, so that the sweeper knows the dead ones.
func (s *Service) tempFile() (*os.File, error) {
	f, err := os.CreateTemp(s.temp, "upload-*")
	if err != nil {
		return nil, fmt.Errorf("create temporary file: %w", disk.Full(err))
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock temporary file: %w", err)
	}
	return f, nil
}

// receive writes the body to f, durably, and returns its size and digest.
func receive(ctx context.Context, f *os.File, body io.Reader, declared string) (int64, string, error) {
	most := archive.DefaultLimits().Packed
	size, sum, err := disk.Copy(ctx, f, io.LimitReader(body, most+1))
	switch {
	case err != nil && ctx.Err() != nil:
		return 0, "", errBrokenOff.Because(err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return 0, "", errBrokenOff.Because(err)
	case err != nil:
		return 0, "", fmt.Errorf("receive upload: %w", disk.Full(err))
	case size > most:
		return 0, "", fault.Newf(fault.TooLarge, "archive_packed_size",
			"The archive is bigger than %d MiB. Leave out what the build makes anew: list it in .dockerignore (node_modules, .git, build output).", most>>20).
			With("limit", fmt.Sprint(most))
	}
	if want := strings.ToLower(strings.TrimPrefix(declared, "sha256:")); want != "" && subtle.ConstantTimeCompare([]byte(want), []byte(sum)) != 1 {
		return 0, "", errDigest
	}
	if err := f.Sync(); err != nil {
		return 0, "", fmt.Errorf("sync upload: %w", disk.Full(err))
	}
	return size, "sha256:" + sum, nil
}

// judge unpacks the archive into nothing and fills in what it holds.
func (u *Upload) judge(ctx context.Context, path string) error {
	ar, err := archive.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = ar.Close() }() // read only
	summary, err := ar.Check(ctx)
	if err != nil {
		return err
	}
	u.Format, u.Entries, u.Unpacked = string(summary.Format), summary.Entries, summary.Bytes
	return nil
}

// accept moves the file to its place and records it. An object without its row, which a death in between leaves, is swept.
func (s *Service) accept(ctx context.Context, a identity.Actor, u *Upload, path string) error {
	key := uploadKey(a.OrganizationID, u.ID)
	if err := s.store.Adopt(ctx, key, path); err != nil {
		return err
	}
	err := s.db.InTx(ctx, func(tx pgx.Tx) error {
		if err := s.identity.Reserve(ctx, tx, a.OrganizationID, identity.LimitUploadBytes, u.Size); err != nil {
			return err
		}
		if err := insertUpload(ctx, tx, a, u); err != nil {
			return err
		}
		detail := map[string]string{"digest": u.Digest, "size": fmt.Sprint(u.Size), "project": u.ProjectID.String()}
		return audit.Record(ctx, tx, a.Event("upload.create", "upload", u.ID, u.Filename, detail))
	})
	if err == nil {
		return nil
	}
	// The outcome of a commit that failed is not known: the sweeper removes the object if there is no row.
	if fault.KindOf(err) != fault.Internal {
		_ = s.store.Delete(context.WithoutCancel(ctx), key)
	}
	return fmt.Errorf("accept upload: %w", err)
}

func uploadKey(organization, id uuid.UUID) string {
	return uploadPrefix + "/" + organization.String() + "/" + id.String()
}

const uploadPrefix = "uploads"

// cleanFilename keeps the last part of a name as it may be shown and offered for download.
func cleanFilename(name string) string {
	name = path.Base(strings.ReplaceAll(strings.ToValidUTF8(name, "_"), `\`, "/"))
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '"' || (r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069) {
			return '_'
		}
		return r
	}, name)
	for len(name) > 200 {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	if name == "" || name == "." || name == "/" || name == ".." {
		return "upload"
	}
	return name
}

// Uploads lists the archives of a project, newest first.
func (s *Service) Uploads(ctx context.Context, a identity.Actor, projectID uuid.UUID, page identity.PageInput) (identity.Page[Upload], error) {
	if err := a.Require(identity.UploadsRead); err != nil {
		return identity.Page[Upload]{}, err
	}
	at, err := page.Position()
	if err != nil {
		return identity.Page[Upload]{}, err
	}
	rows, err := s.listUploads(ctx, a, projectID, at, page.Size())
	if err != nil {
		return identity.Page[Upload]{}, err
	}
	return identity.Cut(page, rows, func(u Upload) identity.Cursor { return identity.Cursor{Time: u.CreatedAt, ID: u.ID} }), nil
}

// Upload reads one archive's row.
func (s *Service) Upload(ctx context.Context, a identity.Actor, id uuid.UUID) (Upload, error) {
	if err := a.Require(identity.UploadsRead); err != nil {
		return Upload{}, err
	}
	return s.readUpload(ctx, s.db.Pool, a, id)
}

// Download opens an archive as it was uploaded; the caller closes it.
func (s *Service) Download(ctx context.Context, a identity.Actor, id uuid.UUID) (io.ReadSeekCloser, Upload, error) {
	u, err := s.Upload(ctx, a, id)
	if err != nil {
		return nil, Upload{}, err
	}
	r, _, err := s.store.Get(ctx, uploadKey(a.OrganizationID, id))
	if err != nil {
		return nil, Upload{}, fmt.Errorf("open upload: %w", err)
	}
	return r, u, nil
}

// OpenSource opens an uploaded archive of the actor's organization by its digest, for building it; the caller closes it.
func (s *Service) OpenSource(ctx context.Context, a identity.Actor, digest string) (io.ReadSeekCloser, Upload, error) {
	u, err := s.uploadByDigest(ctx, a, digest)
	if err != nil {
		return nil, Upload{}, err
	}
	return s.Download(ctx, a, u.ID)
}

// Delete removes an archive.
func (s *Service) Delete(ctx context.Context, a identity.Actor, id uuid.UUID) error {
	if err := a.Require(identity.UploadsDelete); err != nil {
		return err
	}
	err := s.db.InTx(ctx, func(tx pgx.Tx) error {
		u, err := s.readUpload(ctx, tx, a, id)
		if err != nil {
			return err
		}
		if err := s.removeUploads(ctx, tx, a, []uuid.UUID{id}); err != nil {
			return err
		}
		return audit.Record(ctx, tx, a.Event("upload.delete", "upload", id, u.Filename, nil))
	})
	if err != nil {
		return err
	}
	return s.store.Delete(ctx, uploadKey(a.OrganizationID, id))
}

// ProjectFiles lists in tx the archives of a project, for DropFiles.
func (s *Service) ProjectFiles(ctx context.Context, tx pgx.Tx, a identity.Actor, projectID uuid.UUID) ([]uuid.UUID, error) {
	return s.projectUploads(ctx, tx, a, projectID)
}

// DropFiles removes the files of archives whose rows are gone for good, instead of waiting for Sweep to find them. Call
// it after the commit; what is gone already is no error.
func (s *Service) DropFiles(ctx context.Context, a identity.Actor, ids []uuid.UUID) error {
	for _, id := range ids {
		if err := s.store.Delete(ctx, uploadKey(a.OrganizationID, id)); err != nil {
			return fmt.Errorf("delete archive: %w", err)
		}
	}
	return nil
}

// DeleteProject removes the rows of all archives of a project in the caller's transaction and records it; the files go
// with DropFiles or the next Sweep, once that transaction has been committed.
func (s *Service) DeleteProject(ctx context.Context, tx pgx.Tx, a identity.Actor, projectID uuid.UUID) error {
	ids, err := s.projectUploads(ctx, tx, a, projectID)
	if err != nil || len(ids) == 0 {
		return err
	}
	if err := s.removeUploads(ctx, tx, a, ids); err != nil {
		return err
	}
	detail := map[string]string{"count": fmt.Sprint(len(ids))}
	return audit.Record(ctx, tx, a.Event("upload.delete_all", "project", projectID, "", detail))
}
