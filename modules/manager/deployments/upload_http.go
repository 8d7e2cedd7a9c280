package deployments

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"pandu/modules/kit/fault"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/projects"
	"pandu/modules/manager/storage"
	"pandu/modules/spec"
)

// UploadView is an uploaded archive and what it was found to be.
type UploadView struct {
	storage.Upload
	Detected Detected `json:"detected"`
}

// Detected is what an upload was found to be.
type Detected struct {
	Kind     string          `json:"kind" enum:"compose,dockerfile,static,none"`
	Services []string        `json:"services" nullable:"false"`
	Notes    []spec.Note     `json:"notes" nullable:"false"`
	Problems []SourceProblem `json:"problems" nullable:"false" doc:"why it cannot be deployed, and where"`
}

func uploadView(u storage.Upload, src Source) UploadView {
	v := UploadView{Upload: u, Detected: Detected{
		Kind: src.Detected, Services: []string{}, Notes: orNoNotes(src.Application.Notes), Problems: append([]SourceProblem{}, src.Problems...),
	}}
	for _, svc := range src.Application.Services {
		v.Detected.Services = append(v.Detected.Services, svc.Name)
	}
	return v
}

func (s *Service) uploadDoors(d *identity.Doors) {
	d.Raw(identity.Door{
		ID: "create-upload", Method: http.MethodPost, Path: "/projects/{project}/uploads", Tag: "uploads", Permission: identity.UploadsCreate,
		Summary: "Upload a zip or tar.gz archive, as the body or as the field \"file\" of a form", Status: http.StatusCreated,
	}, "application/octet-stream", UploadView{}, s.createUpload)
	identity.Handle(d, identity.Door{
		ID: "list-uploads", Method: http.MethodGet, Path: "/projects/{project}/uploads", Tag: "uploads", Permission: identity.UploadsRead,
		Summary: "List the uploads of a project, newest first",
	}, s.listUploads)
	d.Raw(identity.Door{
		ID: "download-upload", Method: http.MethodGet, Path: "/uploads/{upload}/content", Tag: "uploads", Permission: identity.UploadsRead,
		Summary: "Download an archive as it was uploaded",
	}, nil, "application/octet-stream", s.downloadUpload)
	identity.Handle(d, identity.Door{
		ID: "delete-upload", Method: http.MethodDelete, Path: "/uploads/{upload}", Tag: "uploads", Permission: identity.UploadsDelete,
		Summary: "Delete an upload; releases that were made of it stay",
	}, func(ctx context.Context, actor identity.Actor, in *struct {
		Upload uuid.UUID `path:"upload"`
	}) (*identity.NoContent, error) {
		return nil, s.Storage.Delete(ctx, actor, in.Upload)
	})
}

func (s *Service) createUpload(c echo.Context, actor identity.Actor) error {
	ctx := c.Request().Context()
	p, err := s.Projects.Find(ctx, s.DB.Pool, actor, c.Param("project"))
	if err != nil {
		return err
	}
	connection := http.NewResponseController(c.Response())
	c.Request().Body = io.NopCloser(&patient{c.Request().Body, connection})
	defer func() { _ = connection.SetReadDeadline(time.Time{}) }() // the next request has its own patience
	body, filename, err := uploadBody(c.Request())
	if err != nil {
		return err
	}
	if name := c.QueryParam("filename"); name != "" {
		filename = name
	}
	u, src, err := s.Upload(ctx, actor, p, filename, body, c.Request().Header.Get("Content-SHA256"))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, uploadView(u, src))
}

// patient reads a body that may take long, but not stand still: what sends nothing for a minute gives its place to others.
type patient struct {
	io.Reader
	connection *http.ResponseController
}

func (p *patient) Read(b []byte) (int, error) {
	_ = p.connection.SetReadDeadline(time.Now().Add(time.Minute)) // where it cannot be set, the connection's own limits hold
	return p.Reader.Read(b)
}

// uploadBody is the archive in a request: the body itself, or the first file of a form, read as it comes.
func uploadBody(r *http.Request) (io.Reader, string, error) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind != "multipart/form-data" {
		return r.Body, "upload", nil
	}
	form, err := r.MultipartReader()
	if err != nil {
		return nil, "", fault.New(fault.Invalid, "form_invalid", "The form cannot be read. Send the archive as the body instead.").Because(err)
	}
	for range 20 {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, "", fault.New(fault.Invalid, "form_invalid", "The form cannot be read. Send the archive as the body instead.").Because(err)
		}
		if part.FileName() != "" {
			return part, part.FileName(), nil
		}
	}
	return nil, "", fault.New(fault.Invalid, "file_missing", "The form has no file. Send it in the field \"file\".")
}

func (s *Service) listUploads(ctx context.Context, actor identity.Actor, in *struct {
	projects.ProjectPath
	identity.PageInput
}) (*identity.Body[identity.Page[UploadView]], error) {
	p, err := s.Projects.Find(ctx, s.DB.Pool, actor, in.Project)
	if err != nil {
		return nil, err
	}
	page, err := s.Storage.Uploads(ctx, actor, p.ID, in.PageInput)
	if err != nil {
		return nil, err
	}
	var ids []uuid.UUID
	for _, u := range page.Items {
		ids = append(ids, u.ID)
	}
	sources, err := s.sourcesOf(ctx, actor, ids...)
	if err != nil {
		return nil, err
	}
	out := identity.Page[UploadView]{Items: []UploadView{}, NextCursor: page.NextCursor}
	for _, u := range page.Items {
		out.Items = append(out.Items, uploadView(u, sources[u.ID]))
	}
	return identity.Reply(out), nil
}

func (s *Service) downloadUpload(c echo.Context, actor identity.Actor) error {
	id, err := uuid.Parse(c.Param("upload"))
	if err != nil {
		return fault.New(fault.NotFound, "upload_not_found", "There is no such upload here.")
	}
	body, u, err := s.Storage.Download(c.Request().Context(), actor, id)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // read only
	h := c.Response().Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": u.Filename}))
	h.Set("Content-Length", strconv.FormatInt(u.Size, 10))
	h.Set("ETag", strconv.Quote(u.Digest))
	c.Response().WriteHeader(http.StatusOK)
	if _, err := io.Copy(c.Response(), body); err != nil {
		return fmt.Errorf("send upload: %w", err)
	}
	return nil
}
