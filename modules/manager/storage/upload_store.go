package storage

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
	"pandu/modules/manager/identity"
)

const insertUploadRow = `
	insert into storage.uploads (organization_id, id, project_id, filename, digest, size, format, entries, unpacked, created_by)
	values (@organization, @id, @project, @filename, @digest, @size, @format, @entries, @unpacked, @by)
	returning created_at`

const selectUpload = `
	select id, project_id, filename, digest, size, format, entries, unpacked, created_by, created_at
	from storage.uploads where organization_id = @organization and id = @id`

const selectUploadByDigest = `
	select id, project_id, filename, digest, size, format, entries, unpacked, created_by, created_at
	from storage.uploads where organization_id = @organization and digest = @digest order by created_at desc, id desc limit 1`

const selectUploads = `
	select id, project_id, filename, digest, size, format, entries, unpacked, created_by, created_at
	from storage.uploads
	where organization_id = @organization and project_id = @project
	  and (@before_time::timestamptz is null or (created_at, id) < (@before_time, @before_id::uuid))
	order by created_at desc, id desc limit @limit`

const selectProjectUploads = `
	select id from storage.uploads where organization_id = @organization and project_id = @project for update`

const deleteUploads = `
	with gone as (delete from storage.uploads where organization_id = @organization and id = any (@ids) returning size)
	select coalesce(sum(size), 0)::bigint from gone`

var errUpload = fault.New(fault.NotFound, "upload_not_found", "There is no such upload.")

func insertUpload(ctx context.Context, tx pgx.Tx, a identity.Actor, u *Upload) error {
	at, err := pg.Value[time.Time](ctx, tx, insertUploadRow, pg.Args{
		"organization": a.OrganizationID, "id": u.ID, "project": u.ProjectID, "filename": u.Filename, "digest": u.Digest,
		"size": u.Size, "format": u.Format, "entries": u.Entries, "unpacked": u.Unpacked, "by": u.CreatedBy,
	})
	if err != nil {
		return fmt.Errorf("insert upload: %w", err)
	}
	u.CreatedAt = at
	return nil
}

func (s *Service) readUpload(ctx context.Context, q pg.Querier, a identity.Actor, id uuid.UUID) (Upload, error) {
	u, err := pg.One[Upload](ctx, q, selectUpload, pg.Args{"organization": a.OrganizationID, "id": id})
	if pg.None(err) {
		return Upload{}, errUpload
	}
	if err != nil {
		return Upload{}, fmt.Errorf("read upload: %w", err)
	}
	return u, nil
}

func (s *Service) uploadByDigest(ctx context.Context, a identity.Actor, digest string) (Upload, error) {
	u, err := pg.One[Upload](ctx, s.db.Pool, selectUploadByDigest, pg.Args{"organization": a.OrganizationID, "digest": digest})
	if pg.None(err) {
		return Upload{}, errUpload
	}
	if err != nil {
		return Upload{}, fmt.Errorf("read upload by digest: %w", err)
	}
	return u, nil
}

func (s *Service) listUploads(ctx context.Context, a identity.Actor, project uuid.UUID, at identity.Cursor, limit int) ([]Upload, error) {
	beforeTime, beforeID := at.Args()
	rows, err := pg.All[Upload](ctx, s.db.Pool, selectUploads, pg.Args{
		"organization": a.OrganizationID, "project": project, "before_time": beforeTime, "before_id": beforeID, "limit": limit,
	})
	if err != nil {
		return nil, fmt.Errorf("list uploads: %w", err)
	}
	return rows, nil
}

func (s *Service) projectUploads(ctx context.Context, tx pgx.Tx, a identity.Actor, project uuid.UUID) ([]uuid.UUID, error) {
	ids, err := pg.Values[uuid.UUID](ctx, tx, selectProjectUploads, pg.Args{"organization": a.OrganizationID, "project": project})
	if err != nil {
		return nil, fmt.Errorf("list uploads of project: %w", err)
	}
	return ids, nil
}

// removeUploads deletes rows and gives their bytes back to the plan.
func (s *Service) removeUploads(ctx context.Context, tx pgx.Tx, a identity.Actor, ids []uuid.UUID) error {
	size, err := pg.Value[int64](ctx, tx, deleteUploads, pg.Args{"organization": a.OrganizationID, "ids": ids})
	if err != nil {
		return fmt.Errorf("delete uploads: %w", err)
	}
	return s.identity.Release(ctx, tx, a.OrganizationID, identity.LimitUploadBytes, size)
}
