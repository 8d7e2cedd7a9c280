package storage_test

import (
	"context"
	"strings"
	"testing"

	"github.com/moby/moby/client"

	"pandu/tests/engine"
)

// A real engine pushes an image, forgets it, and pulls it again by its digest.
func TestDockerPushesAndPulls(t *testing.T) {
	ctx := context.Background()
	e, err := engine.Start(ctx)
	must(t, err)
	defer func() { must(t, e.Close()) }()
	g := newRegistry(t)
	repository := strings.TrimPrefix(g.server.URL, "http://") + "/p1/web"
	_, err = e.BuildScratch(ctx, repository+":latest", engine.WebPackage)
	must(t, err)
	remove := func(ref string) {
		_, err := e.Client.ImageRemove(ctx, ref, client.ImageRemoveOptions{Force: true, PruneChildren: true})
		must(t, err)
	}
	pushed, err := e.Client.ImagePush(ctx, repository+":latest", client.ImagePushOptions{RegistryAuth: "e30="})
	must(t, err)
	must(t, pushed.Wait(ctx))
	again, err := e.Client.ImagePush(ctx, repository+":latest", client.ImagePushOptions{RegistryAuth: "e30="})
	must(t, err)
	must(t, again.Wait(ctx)) // everything is there already
	var manifest string
	must(t, g.r.db.Pool.QueryRow(ctx, "select digest from storage.repository_blobs where manifest and repository = 'p1/web'").Scan(&manifest))
	remove(repository + ":latest")
	pulled, err := e.Client.ImagePull(ctx, repository+"@"+manifest, client.ImagePullOptions{})
	must(t, err)
	must(t, pulled.Wait(ctx))
	remove(repository + "@" + manifest)
	if n := g.r.count("select count(*) from storage.blobs where size = 0"); n != 0 {
		t.Fatalf("%d blobs are recorded without a size", n)
	}
}
