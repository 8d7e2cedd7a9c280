package detect_test

import (
	"archive/zip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pandu/modules/kit/archive"
	"pandu/modules/kit/fault"
	"pandu/modules/spec"
	"pandu/modules/spec/detect"
)

// upload packs files (name -> content) and opens them as the manager does.
func upload(t *testing.T, files map[string]string) *archive.Archive {
	t.Helper()
	path := filepath.Join(t.TempDir(), "upload.zip")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	for name, body := range files {
		w, err := z.Create("project/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	a, err := archive.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	if err := a.Index(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a
}

const file = "services: {app: {build: app, ports: [80]}}"

func TestDetect(t *testing.T) {
	for name, c := range map[string]struct {
		files  map[string]string
		kind   detect.Kind
		file   string
		folder string
	}{
		"compose first":          {map[string]string{"compose.yaml": file, "Dockerfile": "FROM x", "index.html": "x", "app/Dockerfile": "FROM x"}, detect.Compose, "compose.yaml", "app"},
		"old compose name":       {map[string]string{"docker-compose.yml": file, "app/Dockerfile": "FROM x"}, detect.Compose, "docker-compose.yml", "app"},
		"two compose files":      {map[string]string{"docker-compose.yml": "x", "compose.yml": file, "app/Dockerfile": "FROM x"}, detect.Compose, "compose.yml", "app"},
		"Dockerfile":             {map[string]string{"Dockerfile": "FROM x", "index.html": "x"}, detect.Dockerfile, "Dockerfile", "."},
		"pages":                  {map[string]string{"index.html": "x", "public/index.html": "x"}, detect.Static, "index.html", "."},
		"pages of a tool":        {map[string]string{"package.json": "{}", "dist/index.html": "x"}, detect.Static, "dist/index.html", "dist"},
		"Dockerfile is a folder": {map[string]string{"Dockerfile/x": "x", "index.html": "x"}, detect.Static, "index.html", "."},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := detect.Detect(t.Context(), upload(t, c.files))
			if err != nil {
				t.Fatal(err)
			}
			s := d.Application.Services[0]
			if d.Kind != c.kind || d.File != c.file || s.Build.Context != c.folder {
				t.Errorf("%+v, build %+v", d, s.Build)
			}
			if name, question := spec.ChoosePublic(d.Application); name != s.Name || question {
				t.Errorf("public is %q", name)
			}
			if (c.kind == detect.Dockerfile) != s.Container.AllVariables {
				t.Errorf("variables: %v", s.Container.AllVariables)
			}
			if c.kind == detect.Static && (s.Container.Port != spec.StaticPort || s.Container.Resources != spec.StaticResources()) {
				t.Errorf("container %+v", s.Container)
			}
		})
	}
}

func TestNothing(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		code  string
		says  string
	}{
		"a Node project":      {map[string]string{"package.json": "{}", "src/a.js": ""}, "nothing_to_run", "found package.json, src/. This looks like a Node.js project"},
		"looked for":          {map[string]string{"a": "", "b": ""}, "nothing_to_run", "compose.yaml, compose.yml, docker-compose.yaml, docker-compose.yml, Dockerfile and index.html"},
		"small letters":       {map[string]string{"dockerfile": "", "b": ""}, "nothing_to_run", "dockerfile must be written in exactly this way: Dockerfile"},
		"capital":             {map[string]string{"Index.html": "", "b": ""}, "nothing_to_run", "exactly this way: index.html"},
		"Dockerfile.prod":     {map[string]string{"Dockerfile.prod": "", "b": ""}, "nothing_to_run", "Rename Dockerfile.prod"},
		"too many":            {many(), "nothing_to_run", "and 8 more"},
		"two folders":         {map[string]string{"dist/index.html": "", "build/index.html": ""}, "static_unclear", "dist and build"},
		"bad compose":         {map[string]string{"compose.yaml": "services:\n  a:\n    image: x\n    privileged: true\n", "Dockerfile": "x"}, "compose_refused", "compose.yaml:4: privileged is not allowed"},
		"big compose":         {map[string]string{"compose.yaml": strings.Repeat("#", 1<<20+1), "b": ""}, "archive_file_size", "compose.yaml"},
		"a context not there": {map[string]string{"compose.yaml": file, "b": ""}, "compose_refused", "no folder app"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := detect.Detect(t.Context(), upload(t, c.files))
			f := fault.From(err)
			if f == nil || f.Code != c.code || !strings.Contains(f.Message, c.says) {
				t.Errorf("%+v", f)
			}
		})
	}
}

func many() map[string]string {
	files := map[string]string{}
	for i := range 20 {
		files["file"+string(rune('a'+i))] = ""
	}
	return files
}

func TestFromImage(t *testing.T) {
	d, err := detect.FromImage("nginx:1.27")
	if err != nil || d.Kind != detect.Image || d.Application.Services[0].Build.Reference != "docker.io/library/nginx:1.27" || !d.Application.Services[0].Container.AllVariables {
		t.Errorf("%+v %v", d, err)
	}
	for _, bad := range []string{"", "UPPER", "127.0.0.1:5000/x", "a b"} {
		if _, err := detect.FromImage(bad); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

// TestShop: the example is what it says it is.
func TestShop(t *testing.T) {
	files := map[string]string{}
	root := "../../../examples/shop"
	for _, name := range []string{"compose.yaml", "Dockerfile", "shop.py", "web.py", "worker.py", "migrate.py"} {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(b)
	}
	d, err := detect.Detect(t.Context(), upload(t, files))
	if err != nil {
		t.Fatal(err)
	}
	if name, question := spec.ChoosePublic(d.Application); name != "web" || question || len(d.Application.Services) != 4 || len(d.Application.Volumes) != 1 {
		t.Errorf("%q %+v", name, d.Application)
	}
	for _, s := range d.Application.Services {
		if s.Task != (s.Name == "migrate") {
			t.Errorf("%s is a task: %v", s.Name, s.Task)
		}
	}
}
