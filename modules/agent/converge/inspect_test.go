package converge_test

import (
	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// inspect reads an instance's container past the converger.
func (w *world) inspect(id string) dockercontainer.InspectResponse {
	w.t.Helper()
	r, err := dock.Client.ContainerInspect(w.ctx, w.status(id).GetContainerId(), client.ContainerInspectOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return r.Container
}
