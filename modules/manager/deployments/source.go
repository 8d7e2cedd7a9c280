package deployments

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/projects"
	"pandu/modules/manager/storage"
	"pandu/modules/spec"
	"pandu/modules/spec/detect"
)

// Kinds of source.
const (
	SourceUpload = "upload"
	SourceImage  = "image"
)

// Source is an immutable snapshot of what to deploy.
type Source struct {
	ID          uuid.UUID        `db:"id"`
	ProjectID   uuid.UUID        `db:"project_id"`
	Kind        string           `db:"kind"`
	UploadID    *uuid.UUID       `db:"upload_id"`
	Digest      string           `db:"digest"`
	Label       string           `db:"label"`
	Detected    string           `db:"detected"` // compose, dockerfile, static, image; none when it cannot be deployed
	Application spec.Application `db:"application"`
	Problems    []SourceProblem  `db:"problems"`
	CreatedAt   time.Time        `db:"created_at"`
}

// SourceProblem is why a source cannot be deployed, and where.
type SourceProblem struct {
	Location string `json:"location" doc:"file:line, or empty for the source as a whole"`
	Code     string `json:"code"`
	Message  string `json:"message"`
}

// Upload takes in an archive and reads what it is. An archive that is refused leaves nothing behind; one that is good
// but cannot be deployed is kept, with its problems.
func (s *Service) Upload(ctx context.Context, actor identity.Actor, p projects.Project, filename string, body io.Reader, sha256 string) (storage.Upload, Source, error) {
	u, err := s.Storage.Receive(ctx, actor, p.ID, filename, body, sha256)
	if err != nil {
		return u, Source{}, err
	}
	src, err := s.detect(ctx, actor, u)
	if err != nil {
		return u, src, err
	}
	return u, src, s.DB.InTx(ctx, func(tx pgx.Tx) error { return s.insertSource(ctx, tx, actor, src) })
}

// detect reads what an upload is. That it is nothing we can run is an answer, not an error.
func (s *Service) detect(ctx context.Context, actor identity.Actor, u storage.Upload) (Source, error) {
	src := Source{
		ID: pg.NewID(), ProjectID: u.ProjectID, Kind: SourceUpload, UploadID: &u.ID, Digest: u.Digest, Label: u.Filename,
		Detected: "none", CreatedAt: u.CreatedAt,
	}
	files, err := s.Storage.Archive(ctx, actor, u.ID)
	if err != nil {
		return src, err
	}
	defer func() { _ = files.Close() }() // read only
	found, err := detect.Detect(ctx, files)
	if err != nil && fault.KindOf(err) != fault.Invalid && fault.KindOf(err) != fault.TooLarge {
		return src, fmt.Errorf("look into upload: %w", err)
	}
	if err != nil {
		src.Problems = problems(err)
		if found.Kind != "" {
			src.Detected = string(found.Kind)
		}
		return src, nil
	}
	src.Detected, src.Application = string(found.Kind), found.Application
	return src, nil
}

func problems(err error) []SourceProblem {
	f := fault.From(err)
	if len(f.Details) == 0 {
		return []SourceProblem{{Code: f.Code, Message: f.Message}}
	}
	list := make([]SourceProblem, 0, len(f.Details))
	for _, d := range f.Details {
		list = append(list, SourceProblem{Location: d.Location, Code: f.Code, Message: d.Message})
	}
	return list
}

// refusal is the fault of deploying a source that has problems.
func refusal(list []SourceProblem) error {
	refused := fault.New(fault.Invalid, list[0].Code, list[0].Message)
	for _, p := range list {
		if p.Location != "" {
			refused = refused.At(p.Location, p.Message)
		}
	}
	return refused
}

// uploadSource is the source that was read from an upload; it is read now if the process died in between.
func (s *Service) uploadSource(ctx context.Context, actor identity.Actor, project, upload uuid.UUID) (Source, error) {
	u, err := s.Storage.Upload(ctx, actor, upload)
	if err != nil {
		return Source{}, err
	}
	if u.ProjectID != project {
		return Source{}, fault.New(fault.NotFound, "upload_not_found", "This project has no such upload.")
	}
	sources, err := s.sourcesOf(ctx, actor, upload)
	if err != nil {
		return Source{}, err
	}
	src, ok := sources[upload]
	if !ok {
		if src, err = s.detect(ctx, actor, u); err != nil {
			return src, err
		}
	}
	if len(src.Problems) > 0 {
		return src, refusal(src.Problems)
	}
	return src, nil
}

func (s *Service) sourcesOf(ctx context.Context, actor identity.Actor, uploads ...uuid.UUID) (map[uuid.UUID]Source, error) {
	rows, err := pg.All[Source](ctx, s.DB.Pool, selectUploadSources, pg.Args{"organization": actor.OrganizationID, "uploads": uploads})
	if err != nil {
		return nil, fmt.Errorf("read sources: %w", err)
	}
	all := map[uuid.UUID]Source{}
	for _, src := range rows {
		all[*src.UploadID] = src
	}
	return all, nil
}

func imageSource(project uuid.UUID, reference string) (Source, error) {
	found, err := detect.FromImage(reference)
	if err != nil {
		return Source{}, err
	}
	return Source{ID: pg.NewID(), ProjectID: project, Kind: SourceImage, Label: reference, Detected: "image", Application: found.Application}, nil
}

// insertSource stores a source; one that is stored already stays.
func (s *Service) insertSource(ctx context.Context, tx pgx.Tx, actor identity.Actor, src Source) error {
	app, err := json.Marshal(src.Application)
	if err != nil {
		return fmt.Errorf("render application: %w", err)
	}
	found, err := json.Marshal(append([]SourceProblem{}, src.Problems...))
	if err != nil {
		return fmt.Errorf("render problems: %w", err)
	}
	_, err = pg.Exec(ctx, tx, insertSource, pg.Args{
		"id": src.ID, "organization": actor.OrganizationID, "project": src.ProjectID, "kind": src.Kind, "upload": src.UploadID,
		"digest": src.Digest, "label": src.Label, "detected": src.Detected, "application": app, "problems": found,
	})
	if err != nil {
		return fmt.Errorf("insert source: %w", err)
	}
	return nil
}

func (s *Service) source(ctx context.Context, q pg.Querier, actor identity.Actor, id uuid.UUID) (Source, error) {
	src, err := pg.One[Source](ctx, q, selectSource, pg.Args{"organization": actor.OrganizationID, "id": id})
	if err != nil {
		return src, fmt.Errorf("read source: %w", err)
	}
	return src, nil
}

const insertSource = `
	insert into deployments.sources (id, organization_id, project_id, kind, upload_id, digest, label, detected, application, problems)
	values (@id, @organization, @project, @kind, @upload, @digest, @label, @detected, @application, @problems)
	on conflict do nothing`

const selectSource = `
	select id, project_id, kind, upload_id, digest, label, detected, application, problems, created_at from deployments.sources
	where organization_id = @organization and id = @id`

const selectUploadSources = `
	select id, project_id, kind, upload_id, digest, label, detected, application, problems, created_at from deployments.sources
	where organization_id = @organization and upload_id = any(@uploads)`
