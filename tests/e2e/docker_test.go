package e2e

import (
	"archive/zip"
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/client"
)

// webImage is the test program as an image of the engine.
const webImage = "pandu-e2e/web:1"

// zipped packs files, the test program as "program" where the content is nil.
func zipped(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		content := []byte(files[name])
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(0o644)
		if files[name] == program {
			content, h.Method = suite.web, zip.Store
			h.SetMode(0o755)
		}
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// program stands for the test program as a file's content.
const program = "\x00program"

// dockerfile is an image from nothing with the test program and some settings.
func dockerfile(settings ...string) string {
	return "FROM scratch\nCOPY program /program\nENTRYPOINT [\"/program\"]\n" + strings.Join(settings, "\n") + "\n"
}

// webSite is the test program with a Dockerfile.
func webSite(t *testing.T, settings ...string) []byte {
	t.Helper()
	return zipped(t, map[string]string{"Dockerfile": dockerfile(settings...), "program": program})
}

// page is a site of one page.
func pages(t *testing.T, text string) []byte {
	t.Helper()
	return zipped(t, map[string]string{"index.html": "<h1>" + text + "</h1>"})
}

// leftovers lists what the engine has that carries a label of ours, by kind: containers, networks, volumes, images.
func leftovers(t *testing.T) map[string][]string {
	t.Helper()
	ctx, docker, all := context.Background(), suite.engine.Client, map[string][]string{}
	add := func(kind, id string, labels map[string]string) {
		for k := range labels {
			if strings.HasPrefix(k, "pandu.") {
				all[kind] = append(all[kind], id)
				return
			}
		}
	}
	containers, err := docker.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range containers.Items {
		add("containers", c.ID, c.Labels)
	}
	networks, err := docker.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range networks.Items {
		add("networks", n.Name, n.Labels)
	}
	volumes, err := docker.VolumeList(ctx, client.VolumeListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range volumes.Items {
		if slices.Contains(suite.kept, v.Name) {
			continue
		}
		add("volumes", v.Name, v.Labels)
	}
	images, err := docker.ImageList(ctx, client.ImageListOptions{All: false})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range images.Items {
		add("images", i.ID+" "+strings.Join(i.RepoTags, " ")+strings.Join(i.RepoDigests, " "), i.Labels)
	}
	for _, list := range all {
		slices.Sort(list)
	}
	return all
}

// removeContainers takes away what an installation leaves in the engine when it ends for good.
func removeContainers(t *testing.T) {
	t.Helper()
	ctx, docker := context.Background(), suite.engine.Client
	left := leftovers(t)
	for _, id := range left["containers"] {
		_, _ = docker.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	}
	for _, name := range left["networks"] {
		_, _ = docker.NetworkRemove(ctx, name, client.NetworkRemoveOptions{})
	}
	for _, name := range left["volumes"] {
		_, _ = docker.VolumeRemove(ctx, name, client.VolumeRemoveOptions{Force: true})
	}
}

// containers lists the ids of the running instances by service.
func (j *project) containers(t *testing.T) map[string][]string {
	t.Helper()
	ids := map[string][]string{}
	for _, i := range j.instances(t) {
		if i.Desired == "running" && i.ContainerID != "" {
			ids[i.Service] = append(ids[i.Service], i.ContainerID)
		}
	}
	for _, list := range ids {
		slices.Sort(list)
	}
	return ids
}

func containsAll(s string, parts ...string) bool {
	return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(s, p) })
}
