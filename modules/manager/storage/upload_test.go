package storage_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/fault"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/storage"
)

func (r *room) receive(a identity.Actor, name string, body []byte, declared string) (storage.Upload, error) {
	return r.storage.Receive(context.Background(), a, r.project, name, bytes.NewReader(body), declared)
}

func TestReceive(t *testing.T) {
	r := newRoom(t)
	body := zipOf(t, map[string]string{"site/index.html": "<h1>hello</h1>", "site/a.css": "body{}"})
	sum := sha256.Sum256(body)
	digest := hex.EncodeToString(sum[:])
	u, err := r.receive(r.mine, `C:\Users\me\my site.zip`, body, "sha256:"+strings.ToUpper(digest))
	must(t, err)
	if u.Digest != "sha256:"+digest || u.Size != int64(len(body)) || u.Format != "zip" || u.Filename != "my site.zip" || u.CreatedAt.IsZero() {
		t.Fatalf("received %+v", u)
	}
	f, got, err := r.storage.Download(context.Background(), r.mine, u.ID)
	must(t, err)
	text, err := io.ReadAll(f)
	must(t, err)
	must(t, f.Close())
	if !bytes.Equal(text, body) || got != u {
		t.Fatalf("downloaded %d bytes of %+v", len(text), got)
	}
	s, _, err := r.storage.OpenSource(context.Background(), r.mine, u.Digest)
	must(t, err)
	must(t, s.Close())
	if n := r.count("select count(*) from audit.events where action = 'upload.create' and object_id = $1", u.ID); n != 1 {
		t.Fatalf("%d events", n)
	}
	if n := r.files("receiving"); n != 0 {
		t.Fatalf("%d temporary files are left", n)
	}
	page, err := r.storage.Uploads(context.Background(), r.mine, r.project, identity.PageInput{})
	must(t, err)
	if len(page.Items) != 1 || page.Items[0] != u {
		t.Fatalf("listed %+v", page)
	}
	must(t, r.storage.Delete(context.Background(), r.mine, u.ID))
	if _, _, err := r.storage.Download(context.Background(), r.mine, u.ID); fault.KindOf(err) != fault.NotFound {
		t.Fatalf("after deleting: %v", err)
	}
	if n := r.files("objects"); n != 0 {
		t.Fatalf("%d objects are left", n)
	}
	if n := r.count(`select used from identity.limits where resource = 'upload_bytes'`); n != 0 {
		t.Fatalf("%d bytes are still counted", n)
	}
}

func TestReceiveRefuses(t *testing.T) {
	r := newRoom(t)
	good := zipOf(t, map[string]string{"index.html": "x"})
	for code, test := range map[string]struct {
		body     io.Reader
		declared string
	}{
		"archive_format":      {strings.NewReader("this is no archive at all"), ""},
		"archive_path":        {bytes.NewReader(zipOf(t, map[string]string{"a/../../etc/passwd": "x"})), ""},
		"archive_empty":       {bytes.NewReader(zipOf(t, nil)), ""},
		"archive_corrupt":     {bytes.NewReader(good[:len(good)-10]), ""},
		"upload_digest":       {bytes.NewReader(good), strings.Repeat("0", 64)},
		"upload_incomplete":   {io.MultiReader(bytes.NewReader(good), broken{}), ""},
		"archive_packed_size": {io.LimitReader(zeros{}, 201<<20), ""},
	} {
		_, err := r.storage.Receive(context.Background(), r.mine, r.project, "x.zip", test.body, test.declared)
		if got := fault.From(err); got == nil || !strings.HasPrefix(got.Code, code) {
			t.Errorf("%s: %v", code, err)
		}
	}
	if n := r.count("select count(*) from storage.uploads"); n != 0 || r.files("objects") != 0 || r.files("receiving") != 0 {
		t.Fatalf("refused uploads left %d rows, %d objects, %d temporary files", n, r.files("objects"), r.files("receiving"))
	}
}

