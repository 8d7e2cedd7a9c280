package builds

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"pandu/modules/spec"
	"pandu/tests/engine"
)

// fileserverProgram puts the small file server where fileServer looks for it and returns what Self would be.
func fileserverProgram(t *testing.T) string {
	t.Helper()
	program, err := engine.Binary(t.Context(), "pandu/modules/kit/fileserver/cmd/pandu-fileserver")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pandu-fileserver"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "pandu")
}

func TestStaticSite(t *testing.T) {
	b := newBench(t, func(d *Deps) { d.Self = fileserverProgram(t) })
	files := map[string]string{
		"index.html": "<h1>hello</h1>", "404.html": "<h1>nothing here</h1>", "docs/index.html": "docs", ".env": "SECRET=1",
		".well-known/security.txt": "Contact: x", "draft.html": "draft", ".dockerignore": "draft.html\n",
	}
	a := b.attempt(spec.Build{Kind: spec.Static, Context: "."}, files)
	r := b.build(a)
	if r.GetErrorCode() != "" {
		t.Fatalf("failed: %v\n%s", r, b.log(a))
	}
	var config spec.ImageConfig
	if err := json.Unmarshal(r.GetImage(), &config); err != nil || !slices.Equal(config.Ports, []int{8080}) {
		t.Errorf("config = %+v, %v", config, err)
	}
	address := b.serve(a.GetRepository(), r.GetDigest(), "PORT=9090")
	for path, want := range map[string]string{
		"/": "200 <h1>hello</h1>", "/docs/": "200 docs", "/nothing": "404 <h1>nothing here</h1>", "/.env": "404 <h1>nothing here</h1>",
		"/draft.html": "404 <h1>nothing here</h1>", "/.well-known/security.txt": "200 Contact: x",
	} {
		if got := get(t, address+path); got != want {
			t.Errorf("GET %s = %q, want %q", path, got, want)
		}
	}
	again := b.build(b.attempt(spec.Build{Kind: spec.Static}, files))
	if again.GetDigest() != r.GetDigest() {
		t.Errorf("the same pages gave %s and %s", r.GetDigest(), again.GetDigest())
	}
	files["index.html"] = "<h1>other</h1>"
	other := b.build(b.attempt(spec.Build{Kind: spec.Static}, files))
	if one, two := b.layers(a.GetRepository(), r.GetDigest()), b.layers(a.GetRepository(), other.GetDigest()); one[0] != two[0] || one[1] == two[1] {
		t.Errorf("layers = %v and %v, want the first shared", one, two)
	}
}

// examples is the folder of projects to deploy, from here.
const examples = "../../../../examples"

func TestExampleHello(t *testing.T) {
	b := newBench(t, func(d *Deps) { d.Self = fileserverProgram(t) })
	files := map[string]string{}
	entries, err := os.ReadDir(examples + "/hello")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		files["hello/"+e.Name()] = content(examples + "/hello/" + e.Name())
	}
	a := b.attempt(spec.Build{Kind: spec.Static}, files) // the one folder around everything is stripped
	r := b.build(a)
	if r.GetErrorCode() != "" {
		t.Fatalf("failed: %v\n%s", r, b.log(a))
	}
	address := b.serve(a.GetRepository(), r.GetDigest(), "PORT=8080")
	for path, want := range map[string]string{"/": "200 <!doctype html>", "/how.html": "200 <!doctype html>", "/style.css": "200 :root", "/icon.svg": "200 <svg", "/lost-at-sea": "404 <!doctype html>"} {
		if got := get(t, address+path); !strings.HasPrefix(got, want) {
			t.Errorf("GET %s = %.60q, want %q", path, got, want)
		}
	}
}

func TestExampleAPIIsAllowed(t *testing.T) {
	text := content(examples + "/api/Dockerfile")
	if err := judge("Dockerfile", []byte(text), nil, panel); err != nil || text == "" {
		t.Errorf("judge = %v of %q", err, text)
	}
}

func TestStaticSiteWithoutFiles(t *testing.T) {
	b := newBench(t, func(d *Deps) { d.Self = fileserverProgram(t) })
	if r := b.build(b.attempt(spec.Build{Kind: spec.Static}, map[string]string{".hidden": "x"})); r.GetErrorCode() != codeSource || r.GetRetryable() {
		t.Errorf("result = %v", r)
	}
	if r := b.build(b.attempt(spec.Build{Kind: spec.Static, Context: "../.."}, map[string]string{"index.html": "x"})); r.GetErrorCode() != codeSource {
		t.Errorf("result = %v", r)
	}
}

func TestStaticSiteNeedsAStaticProgram(t *testing.T) {
	b := newBench(t, func(d *Deps) { d.Self = "/bin/ls" })
	r := b.build(b.attempt(spec.Build{Kind: spec.Static}, map[string]string{"index.html": "x"}))
	if r.GetErrorCode() != codeEngine || !strings.Contains(r.GetError(), "CGO_ENABLED=0") {
		t.Errorf("result = %v", r)
	}
}

