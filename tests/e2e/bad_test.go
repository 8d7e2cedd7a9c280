package e2e

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestRefusedArchives(t *testing.T) {
	p := shared(t)
	j := p.project(t, "archives")
	good := pages(t, "good")
	for name, c := range map[string]struct {
		code    string
		archive []byte
	}{
		"nothing":          {"archive_empty", []byte{}},
		"text":             {"archive_format", []byte("this is no archive")},
		"cut short":        {"archive_corrupt", good[:len(good)-30]},
		"empty zip":        {"archive_empty", rawZip(t, map[string]string{})},
		"folders only":     {"archive_empty", rawZip(t, map[string]string{"folder/": ""})},
		"climbs out":       {"archive_path_outside", rawZip(t, map[string]string{"../../etc/passwd": "x"})},
		"absolute":         {"archive_path_outside", rawZip(t, map[string]string{"/etc/passwd": "x"})},
		"a bomb":           {"archive_ratio", rawZip(t, map[string]string{"index.html": strings.Repeat("\x00", 64<<20)})},
		"gzip without tar": {"archive_corrupt", gzipped(t, "no tar")},
	} {
		t.Run(name, func(t *testing.T) {
			refused := j.refused(t, c.code, "POST", "/projects/archives/uploads?filename=site.zip", c.archive)
			if refused.Status != 422 && refused.Status != 413 {
				t.Errorf("refused with %d", refused.Status)
			}
		})
	}
	t.Run("nothing to run", func(t *testing.T) {
		u := j.upload(t, zipped(t, map[string]string{"README.md": "# hello"}))
		if len(u.Detected.Problems) == 0 {
			t.Errorf("detected %+v", u.Detected)
		}
		j.refused(t, "nothing_to_run", "POST", j.env("/deployments"), map[string]string{"upload_id": u.ID})
	})
	j.removedWithoutTrace(t)
}

func TestRefusedNames(t *testing.T) {
	p := shared(t)
	j := p.project(t, "taken")
	for code, slug := range map[string]string{"slug_taken": "taken", "slug_reserved": "admin", "slug_invalid": "Not A Name"} {
		refused := p.api.refused(t, code, "POST", "/projects", map[string]string{"name": "x", "slug": slug})
		if refused.Status != 409 && refused.Status != 422 {
			t.Errorf("%s is refused with %d", slug, refused.Status)
		}
	}
	var available struct {
		Available bool
		Reason    string
	}
	p.api.must(t, "GET", "/names?slug=taken", nil, &available)
	if available.Available || available.Reason != "taken" {
		t.Errorf("a taken name is %+v", available)
	}
	j.remove(t, "")
}

// rawZip packs files with exactly these names.
func rawZip(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, content := range files {
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t *testing.T, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// runningPrograms are the processes of the test program in our engine, by pid, with their command line.
func runningPrograms() map[int]string {
	all := map[int]string{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		mounts, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "mountinfo"))
		if program, _, _ := strings.Cut(string(line), "\x00"); program == "/program" && bytes.Contains(mounts, []byte(suite.engine.Dir+"/")) {
			all[pid] = strings.TrimRight(strings.ReplaceAll(string(line), "\x00", " "), " ")
		}
	}
	return all
}
