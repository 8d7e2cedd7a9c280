package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"
)

// api is a person at the API of one manager.
type api struct {
	base   string
	client *http.Client
}

// problem is an answer that is not what was asked for.
type problem struct {
	Status     int               `json:"status"`
	Code       string            `json:"code"`
	Detail     string            `json:"detail"`
	Parameters map[string]string `json:"parameters"`
	Errors     []struct {
		Location, Message string
	} `json:"errors"`
}

func (p *problem) Error() string {
	return fmt.Sprintf("%d %s: %s %v", p.Status, p.Code, p.Detail, p.Errors)
}

type page[T any] struct {
	Items []T `json:"items"`
}

type failure struct {
	Code, Message, Service string
	LastLines              []string `json:"last_lines"`
}

type deployment struct {
	ID      string
	Number  int
	Kind    string
	State   string
	Error   *failure
	Release *struct {
		ID     string
		Number int
	}
	Timeline []struct {
		State string
		At    time.Time
	}
	Builds []struct {
		ID, State, Phase string
		Attempt          int
		Error            *failure
	}
	URLs []string
}

func (d deployment) final() bool {
	return d.State == "live" || d.State == "failed" || d.State == "cancelled" || d.State == "superseded"
}

type instance struct {
	ID, Service, Desired string
	ContainerID          string `json:"container_id"`
	Serving              bool
	Observed             *struct{ State, Reason string }
}

type upload struct {
	ID       string
	Detected struct {
		Kind     string
		Services []string
		Problems []struct{ Location, Code, Message string }
	}
}

func signIn(t *testing.T, port int) *api {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	a := &api{base: fmt.Sprintf("http://127.0.0.1:%d/api/v1", port), client: &http.Client{Jar: jar, Timeout: 60 * time.Second}}
	a.must(t, "POST", "/auth/login", map[string]string{"email": adminEmail, "password": adminPassword}, nil)
	return a
}

// call sends a request and decodes the answer into out. The error is a *problem when the server refused.
func (a *api) call(method, path string, in, out any) error {
	body := io.Reader(http.NoBody)
	kind := ""
	switch v := in.(type) {
	case nil:
	case []byte:
		body, kind = bytes.NewReader(v), "application/octet-stream"
	default:
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body, kind = bytes.NewReader(b), "application/json"
	}
	q, err := http.NewRequestWithContext(context.Background(), method, a.base+path, body)
	if err != nil {
		return err
	}
	if kind != "" {
		q.Header.Set("Content-Type", kind)
	}
	r, err := a.client.Do(q)
	if err != nil {
		return err
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if r.StatusCode >= http.StatusBadRequest {
		p := &problem{Status: r.StatusCode}
		_ = json.Unmarshal(b, p)
		return p
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}

func (a *api) must(t *testing.T, method, path string, in, out any) {
	t.Helper()
	if err := a.call(method, path, in, out); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
}

// refused expects a refusal with a code and returns it.
func (a *api) refused(t *testing.T, code, method, path string, in any) *problem {
	t.Helper()
	err := a.call(method, path, in, nil)
	p, ok := err.(*problem) //nolint:errorlint // call never wraps it
	if !ok || p.Code != code {
		t.Errorf("%s %s gave %v, not %s", method, path, err, code)
		return &problem{}
	}
	return p
}

// project is one project and its environment production.
type project struct {
	*api
	p    *pandu
	slug string
}

func (p *pandu) project(t *testing.T, slug string) *project {
	t.Helper()
	p.api.must(t, "POST", "/projects", map[string]string{"name": slug, "slug": slug}, nil)
	return &project{p.api, p, slug}
}

func (j *project) env(path string) string {
	return "/projects/" + j.slug + "/environments/production" + path
}

func (j *project) upload(t *testing.T, archive []byte) upload {
	t.Helper()
	var u upload
	j.must(t, "POST", "/projects/"+j.slug+"/uploads?filename=site.zip", archive, &u)
	return u
}

// begin uploads and deploys an archive and does not wait.
func (j *project) begin(t *testing.T, archive []byte) deployment {
	t.Helper()
	return j.deployUpload(t, j.upload(t, archive))
}

func (j *project) deployUpload(t *testing.T, u upload) deployment {
	t.Helper()
	var d deployment
	j.must(t, "POST", j.env("/deployments"), map[string]string{"upload_id": u.ID}, &d)
	return d
}

// deploy uploads and deploys an archive until it is live.
func (j *project) deploy(t *testing.T, archive []byte) deployment {
	t.Helper()
	return j.live(t, j.begin(t, archive))
}

// post does something to the environment and waits until it is live.
func (j *project) post(t *testing.T, path string, body any) deployment {
	t.Helper()
	var d deployment
	if body == nil {
		body = map[string]string{}
	}
	j.must(t, "POST", j.env(path), body, &d)
	return j.live(t, d)
}

// patch changes something of the environment and waits until its deployment, if there is one, is live.
func (j *project) patch(t *testing.T, path string, body any) deployment {
	t.Helper()
	var out struct{ Deployment *deployment }
	j.must(t, "PATCH", j.env(path), body, &out)
	if out.Deployment == nil {
		return deployment{}
	}
	return j.live(t, *out.Deployment)
}

func (j *project) get(id string) (deployment, error) {
	var d deployment
	err := j.call("GET", "/deployments/"+id, nil, &d)
	return d, err
}

// until waits until a deployment satisfies ok. While nobody answers it waits on.
func (j *project) until(t *testing.T, d deployment, within time.Duration, what string, ok func(deployment) bool) deployment {
	t.Helper()
	last, err := d, error(nil)
	for deadline := time.Now().Add(within); !ok(last); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("deployment %d of %s is not %s after %s: %+v (%v)", d.Number, j.slug, what, within, last, err)
		}
		var next deployment
		if next, err = j.get(d.ID); err == nil {
			last = next
		}
	}
	return last
}

