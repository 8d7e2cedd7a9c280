package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	uploadSilence = time.Minute     // without a byte taken: the connection is dead
	uploadJudging = 5 * time.Minute // after the last byte: the panel looks through the archive
)

// Archive is a file to upload.
type Archive struct {
	Body     io.ReaderAt
	Size     int64
	Filename string // as people know it
	SHA256   string // hexadecimal; the panel refuses an archive that arrived otherwise
}

var errUploadSilent = errors.New("the upload does not move any more")

// CreateUpload is POST /projects/{project}/uploads. progress is told how many bytes of the archive are sent, from 0 again
// when the upload begins again.
func (c *Client) CreateUpload(ctx context.Context, project string, a Archive, progress func(sent int64)) (UploadView, error) {
	var out UploadView
	r := request{method: http.MethodPost, path: "/projects/" + segment(project) + "/uploads", query: url.Values{"filename": {a.Filename}}}
	err := c.repeat(ctx, false, func() error { return c.upload(ctx, r, a, progress, &out) })
	return out, err
}

func (c *Client) upload(ctx context.Context, r request, a Archive, progress func(int64), out *UploadView) error {
	moving, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(uploadSilence, func() { cancel(errUploadSilent) })
	defer silence.Stop()
	req, err := c.build(moving, r)
	if err != nil {
		return err
	}
	body := &counted{r: io.NewSectionReader(a.Body, 0, a.Size), moved: func(sent int64) {
		progress(sent)
		silence.Reset(map[bool]time.Duration{true: uploadJudging, false: uploadSilence}[sent == a.Size])
	}}
	req.Body, req.ContentLength = io.NopCloser(body), a.Size
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("Content-SHA256", a.SHA256)
	if err = c.send(req, out); err != nil && errors.Is(context.Cause(moving), errUploadSilent) {
		return fmt.Errorf("upload %s: %w", a.Filename, c.unreachable(errUploadSilent))
	}
	return err
}

// counted tells how much was read.
type counted struct {
	r     io.Reader
	sent  int64
	moved func(sent int64)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if n > 0 {
		c.sent += int64(n)
		c.moved(c.sent)
	}
	return n, err
}
