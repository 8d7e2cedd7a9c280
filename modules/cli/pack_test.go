package cli

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// packed are the files of the archive that a folder becomes.
func packed(t *testing.T, dir string) []string {
	t.Helper()
	a, _, err := packFolder(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	hash := sha256.New()
	z, err := gzip.NewReader(io.TeeReader(io.NewSectionReader(a.Body, 0, a.Size), hash))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			names = append(names, h.Name)
		}
	}
	if _, err := io.Copy(io.Discard, z); err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != a.SHA256 {
		t.Errorf("hash %s, want %s", a.SHA256, got)
	}
	slices.Sort(names)
	return names
}

func TestPackLeavesOutWhatIsIgnored(t *testing.T) {
	cases := []struct {
		name, ignore string
		want         []string
	}{
		{"nothing is ignored", "", []string{".env", "Dockerfile", "compose.yaml", "dir/a.txt", "dir/b.md", "node_modules/x.js", "src/node_modules/y.js"}},
		{"one folder", "node_modules\n", []string{".dockerignore", ".env", "Dockerfile", "compose.yaml", "dir/a.txt", "dir/b.md", "src/node_modules/y.js"}},
		{"folders of a name", "**/node_modules\n.env", []string{".dockerignore", "Dockerfile", "compose.yaml", "dir/a.txt", "dir/b.md"}},
		{"all but one below", "*\n!dir/a.txt", []string{".dockerignore", "Dockerfile", "compose.yaml", "dir/a.txt"}},
		{"all but what fits", "*\n!**/*.md", []string{".dockerignore", "Dockerfile", "compose.yaml", "dir/b.md"}},
		{"what says how to deploy stays", "Dockerfile\ncompose*\n.dockerignore\ndir\nsrc\nnode_modules\n.env", []string{".dockerignore", "Dockerfile", "compose.yaml"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range []string{".env", "Dockerfile", "compose.yaml", "dir/a.txt", "dir/b.md", "node_modules/x.js", "src/node_modules/y.js", ".git/HEAD", "sub/.git"} {
				write(t, dir, name, name)
			}
			if c.ignore != "" {
				write(t, dir, ".dockerignore", c.ignore)
			}
			if got := packed(t, dir); !slices.Equal(got, c.want) {
				t.Errorf("packed %q, want %q", got, c.want)
			}
		})
	}
}

func TestPackLeavesNothingBehind(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir := folder(t)
	a, _, err := packFolder(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := a.file.Stat(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	a.close()
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "x")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := packFolder(t.Context(), dir); err == nil {
		t.Error("a link that leaves was packed")
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestBadIgnoreFile(t *testing.T) {
	dir := folder(t)
	write(t, dir, ".dockerignore", "[")
	if _, _, err := packFolder(t.Context(), dir); err == nil || !strings.Contains(err.Error(), ".dockerignore") {
		t.Errorf("error %v", err)
	}
}

func TestBarNeverWrapsAround(t *testing.T) {
	for width := 20; width < 140; width += 7 {
		for _, sent := range []int64{0, 1, 5 << 20, 10 << 20} {
			line := barLine(sent, 10<<20, 3*time.Second, width)
			if len(line) >= width {
				t.Errorf("%d columns: %q", width, line)
			}
		}
	}
	if line := barLine(5<<20, 10<<20, 5*time.Second, 80); line != "Uploading [==============              ]  50 %  5.0 MiB of 10.0 MiB  1.0 MiB/s" {
		t.Errorf("it is %q", line)
	}
	if line := barLine(0, 0, 0, 80); !strings.Contains(line, "100 %") {
		t.Errorf("an empty upload is %q", line)
	}
}
