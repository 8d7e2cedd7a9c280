package converge

import (
	"strings"
	"time"

	"pandu/modules/agent/agentv1"
)

// Labels of everything we make. They hold ids and names, never a secret.
const (
	labelServer       = "pandu.server"
	labelInstance     = "pandu.instance"
	labelEnvironment  = "pandu.environment"
	labelService      = "pandu.service"
	labelSpec         = "pandu.spec"
	labelOrganization = "pandu.organization"
	labelVolume       = "pandu.volume"
	labelDrain        = "pandu.drain" // a duration: the tombstone no longer tells
)

// containerName is what a person sees in "docker ps": pandu-project-environment-service-12345678. The end of the id is
// taken, because the beginning of a UUIDv7 is a clock that two instances made together share.
func containerName(i *agentv1.Instance) string {
	id := i.GetId()
	return clean("pandu-" + i.GetProject() + "-" + i.GetEnvironment() + "-" + i.GetService() + "-" + id[max(0, len(id)-8):])
}

// networkName is unique by the environment's id.
func networkName(e *environment) string {
	return clean("pandu-" + e.name + "-" + e.id[max(0, len(e.id)-8):])
}

func volumeName(id string) string { return "pandu-" + id }

// volumeID is the reverse of volumeName.
func volumeID(name string) (string, bool) { return strings.CutPrefix(name, "pandu-") }

// clean leaves what Docker takes in a name.
func clean(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' {
			return r
		}
		return '-'
	}, name)
}

func (c *Converger) containerLabels(i *instance) map[string]string {
	labels := map[string]string{}
	for k, v := range i.spec.Labels {
		labels[k] = v
	}
	b := i.body
	labels[labelServer], labels[labelInstance], labels[labelEnvironment] = c.deps.ServerID, b.GetId(), b.GetEnvironmentId()
	labels[labelService], labels[labelSpec], labels[labelOrganization] = b.GetService(), b.GetSpecHash(), b.GetOrganizationId()
	labels[labelDrain] = b.GetDrain().AsDuration().Round(time.Millisecond).String()
	// What "docker compose ls" and dashboards group by.
	labels["com.docker.compose.project"] = b.GetProject() + "-" + b.GetEnvironment()
	labels["com.docker.compose.service"] = b.GetService()
	return labels
}
