package disk_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/sys/unix"

	"pandu/modules/kit/fault"
	"pandu/modules/manager/storage/internal/disk"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, d *disk.Disk, key string) string {
	t.Helper()
	f, size, err := d.Get(context.Background(), key)
	must(t, err)
	defer func() { must(t, f.Close()) }()
	b, err := io.ReadAll(f)
	must(t, err)
	if int64(len(b)) != size {
		t.Fatalf("%s has %d bytes and says %d", key, len(b), size)
	}
	return string(b)
}

func TestPutGetDelete(t *testing.T) {
	d, err := disk.New(t.TempDir())
	must(t, err)
	ctx := context.Background()
	for _, text := range []string{"", "x", strings.Repeat("0123456789", 200_000)} {
		size, sum, err := d.Put(ctx, "a/b/c.txt", iotest.HalfReader(strings.NewReader(text)))
		must(t, err)
		want := sha256.Sum256([]byte(text))
		if size != int64(len(text)) || sum != hex.EncodeToString(want[:]) {
			t.Fatalf("stored %d bytes with hash %s", size, sum)
		}
		if got := read(t, d, "a/b/c.txt"); got != text {
			t.Fatalf("read %d bytes of %d", len(got), len(text))
		}
	}
	must(t, d.Delete(ctx, "a/b/c.txt"))
	must(t, d.Delete(ctx, "a/b/c.txt"))
	if _, _, err := d.Get(ctx, "a/b/c.txt"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("after deleting: %v", err)
	}
	if _, _, err := d.Get(ctx, "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a directory: %v", err)
	}
}

func TestKeysStayInside(t *testing.T) {
	dir := t.TempDir()
	d, err := disk.New(dir)
	must(t, err)
	ctx := context.Background()
	must(t, os.Symlink("/etc", filepath.Join(dir, "link")))
	for _, key := range []string{"", "/", "/etc/passwd", "../x", "a/../../x", "a//b", "a/.hidden", ".", "..", "a/", "a\x00b", "link/passwd", strings.Repeat("a/", 9) + "a", "a b"} {
		if _, _, err := d.Get(ctx, key); err == nil {
			t.Errorf("get %q works", key)
		}
		if _, _, err := d.Put(ctx, key, strings.NewReader("x")); err == nil {
			t.Errorf("put %q works", key)
		}
	}
}

func TestBrokenPutLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	d, err := disk.New(dir)
	must(t, err)
	must(t, second(d.Put(context.Background(), "a/k", strings.NewReader("old"))))
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	for name, put := range map[string]func() error{
		"reader fails": func() error {
			return second(d.Put(context.Background(), "a/k", io.MultiReader(strings.NewReader("new"), iotest.ErrReader(io.ErrUnexpectedEOF))))
		},
		"cancelled": func() error { return second(d.Put(cancelled, "a/k", strings.NewReader("new"))) },
	} {
		if put() == nil {
			t.Errorf("%s: no error", name)
		}
		if got := read(t, d, "a/k"); got != "old" {
			t.Errorf("%s: the object is %q now", name, got)
		}
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "a")); err != nil || len(entries) != 1 {
		t.Fatalf("left behind: %v, %v", entries, err)
	}
}

func second[T, U any](_ T, _ U, err error) error { return err }

// tmpfs mounts a small file system for the test.
func tmpfs(t *testing.T, options string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting a file system takes root")
	}
	dir := t.TempDir()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, options))
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestDiskFull(t *testing.T) {
	dir := tmpfs(t, "size=1m")
	d, err := disk.New(dir)
	must(t, err)
	must(t, second(d.Put(context.Background(), "a/small", strings.NewReader("fits"))))
	_, _, err = d.Put(context.Background(), "a/big", bytes.NewReader(make([]byte, 4<<20)))
	if f := fault.From(err); f.Kind != fault.Unavailable || f.Code != "disk_full" || f.RetryAfter == 0 {
		t.Fatalf("put on a full disk: %v", err)
	}
	if _, _, err := d.Get(context.Background(), "a/big"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("half an object is there: %v", err)
	}
	must(t, second(d.Put(context.Background(), "a/small", strings.NewReader("fits again")))) // the space came back
}