// ends waits until a deployment is over.
func (j *project) ends(t *testing.T, d deployment) deployment {
	t.Helper()
	return j.until(t, d, 60*time.Second, "over", deployment.final)
}

func (j *project) live(t *testing.T, d deployment) deployment {
	t.Helper()
	return j.expect(t, d, "live")
}

// expect waits until a deployment is over, and wants it to be in a state.
func (j *project) expect(t *testing.T, d deployment, state string) deployment {
	t.Helper()
	d = j.ends(t, d)
	if d.State != state {
		t.Fatalf("deployment %d of %s is %s, not %s: %+v", d.Number, j.slug, d.State, state, d.Error)
	}
	return d
}

// reaches waits until a deployment is in a state, and fails when it is over before.
func (j *project) reaches(t *testing.T, d deployment, state string) deployment {
	t.Helper()
	d = j.until(t, d, 60*time.Second, state, func(d deployment) bool { return d.State == state || d.final() })
	if d.State != state {
		t.Fatalf("deployment %d of %s is %s before it was %s: %+v", d.Number, j.slug, d.State, state, d.Error)
	}
	return d
}

func (j *project) instances(t *testing.T) []instance {
	t.Helper()
	var out page[instance]
	j.must(t, "GET", j.env("/instances"), nil, &out)
	return out.Items
}

// get200 waits until the site answers 200 with a text.
func (j *project) shows(t *testing.T, path, text string) {
	t.Helper()
	var status int
	var body string
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if status, body = answer(j.p.site(j.slug, path)); status == 200 && strings.Contains(body, text) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s%s shows %d %q, not %q", j.slug, path, status, body, text)
		}
	}
}

// remove deletes the project and waits until it is gone.
func (j *project) remove(t *testing.T, volumes string) {
	t.Helper()
	q := ""
	if volumes != "" {
		q = "?volumes=" + url.QueryEscape(volumes)
	}
	j.must(t, "DELETE", "/projects/"+j.slug+q, nil, nil)
	eventually(t, 30*time.Second, j.slug+" to be gone", func() bool {
		p, ok := j.call("GET", "/projects/"+j.slug, nil, nil).(*problem) //nolint:errorlint // call never wraps it
		return ok && p.Status == http.StatusNotFound
	})
}
