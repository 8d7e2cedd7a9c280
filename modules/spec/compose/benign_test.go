package compose_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pandu/modules/spec"
	"pandu/modules/spec/compose"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestBenign: files of the kind people write are accepted and mean what their golden file says.
func TestBenign(t *testing.T) {
	files, err := filepath.Glob("testdata/benign/*.yaml")
	if err != nil || len(files) < 40 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			app, problems := compose.Parse(compose.Input{Name: "compose.yaml", Data: data, Exists: exists})
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			invariants(t, app)
			got, err := json.MarshalIndent(app, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || !bytes.Equal(bytes.TrimSpace(want), got) {
				t.Errorf("not as in %s (%v):\n%s", golden, err, got)
			}
		})
	}
}

// invariants hold for every application that was accepted, whatever the file.
func invariants(t *testing.T, app spec.Application) {
	t.Helper()
	names := map[string]bool{}
	for _, s := range app.Services {
		names[s.Name] = true
	}
	if len(app.Services) == 0 || len(app.Services) > spec.MaxServices {
		t.Errorf("%d services", len(app.Services))
	}
	for _, s := range app.Services {
		c := s.Container
		if spec.ServiceName(s.Name) != nil || s.Build == nil || s.Image != "" || s.Replicas < 0 || s.Replicas > spec.MaxReplicas {
			t.Errorf("service %+v", s)
		}
		if s.Task && (s.Replicas != 1 || c.Restart != spec.RestartNever) {
			t.Errorf("task %+v", s)
		}
		judgeBuild(t, s.Build)
		for _, d := range s.DependsOn {
			if !names[d.Service] {
				t.Errorf("%s depends on %s", s.Name, d.Service)
			}
		}
		for i, e := range c.Env {
			if i > 0 && c.Env[i-1].Name >= e.Name {
				t.Errorf("variables not sorted at %s", e.Name)
			}
			if _, err := spec.References(e.Value); err != nil {
				t.Error(err)
			}
		}
		c.Image = spec.Image{Repository: "a/b", Digest: "sha256:" + strings.Repeat("0", 64)}
		c.Mounts = slices.Clone(c.Mounts)
		for i, m := range c.Mounts {
			if strings.ContainsAny(m.Volume, `/\~`) || (!m.ReadOnly && s.Replicas > 1) {
				t.Errorf("mount %+v of %d replicas", m, s.Replicas)
			}
			c.Mounts[i].ID = "00000000-0000-0000-0000-00000000000" + string(rune('0'+i%10))
		}
		if err := spec.Policy(c); err != nil && len(c.Mounts) < 10 {
			t.Error(err)
		}
	}
}

func judgeBuild(t *testing.T, b *spec.Build) {
	t.Helper()
	switch b.Kind {
	case spec.Import:
		if full, err := spec.ImageReference(b.Reference); err != nil || full != b.Reference {
			t.Errorf("reference %q becomes %q (%v)", b.Reference, full, err)
		}
	case spec.Dockerfile:
		file := filepath.Join(b.Context, b.Dockerfile)
		if filepath.IsAbs(file) || strings.HasPrefix(file, "..") || b.Inline != "" {
			t.Errorf("build %+v", b)
		}
	default:
		t.Errorf("build of kind %q", b.Kind)
	}
}

func TestSubfolder(t *testing.T) {
	in := compose.Input{Name: "deploy/compose.yaml", Data: []byte("services: {web: {build: {context: ../app, dockerfile: Dockerfile}}}"), Exists: exists}
	app, problems := compose.Parse(in)
	if len(problems) > 0 || app.Services[0].Build.Context != "app" {
		t.Errorf("%+v %v", app, problems)
	}
	in.Data = []byte("services: {web: {build: ../../app}}")
	if _, problems := compose.Parse(in); len(problems) != 1 || problems[0].Code != "context_outside" {
		t.Error(problems)
	}
}

func TestSameBytesSameApplication(t *testing.T) {
	data, err := os.ReadFile("testdata/benign/django.yaml")
	if err != nil {
		t.Fatal(err)
	}
	first, _ := compose.Parse(compose.Input{Name: "c", Data: data})
	for range 20 {
		if again, _ := compose.Parse(compose.Input{Name: "c", Data: data}); !reflect.DeepEqual(first, again) {
			t.Fatal("differs from one reading to the next")
		}
	}
}

// TestOwnEnvironmentStaysOut: what this process has in its environment never gets into a specification.
func TestOwnEnvironmentStaysOut(t *testing.T) {
	t.Setenv("PANDU_CANARY", "canary-value")
	t.Setenv("HOME", "/canary-value")
	for _, file := range []string{
		in("environment: ['A=${PANDU_CANARY}', HOME]"),
		in("environment: {A: '${PANDU_CANARY:-x}'}"),
		in("command: echo ${PANDU_CANARY:-x} ~"),
		in("working_dir: ${HOME:-/srv}"),
	} {
		app, problems := compose.Parse(compose.Input{Name: "compose.yaml", Data: []byte(file)})
		out, err := json.Marshal(app)
		if err != nil || len(problems) > 0 || bytes.Contains(out, []byte("canary-value")) {
			t.Errorf("%s: %v %s", file, problems, out)
		}
	}
}

// TestLongestFiles: the most that fits into a file is read in a moment, not in minutes.
func TestLongestFiles(t *testing.T) {
	var keys, mounts, merges strings.Builder
	for i := range 19_000 {
		fmt.Fprintf(&keys, "    environmen%d: x\n", i)
		fmt.Fprintf(&mounts, "      - data%d:/x\n", i)
	}
	for i := range 3000 {
		fmt.Fprintf(&merges, "      V%d: ${A:-${B:-${C:-x}}}\n", i)
	}
	for name, file := range map[string]string{
		"keys":   "services:\n  web:\n    image: nginx\n" + keys.String(),
		"mounts": "services:\n  web:\n    image: nginx\n    volumes:\n" + mounts.String(),
		"env":    "services:\n  web:\n    image: nginx\n    environment:\n" + merges.String(),
		"quotes": "services:\n  web:\n    image: nginx\n    command: '" + strings.Repeat("$$", 30<<10) + "'\n",
	} {
		start := time.Now()
		if _, problems := compose.Parse(compose.Input{Name: "c", Data: []byte(file)}); len(problems) > 100 {
			t.Errorf("%s: %d problems", name, len(problems))
		}
		if took := time.Since(start); took > 20*time.Second { // generous: this only tells quadratic from not
			t.Errorf("%s took %v", name, took)
		} else {
			t.Log(name, took)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, v := range vectors() {
		if len(v.file) < 4<<10 {
			f.Add([]byte(v.file))
		}
	}
	files, _ := filepath.Glob("testdata/benign/*.yaml")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		app, problems := compose.Parse(compose.Input{Name: "compose.yaml", Data: data, Exists: exists})
		for _, p := range problems {
			if p.Code == "" || p.Message == "" {
				t.Errorf("problem %+v", p)
			}
		}
		if len(problems) == 0 {
			invariants(t, app)
		}
	})
}
