package archive_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pandu/modules/kit/archive"
	"pandu/modules/kit/fault"
)

func unicodePath(raw, name string) []byte {
	crc := crc32.ChecksumIEEE([]byte(raw))
	field := append([]byte{1, byte(crc), byte(crc >> 8), byte(crc >> 16), byte(crc >> 24)}, name...)
	return append([]byte{0x75, 0x70, byte(len(field)), 0}, field...)
}

// tree extracts data and gives path -> content ("/" a folder, "->x" a link, "*" in front of the content: executable).
func tree(t *testing.T, data []byte) (map[string]string, archive.Summary) {
	t.Helper()
	a, err := open(t, data, archive.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	s, err := a.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := a.Extract(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	return treeOf(t, dir), s
}

func treeOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		full := filepath.Join(dir, path)
		info, err := os.Lstat(full)
		switch {
		case err != nil:
			return err
		case info.IsDir():
			got[path] = "/"
		case info.Mode()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(full)
			got[path] = "->" + target
		default:
			b, _ := os.ReadFile(full)
			got[path] = string(b)
			if info.Mode()&0o111 != 0 {
				got[path] = "*" + got[path]
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// fixed is a time no file has by itself.
var fixed = time.Unix(1, 0)

type files = map[string]string

// TestGood: what people's tools make is accepted and unpacked as they meant it.
func TestGood(t *testing.T) {
	link := func(name, target string) tarred { return tarOf(tar.TypeSymlink, name, target) }
	exec := tarred{tar.Header{Name: "./run.sh", Typeflag: tar.TypeReg, Mode: 0o755}, "#!"}
	for _, c := range []struct {
		name     string
		data     []byte
		want     files
		stripped string
	}{
		{"plain zip", makeZip(file("index.html", "hi"), file("css/a.css", "a")), files{"index.html": "hi", "css": "/", "css/a.css": "a"}, ""},
		{"one folder around", makeZip(file("site/", ""), file("site/index.html", "hi"), file("site/img/", "")), files{"index.html": "hi", "img": "/"}, "site"},
		{"one implied folder around", makeZip(file("site/index.html", "hi")), files{"index.html": "hi"}, "site"},
		{"only one level is stripped", makeZip(file("a/b/index.html", "hi")), files{"b": "/", "b/index.html": "hi"}, "a"},
		{"a lone file is not a folder", makeZip(file("index.html", "hi")), files{"index.html": "hi"}, ""},
		{"made on a Mac", makeZip(file("site/index.html", "hi"), file("__MACOSX/site/._index.html", "x"), file("site/.DS_Store", "x"), file("._site", "x")), files{"index.html": "hi"}, "site"},
		{"made on Windows", makeZip(file(`site\`, ""), file(`site\css\a.css`, "a"), file(`site\Thumbs.db`, "x")), files{"css": "/", "css/a.css": "a"}, "site"},
		{"executable", makeZip(zipped{name: "run.sh", body: "#!", mode: 0o100755}, zipped{name: "f", body: "x", mode: 0o100600}), files{"run.sh": "*#!", "f": "x"}, ""},
		{"Unix folder without slash", makeZip(zipped{name: "d", mode: 0o040755}, file("d/f", "x"), file("g", "y")), files{"d": "/", "d/f": "x", "g": "y"}, ""},
		{"set-group-id folder", makeZip(zipped{name: "d/", mode: 0o042755}, file("f", "x")), files{"d": "/", "f": "x"}, ""},
		{"links inside", makeZip(file("top/a/f", "x"), zipLink("top/b/l", "../a/f"), zipLink("top/c", "a")), files{"a": "/", "a/f": "x", "b": "/", "b/l": "->../a/f", "c": "->a"}, "top"},
		{"link to nothing inside", makeZip(zipLink("l", "later"), file("f", "x")), files{"l": "->later", "f": "x"}, ""},
		{"sizes after the content", makeZip(zipped{name: "f", body: "hello hello", later: true}, file("g", "y")), files{"f": "hello hello", "g": "y"}, ""},
		{"zip64 numbers", makeZip(zipped{name: "f", body: "xx", unpacked: func(uint32) uint32 { return 1<<32 - 1 }, extra: zip64Extra(2), localExtra: zip64Extra(2, 4)}), files{"f": "xx"}, ""},
		{"zip64 end record", makeZip64(nil, file("f", "x"), file("g", "y")), files{"f": "x", "g": "y"}, ""},
		{"stored", makeZip(zipped{name: "f", body: "xx", stored: true}), files{"f": "xx"}, ""},
		{"empty file", makeZip(file("f", "")), files{"f": ""}, ""},
		{"folder listed twice", makeZip(file("d/", ""), file("d/f", "x"), file("d/", ""), file("e", "y")), files{"d": "/", "d/f": "x", "e": "y"}, ""},
		{"dots and double slashes", makeZip(file("./a//b/./f", "x"), file("g", "")), files{"a": "/", "a/b": "/", "a/b/f": "x", "g": ""}, ""},
		{"UTF-8, flagged", makeZip(zipped{name: "привет.txt", body: "x", flags: 1 << 11}), files{"привет.txt": "x"}, ""},
		{"UTF-8, not flagged", makeZip(file("日本.txt", "x")), files{"日本.txt": "x"}, ""},
		{"Unicode extra field", makeZip(zipped{name: "\xb5\xd6\xc0.txt", body: "x", extra: unicodePath("\xb5\xd6\xc0.txt", "ёж.txt")}), files{"ёж.txt": "x"}, ""},
		{"Unicode extra field of another name is ignored", makeZip(zipped{name: "a", body: "x", extra: unicodePath("b", "evil")}), files{"a": "x"}, ""},
		{"Russian Windows", makeZip(file("\x8f\xe0\xa8\xa2\xa5\xe2 \xac\xa8\xe0.txt", "x")), files{"Привет мир.txt": "x"}, ""},
		{"Chinese Windows", makeZip(file("\xd6\xd0\xb9\xfa\xce\xc4\xbc\xfe.txt", "x")), files{"中国文件.txt": "x"}, ""},
		{"Western DOS", makeZip(file("M\x81ller.txt", "x"), file("caf\x82.txt", "y")), files{"Müller.txt": "x", "café.txt": "y"}, ""},
		{"tar.gz", makeTarGz(tarOf(tar.TypeDir, "./", ""), tarFile("./index.html", "hi"), exec, link("./l", "index.html")), files{"index.html": "hi", "run.sh": "*#!", "l": "->index.html"}, ""},
		{"tar of git archive", makeTarGz(tarred{tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "0123"}}, ""}, tarFile("p-1/f", "x")), files{"f": "x"}, "p-1"},
		{"hard link", makeTarGz(tarFile("t/f", "x"), tarOf(tar.TypeLink, "t/d/h", "t/f")), files{"f": "x", "d": "/", "d/h": "x"}, "t"},
		{"plain tar", makeTar(tarFile("f", "x"), tarFile("g", "")), files{"f": "x", "g": ""}, ""},
		{"long tar name", makeTarGz(tarFile(strings.Repeat("n", 200), "x")), files{strings.Repeat("n", 200): "x"}, ""},
		{"gzip in parts", append(gz(makeTar(tarFile("f", "x"))[:700]), gz(makeTar(tarFile("f", "x"))[700:])...), files{"f": "x"}, ""},
		{"small but well packed", makeZip(file("f", zeros(1<<20))), files{"f": zeros(1 << 20)}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, s := tree(t, c.data)
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			var size int64
			for path, body := range c.want {
				if body != "/" && !strings.HasPrefix(body, "->") && !strings.HasSuffix(path, "/h") {
					size += int64(len(strings.TrimPrefix(body, "*")))
				}
			}
			if s.StrippedFolder != c.stripped || s.Bytes != size {
				t.Errorf("summary %+v, want folder %q and %d bytes", s, c.stripped, size)
			}
		})
	}
}

func TestRead(t *testing.T) {
	for format, data := range map[archive.Format][]byte{
		archive.Zip:   makeZip(file("p/compose.yaml", "services:"), file("p/src/a/f", "x"), zipLink("p/l", "src/a"), zipLink("p/c.yaml", "compose.yaml"), file("p/e/", "")),
		archive.TarGz: makeTarGz(tarFile("p/compose.yaml", "services:"), tarFile("p/src/a/f", "x"), tarOf(tar.TypeSymlink, "p/l", "src/a"), tarOf(tar.TypeLink, "p/c.yaml", "p/compose.yaml"), tarOf(tar.TypeDir, "p/e", "")),
	} {
		t.Run(string(format), func(t *testing.T) {
			a, err := open(t, data, archive.DefaultLimits())
			if err != nil || a.Format() != format {
				t.Fatal(a, err)
			}
			if err := a.Index(t.Context()); err != nil {
				t.Fatal(err)
			}
			for name, want := range (files{"compose.yaml": "services:", "c.yaml": "services:", "l/f": "x", "./src/../src/a/f": "x"}) {
				if b, err := a.ReadFile(t.Context(), name, 9); err != nil || string(b) != want || !a.Exists(name) {
					t.Errorf("%s: %q, %v", name, b, err)
				}
			}
			for name, code := range (files{"no": "archive_file_missing", "../x": "archive_file_missing", "/compose.yaml": "archive_file_missing", "src": "archive_file_missing", "": "archive_file_missing"}) {
				if _, err := a.ReadFile(t.Context(), name, 9); fault.From(err).Code != code {
					t.Errorf("%s: %v", name, err)
				}
			}
			if _, err := a.ReadFile(t.Context(), "compose.yaml", 8); fault.From(err).Code != "archive_file_size" {
				t.Errorf("too big: %v", err)
			}
			if got := a.List("."); !slices.Equal(got, []string{"c.yaml", "compose.yaml", "e/", "l", "src/"}) {
				t.Errorf("list %q", got)
			}
			if got := a.List("l"); !slices.Equal(got, []string{"f"}) {
				t.Errorf("list through a link %q", got)
			}
			for name, want := range map[string]bool{"": true, "src": true, "src/a": true, "e": true, "sr": false, "..": false} {
				if a.Exists(name) != want {
					t.Errorf("Exists(%q) is not %v", name, want)
				}
			}
		})
	}
}

func TestWalkStopsWithTheVisitorsError(t *testing.T) {
	stop := errors.New("enough")
	for _, data := range [][]byte{makeZip(file("a", "x"), file("b", "x")), makeTarGz(tarFile("a", "x"), tarFile("b", "x"))} {
		a, err := open(t, data, archive.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		err = a.Walk(t.Context(), func(archive.Entry, io.Reader) error { n++; return stop })
		if !errors.Is(err, stop) || n != 1 {
			t.Errorf("%v after %d", err, n)
		}
	}
}

// TestVisitorCannotHideDamage: a visitor that ignores the error of its reader does not make a bad file good.
func TestVisitorCannotHideDamage(t *testing.T) {
	a, err := open(t, makeZip(zipped{name: "f", body: "x", crc: 1}), archive.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	err = a.Walk(t.Context(), func(_ archive.Entry, r io.Reader) error { _, _ = io.ReadAll(r); return nil })
	if fault.From(err).Code != "archive_corrupt" {
		t.Error(err)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, data := range [][]byte{makeZip(file("a", "x")), makeTarGz(tarFile("a", "x")), makeTar(tarFile("a", "x"))} {
		a, err := open(t, data, archive.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Check(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

// TestMemory: reading an archive at the limits keeps a few MB.
func TestMemory(t *testing.T) {
	list := make([]zipped, 0, 19000)
	for i := range 18000 {
		list = append(list, zipped{name: fmt.Sprintf("project/node_modules/package-%d/lib/index-%d.js", i/20, i), body: "module.exports = 1", stored: true})
	}
	list = append(list, file("project/big", random(4<<20)))
	a, err := open(t, makeZip(list...), archive.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	list = nil
	_ = list
	before := live()
	if _, err := a.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if grown := live() - before; grown > 16<<20 {
		t.Errorf("an index of 18,000 entries keeps %d KiB", grown>>10)
	}
	runtime.KeepAlive(a)
}

func live() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestPack(t *testing.T) {
	dir := t.TempDir()
	for name, body := range (files{"b.txt": "b", "a/run.sh": "#!", "node_modules/x/y": "no", ".DS_Store": "no", ".dockerignore": "x"}) {
		full := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte(body), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chmod(filepath.Join(dir, "a/run.sh"), 0o700), os.Symlink("../b.txt", filepath.Join(dir, "a/l"))); err != nil {
		t.Fatal(err)
	}
	ignore := func(path string, isDir bool) bool { return isDir && path == "node_modules" }
	var one, two bytes.Buffer
	s, err := archive.Pack(t.Context(), dir, ignore, &one)
	if err != nil || s.Entries != 5 || s.Bytes != 4 {
		t.Fatal(s, err)
	}
	if err := os.Chtimes(filepath.Join(dir, "b.txt"), fixed, fixed); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Pack(t.Context(), dir, ignore, &two); err != nil || !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("not deterministic", err)
	}
	got, _ := tree(t, one.Bytes())
	if want := (files{"b.txt": "b", "a": "/", "a/run.sh": "*#!", "a/l": "->../b.txt", ".dockerignore": "x"}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPackRefuses(t *testing.T) {
	for code, make := range map[string]func(dir string) error{
		"archive_link_outside":   func(dir string) error { return os.Symlink("/etc/passwd", filepath.Join(dir, "l")) },
		"archive_name_collision": func(dir string) error { return os.WriteFile(filepath.Join(dir, "F"), nil, 0o600) },
		"archive_empty":          func(dir string) error { return os.Remove(filepath.Join(dir, "f")) },
	} {
		dir := t.TempDir()
		if err := errors.Join(os.WriteFile(filepath.Join(dir, "f"), nil, 0o600), make(dir)); err != nil {
			t.Fatal(err)
		}
		_, err := archive.Pack(t.Context(), dir, func(string, bool) bool { return false }, io.Discard)
		if fault.From(err).Code != code {
			t.Errorf("%v, want %s", err, code)
		}
	}
}

// TestMutations breaks the bytes of every small good and hostile archive in many ways: nothing panics, nothing is
// written outside, and every refusal is a fault of the person's archive.
func TestMutations(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	seeds := [][]byte{
		makeZip(file("p/a", "hello"), zipLink("p/l", "a"), zipped{name: "p/b", body: "xx", later: true}),
		makeTar(tarFile("p/a", "hello"), tarOf(tar.TypeSymlink, "p/l", "a"), tarOf(tar.TypeLink, "p/h", "p/a")),
		makeTarGz(tarFile("p/a", "hello"), tarOf(tar.TypeSymlink, "p/l", "a")),
	}
	for _, c := range corpus() {
		if len(c.data) < 8<<10 {
			seeds = append(seeds, c.data)
		}
	}
	for _, seed := range seeds {
		for range 6 {
			data := bytes.Clone(seed)
			for range 1 + random.IntN(4) {
				if len(data) > 0 {
					data[random.IntN(len(data))] = byte(random.Uint32())
				}
			}
			tryArchive(t, data)
		}
	}
}

func FuzzArchive(f *testing.F) {
	for _, c := range corpus() {
		if len(c.data) < 8<<10 {
			f.Add(c.data)
		}
	}
	f.Add(makeZip(file("p/a", "hello"), zipLink("p/l", "a")))
	f.Fuzz(func(t *testing.T, data []byte) { tryArchive(t, data) })
}

// tryArchive checks what must hold for any bytes.
func tryArchive(t *testing.T, data []byte) {
	t.Helper()
	limits := archive.DefaultLimits()
	limits.Packed, limits.Unpacked, limits.Entries = 1<<20, 4<<20, 200
	parent := t.TempDir()
	dir := filepath.Join(parent, "in")
	path := filepath.Join(parent, "upload")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(path, data, 0o600)); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(parent) }()
	a, err := archive.OpenWithin(path, limits)
	var s archive.Summary
	if err == nil {
		defer func() { _ = a.Close() }()
		s, err = a.Check(t.Context())
	}
	if err != nil {
		if k := fault.KindOf(err); k != fault.Invalid && k != fault.TooLarge {
			t.Fatalf("refused with %v: %v", k, err)
		}
		return
	}
	if err := a.Extract(t.Context(), dir); err != nil {
		t.Fatalf("checked, but not extracted: %v", err)
	}
	judgeExtracted(t, parent, dir, s)
}

func judgeExtracted(t *testing.T, parent, dir string, s archive.Summary) {
	t.Helper()
	if list, _ := os.ReadDir(parent); len(list) != 2 {
		t.Fatalf("something was written outside: %v", list)
	}
	for path, body := range treeOf(t, dir) {
		if target, ok := strings.CutPrefix(body, "->"); ok && filepath.IsAbs(target) {
			t.Errorf("link %s leads to %s", path, target)
		}
	}
	if s.Entries > 200 || s.Bytes > 4<<20 {
		t.Errorf("beyond the limits: %+v", s)
	}
}