// serve runs the image as an instance would be: read-only, without capabilities, its digest pulled by the Engine.
func (b *bench) serve(repository, digest, env string) string {
	b.t.Helper()
	ctx, reference := b.t.Context(), b.registry+"/"+repository+"@"+digest
	pulled, err := docker.Client.ImagePull(ctx, reference, client.ImagePullOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := pulled.Wait(ctx); err != nil {
		b.t.Fatal(err)
	}
	made, err := docker.Client.ContainerCreate(ctx, client.ContainerCreateOptions{
		Config:     &container.Config{Image: reference, Env: []string{env}},
		HostConfig: &container.HostConfig{ReadonlyRootfs: true, CapDrop: []string{"ALL"}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		_, _ = docker.Client.ContainerRemove(context.Background(), made.ID, client.ContainerRemoveOptions{Force: true})
	})
	if _, err := docker.Client.ContainerStart(ctx, made.ID, client.ContainerStartOptions{}); err != nil {
		b.t.Fatal(err)
	}
	found, err := docker.Client.ContainerInspect(ctx, made.ID, client.ContainerInspectOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, network := range found.Container.NetworkSettings.Networks {
		return fmt.Sprintf("http://%s:%s", network.IPAddress, strings.TrimPrefix(env, "PORT="))
	}
	b.t.Fatal("the container has no network")
	return ""
}

// get waits until the server answers at all.
func get(t *testing.T, url string) string {
	t.Helper()
	for limit := time.Now().Add(10 * time.Second); ; <-time.After(5 * time.Millisecond) {
		answer, err := http.Get(url)
		if err == nil {
			defer answer.Body.Close()
			text, _ := io.ReadAll(answer.Body)
			return fmt.Sprintf("%d %s", answer.StatusCode, text)
		}
		if time.Now().After(limit) {
			t.Fatal(err)
		}
	}
}

func (b *bench) layers(repository, digest string) (out []string) {
	b.t.Helper()
	request, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, "http://"+b.registry+"/v2/"+repository+"/manifests/"+digest, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	request.Header.Set("Accept", typeManifest)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	var manifest struct{ Layers []descriptor }
	if err := json.NewDecoder(answer.Body).Decode(&manifest); err != nil {
		b.t.Fatal(err)
	}
	for _, l := range manifest.Layers {
		out = append(out, l.Digest)
	}
	return out
}

func TestImport(t *testing.T) {
	b := newBench(t)
	name := "registry.invalid/pandu-test/import:1"
	if _, err := docker.BuildScratch(t.Context(), name, engine.WebPackage, "EXPOSE 8123"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = docker.Client.ImageRemove(context.Background(), name, client.ImageRemoveOptions{})
	})
	a := b.attempt(spec.Build{Kind: spec.Import, Reference: name}, nil)
	r := b.build(a)
	if r.GetErrorCode() != "" || !manifestDigest.MatchString(r.GetDigest()) {
		t.Fatalf("failed: %v\n%s", r, b.log(a))
	}
	if !strings.Contains(b.log(a), "The registry cannot be reached") || !strings.Contains(string(r.GetImage()), "8123") {
		t.Errorf("image = %s, log:\n%s", r.GetImage(), b.log(a))
	}
	gone := b.build(b.attempt(spec.Build{Kind: spec.Import, Reference: "registry.invalid/none:1"}, nil))
	if gone.GetErrorCode() != codeImage || !gone.GetRetryable() {
		t.Errorf("result = %v", gone)
	}
	own := b.build(b.attempt(spec.Build{Kind: spec.Import, Reference: b.registry + "/" + a.GetRepository() + "@" + r.GetDigest()}, nil))
	if own.GetErrorCode() != codeImage || own.GetRetryable() {
		t.Errorf("result = %v", own)
	}
}

func TestPushFails(t *testing.T) {
	b := newBench(t, func(d *Deps) { d.Registry = "127.0.0.1:1"; d.Self = fileserverProgram(t) })
	r := b.build(b.attempt(spec.Build{Kind: spec.Static}, map[string]string{"index.html": "x"}))
	if r.GetErrorCode() != codePush || !r.GetRetryable() {
		t.Errorf("result = %v", r)
	}
	r = b.build(b.attempt(spec.Build{Kind: spec.Dockerfile}, map[string]string{"Dockerfile": "FROM scratch\nCOPY x /x\n", "x": "x"}))
	if r.GetErrorCode() != codePush || !r.GetRetryable() {
		t.Errorf("result = %v", r)
	}
}

func TestEngineIsAway(t *testing.T) {
	b := newBench(t, func(d *Deps) { d.Docker = "unix:///nowhere/docker.sock" })
	r := b.build(b.attempt(spec.Build{Kind: spec.Dockerfile}, map[string]string{"Dockerfile": "FROM scratch\nCOPY x /x\n", "x": "x"}))
	if r.GetErrorCode() != codeEngine || !r.GetRetryable() {
		t.Errorf("result = %v", r)
	}
}