func TestAdopt(t *testing.T) {
	d, err := disk.New(t.TempDir())
	must(t, err)
	for name, dir := range map[string]string{"same file system": t.TempDir(), "another": tmpfs(t, "size=1m")} {
		from := filepath.Join(dir, "f")
		must(t, os.WriteFile(from, []byte(name), 0o600))
		must(t, d.Adopt(context.Background(), "x/y/z", from))
		if got := read(t, d, "x/y/z"); got != name {
			t.Errorf("%s: adopted %q", name, got)
		}
		if _, err := os.Stat(from); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the file is still there", name)
		}
	}
	if err := d.Adopt(context.Background(), "../x", "/nowhere"); err == nil {
		t.Error("adopted outside")
	}
}

func TestListAndSweep(t *testing.T) {
	dir := t.TempDir()
	d, err := disk.New(dir)
	must(t, err)
	ctx := context.Background()
	for _, key := range []string{"a/1", "a/b/2", "c/3"} {
		must(t, second(d.Put(ctx, key, strings.NewReader(key))))
	}
	must(t, os.WriteFile(filepath.Join(dir, "a", ".writing-dead"), []byte("half"), 0o600))
	list := func(prefix string) (keys []string) {
		must(t, d.List(ctx, prefix, func(o disk.Object) error {
			if o.Size != int64(len(o.Key)) || o.ModifiedAt.IsZero() {
				t.Errorf("listed %+v", o)
			}
			keys = append(keys, o.Key)
			return nil
		}))
		return keys
	}
	if got := strings.Join(list(""), " "); got != "a/1 a/b/2 c/3" {
		t.Errorf("all: %s", got)
	}
	if got := strings.Join(list("a"), " "); got != "a/1 a/b/2" {
		t.Errorf("below a: %s", got)
	}
	if got := list("nowhere"); len(got) != 0 {
		t.Errorf("below nothing: %v", got)
	}
	stop := errors.New("stop")
	if err := d.List(ctx, "", func(disk.Object) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("stopped with %v", err)
	}
	for age, left := range map[time.Duration]bool{time.Minute: true, 2 * time.Hour: false} {
		_ = os.WriteFile(filepath.Join(dir, "a", ".writing-dead"), []byte("half"), 0o600)
		must(t, d.Sweep(ctx, time.Hour, time.Now().Add(age)))
		if _, err := os.Stat(filepath.Join(dir, "a", ".writing-dead")); (err == nil) != left {
			t.Errorf("after %v: %v", age, err)
		}
	}
	if len(list("")) != 3 {
		t.Error("sweeping took an object")
	}
}

func TestManyWritersOfOneKey(t *testing.T) {
	d, err := disk.New(t.TempDir())
	must(t, err)
	var wait sync.WaitGroup
	for i := range 20 {
		wait.Go(func() {
			text := strings.Repeat(string(rune('a'+i)), 100_000)
			if err := second(d.Put(context.Background(), "a/k", strings.NewReader(text))); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	got := read(t, d, "a/k")
	if len(got) != 100_000 || strings.Trim(got, got[:1]) != "" {
		t.Fatal("two writers mixed their bytes")
	}
}

func FuzzCopy(f *testing.F) {
	f.Add([]byte("x"), 1)
	f.Fuzz(func(t *testing.T, data []byte, repeat int) {
		data = bytes.Repeat(data, max(1, repeat%20_000))
		var out bytes.Buffer
		size, sum, err := disk.Copy(context.Background(), &out, iotest.OneByteReader(bytes.NewReader(data)))
		want := sha256.Sum256(data)
		if err != nil || size != int64(len(data)) || sum != hex.EncodeToString(want[:]) || !bytes.Equal(out.Bytes(), data) {
			t.Fatalf("copied %d of %d bytes, %v", size, len(data), err)
		}
	})
}