// broken is a request's body whose client went away.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestUploadsOfOthersAreNotFound(t *testing.T) {
	r := newRoom(t)
	u, err := r.receive(r.mine, "x.zip", zipOf(t, map[string]string{"index.html": "x"}), "")
	must(t, err)
	ctx := context.Background()
	for name, err := range map[string]error{
		"read":     second(r.storage.Upload(ctx, r.theirs, u.ID)),
		"download": third(r.storage.Download(ctx, r.theirs, u.ID)),
		"source":   third(r.storage.OpenSource(ctx, r.theirs, u.Digest)),
		"delete":   r.storage.Delete(ctx, r.theirs, u.ID),
	} {
		if fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	if page, err := r.storage.Uploads(ctx, r.theirs, r.project, identity.PageInput{}); err != nil || len(page.Items) != 0 {
		t.Errorf("list: %+v, %v", page, err)
	}
	must(t, r.db.InTx(ctx, func(tx pgx.Tx) error { return r.storage.DeleteProject(ctx, tx, r.theirs, r.project) }))
	_, err = r.storage.Upload(ctx, r.mine, u.ID)
	must(t, err)
	nobody := identity.Actor{OrganizationID: r.mine.OrganizationID}
	for name, err := range map[string]error{
		"receive":  second(r.receive(nobody, "x.zip", nil, "")),
		"read":     second(r.storage.Upload(ctx, nobody, u.ID)),
		"download": third(r.storage.Download(ctx, nobody, u.ID)),
		"delete":   r.storage.Delete(ctx, nobody, u.ID),
		"list":     second(r.storage.Uploads(ctx, nobody, r.project, identity.PageInput{})),
		"log":      second(r.storage.GetLog(ctx, nobody, u.ID)),
	} {
		if fault.KindOf(err) != fault.Denied {
			t.Errorf("without permission, %s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error        { return err }
func third[T, U any](_ T, _ U, err error) error { return err }

func TestDeleteProjectIsSweptAfterItsCommit(t *testing.T) {
	r := newRoom(t)
	ctx := context.Background()
	for range 3 {
		_, err := r.receive(r.mine, "x.zip", zipOf(t, map[string]string{"index.html": uuid.NewString()}), "")
		must(t, err)
	}
	later := time.Now().Add(2 * time.Hour)
	must(t, r.storage.Sweep(ctx, later))
	if n := r.files("objects"); n != 3 {
		t.Fatalf("sweeping took objects with rows: %d are left", n)
	}
	_ = r.db.InTx(ctx, func(tx pgx.Tx) error {
		must(t, r.storage.DeleteProject(ctx, tx, r.mine, r.project))
		return errors.New("rolled back")
	})
	must(t, r.storage.Sweep(ctx, later))
	if n := r.files("objects"); n != 3 {
		t.Fatalf("a rolled back deletion cost objects: %d are left", n)
	}
	must(t, r.db.InTx(ctx, func(tx pgx.Tx) error { return r.storage.DeleteProject(ctx, tx, r.mine, r.project) }))
	must(t, r.storage.Sweep(ctx, time.Now()))
	if n := r.files("objects"); n != 3 {
		t.Fatalf("sweeping took young objects: %d are left", n)
	}
	must(t, r.storage.Sweep(ctx, later))
	if n := r.files("objects"); n != 0 {
		t.Fatalf("%d objects are left", n)
	}
}

// A file that somebody is receiving is locked; what a killed process left is not.
func TestSweepLeavesLivingUploads(t *testing.T) {
	r := newRoom(t)
	arriving, goOn := make(chan struct{}), make(chan struct{})
	body := &gated{data: bytes.NewReader(zipOf(t, map[string]string{"index.html": "x"})), arriving: arriving, goOn: goOn}
	done := make(chan error)
	go func() {
		_, err := r.storage.Receive(context.Background(), r.mine, r.project, "x.zip", body, "")
		done <- err
	}()
	<-arriving
	dead := filepath.Join(r.dir, "receiving", "upload-dead")
	must(t, os.WriteFile(dead, []byte("half"), 0o600))
	must(t, r.at(r.dir).Sweep(context.Background(), time.Now().Add(time.Hour)))
	if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the dead upload is still there: %v", err)
	}
	close(goOn)
	must(t, <-done)
}

// gated stops after its first bytes until it may go on.
type gated struct {
	data           io.Reader
	once           sync.Once
	arriving, goOn chan struct{}
}

func (g *gated) Read(b []byte) (int, error) {
	first := false
	g.once.Do(func() { first = true })
	if first {
		return g.data.Read(b[:4])
	}
	select {
	case <-g.goOn:
	default:
		close(g.arriving)
		<-g.goOn
	}
	return g.data.Read(b)
}

func TestUploadLimit(t *testing.T) {
	r := newRoom(t)
	ctx := context.Background()
	limit := int64(10)
	must(t, r.db.InTx(ctx, func(tx pgx.Tx) error {
		return r.identity.SetLimit(ctx, tx, r.mine.OrganizationID, identity.LimitUploadBytes, &limit)
	}))
	if _, err := r.receive(r.mine, "x.zip", zipOf(t, map[string]string{"index.html": "x"}), ""); fault.KindOf(err) != fault.Limit {
		t.Fatalf("beyond the plan: %v", err)
	}
	if n := r.files("objects"); n != 0 {
		t.Fatalf("%d objects are left", n)
	}
}

func TestLogs(t *testing.T) {
	r := newRoom(t)
	ctx, id := context.Background(), uuid.New()
	text := strings.Repeat("Step 1/4 : FROM scratch\n", 50_000)
	must(t, r.storage.PutLog(ctx, r.mine, id, strings.NewReader("first attempt")))
	must(t, r.storage.PutLog(ctx, r.mine, id, strings.NewReader(text)))
	f, err := r.storage.GetLog(ctx, r.mine, id)
	must(t, err)
	got, err := io.ReadAll(f)
	must(t, err)
	must(t, f.Close())
	if string(got) != text {
		t.Fatalf("read %d bytes of %d", len(got), len(text))
	}
	if _, err := r.storage.GetLog(ctx, r.theirs, id); fault.KindOf(err) != fault.NotFound {
		t.Fatalf("the log of others: %v", err)
	}
	if err := r.storage.PutLog(ctx, r.mine, id, broken{}); err == nil {
		t.Fatal("a broken log was kept")
	}
	must(t, r.storage.DeleteLog(ctx, r.mine, id))
	must(t, r.storage.DeleteLog(ctx, r.mine, id))
	if _, err := r.storage.GetLog(ctx, r.mine, id); fault.KindOf(err) != fault.NotFound {
		t.Fatalf("a deleted log: %v", err)
	}
}

func TestClaim(t *testing.T) {
	r := newRoom(t)
	ctx := context.Background()
	alive := func(context.Context) (bool, error) { return true, nil }
	alone := func(context.Context) (bool, error) { return false, nil }
	must(t, r.storage.Claim(ctx, "host-a", false, alone))
	must(t, r.storage.Claim(ctx, "host-a", false, alive)) // a second process on the same directory
	elsewhere := r.at(t.TempDir())
	if err := elsewhere.Claim(ctx, "host-b", false, alive); err == nil || !strings.Contains(err.Error(), "host-a") {
		t.Fatalf("another directory beside a live process: %v", err)
	}
	if err := elsewhere.Claim(ctx, "host-b", true, alive); err == nil || !strings.Contains(err.Error(), "mount the same") {
		t.Fatalf("declared shared, but it is not: %v", err)
	}
	must(t, r.at(r.dir).Claim(ctx, "host-c", true, alive)) // the same directory, mounted
	must(t, elsewhere.Claim(ctx, "host-b", false, alone))
	must(t, os.WriteFile(filepath.Join(r.dir, "directory-id"), []byte("nonsense"), 0o600))
	if err := r.storage.Claim(ctx, "host-a", false, alone); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Fatalf("a damaged name: %v", err)
	}
}
