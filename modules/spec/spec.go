// Package spec is the service specification: what Pandu can run, and nothing else.
//
// Compose files, Dockerfile options and API bodies are decoded, with unknown fields refused, UP into these types; only
// these types make a request to Docker. There is no raw pass-through. Everyone who judges a container imports this
// package: the manager when a source arrives, the planner, and the agent, which applies Policy again.
package spec

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// Application is what a source says shall run: the services of one environment.
type Application struct {
	Services []Service `json:"services"`
	Volumes  []string  `json:"volumes,omitempty"` // names of the named volumes
	Notes    []Note    `json:"notes,omitempty"`   // what was accepted but changes nothing here
}

// Note is a remark on something accepted, with where it stands ("compose.yaml:5").
type Note struct {
	Location string `json:"location"`
	Code     string `json:"code"`
	Message  string `json:"message"`
}

// Service is one component of an environment, before its image exists.
type Service struct {
	Name      string       `json:"name"` // see ServiceName
	Public    bool         `json:"public,omitempty"`
	Internal  bool         `json:"internal,omitempty"` // never chosen as the public one
	Ports     []int        `json:"ports,omitempty"`    // TCP ports under "ports", as listed; the first is Container.Port unless said otherwise
	Build     *Build       `json:"build,omitempty"`    // exactly one of Build and Image
	Image     string       `json:"image,omitempty"`    // reference as the user wrote it
	Replicas  int          `json:"replicas"`
	DependsOn []Dependency `json:"depends_on,omitempty"`
	Task      bool         `json:"task,omitempty"` // runs to its end once per release
	Container Container    `json:"container"`      // with an empty Image
}

// Condition is what a dependency waits for.
type Condition string

// The conditions of compose.
const (
	Started   Condition = "service_started"
	Healthy   Condition = "service_healthy"
	Completed Condition = "service_completed_successfully"
)

// Dependency says that a service starts only when another has reached a condition.
type Dependency struct {
	Service   string    `json:"service"`
	Condition Condition `json:"condition"`
}

// BuildKind is how an image is made.
type BuildKind string

// The kinds of build.
const (
	Dockerfile BuildKind = "dockerfile" // the Engine's BuildKit on a Dockerfile
	Static     BuildKind = "static"     // pages with Pandu's own file server, FROM scratch
	Import     BuildKind = "import"     // an image reference copied into the panel's registry, pinned by digest
)

// Build is how an agent makes one image.
type Build struct {
	Kind       BuildKind         `json:"kind"`
	Context    string            `json:"context,omitempty"`    // folder inside the source, "." for its root
	Dockerfile string            `json:"dockerfile,omitempty"` // inside the context
	Inline     string            `json:"inline,omitempty"`     // always empty for tenants; a Dockerfile of ours
	Target     string            `json:"target,omitempty"`
	Args       map[string]string `json:"args,omitempty"`
	Reference  string            `json:"reference,omitempty"` // of Import
	Memory     int64             `json:"memory,omitempty"`    // bytes
	MilliCPU   int64             `json:"milli_cpu,omitempty"`
	TimeLimit  Duration          `json:"time_limit,omitempty"`
}

// ImageConfig is what an agent found in a built image.
type ImageConfig struct {
	Ports    []int    `json:"ports,omitempty"`   // EXPOSEd TCP ports, ascending
	Volumes  []string `json:"volumes,omitempty"` // declared mount points
	User     string   `json:"user,omitempty"`
	Health   *Health  `json:"health,omitempty"` // of HEALTHCHECK
	Size     int64    `json:"size,omitempty"`   // bytes
	Platform string   `json:"platform,omitempty"`
}

// Container is the whole of what an agent needs to make one container. Its Hash decides whether a running instance is kept.
type Container struct {
	Image        Image             `json:"image"`
	Entrypoint   []string          `json:"entrypoint,omitempty"`
	Command      []string          `json:"command,omitempty"`
	Env          []Env             `json:"env,omitempty"`           // sorted by name
	AllVariables bool              `json:"all_variables,omitempty"` // every variable of the environment is set, too
	Variables    string            `json:"variables,omitempty"`     // keyed digest of the variables it receives: a change is a new specification
	Port         int               `json:"port,omitempty"`          // 0: EXPOSE, then probing
	Listens      bool              `json:"listens,omitempty"`       // a gate without a port is a failure
	Mounts       []Mount           `json:"mounts,omitempty"`
	Networks     []string          `json:"networks,omitempty"` // compose networks, for notes; every service of an environment shares one bridge
	User         string            `json:"user,omitempty"`
	WorkingDir   string            `json:"working_dir,omitempty"`
	StopSignal   string            `json:"stop_signal,omitempty"`
	StopGrace    Duration          `json:"stop_grace,omitempty"` // 0: 10 s
	ReadOnly     bool              `json:"read_only,omitempty"`
	Restart      Restart           `json:"restart,omitempty"`
	Resources    Resources         `json:"resources"`
	Health       *Health           `json:"health,omitempty"` // nil: the image's, else TCP on its port, else "keeps running"
	Labels       map[string]string `json:"labels,omitempty"` // ours only
	Nonce        string            `json:"nonce,omitempty"`  // raised by restart: same specification, new instance
}

// Image is a manifest in the panel's registry.
type Image struct {
	Repository string `json:"repository"` // organization/build repository, no host
	Digest     string `json:"digest"`     // sha256:…
}

// Env is one variable of a container. Value may hold references to variables of the environment (see Expand), which only
// the agent resolves; a literal dollar is $$. FromVariable passes the variable Name through as it is (absent: not set).
type Env struct {
	Name         string `json:"name"`
	Value        string `json:"value,omitempty"`
	FromVariable bool   `json:"from_variable,omitempty"`
}

// Mount puts a named volume at a path.
type Mount struct {
	Volume   string `json:"volume"` // name inside the environment
	ID       string `json:"id"`     // of the volume row, set by the planner
	Path     string `json:"path"`
	ReadOnly bool   `json:"read_only,omitempty"`
}

// Restart is when a container that ended is started again.
type Restart string

// The restart rules.
const (
	RestartAlways    Restart = "always"
	RestartOnFailure Restart = "on-failure"
	RestartNever     Restart = "no"
)

// Resources are the limits of one container. None may be zero in a spec that reaches an agent.
type Resources struct {
	Memory   int64 `json:"memory"`    // bytes
	MilliCPU int64 `json:"milli_cpu"` // thousandths of a core
	Pids     int64 `json:"pids"`
}

// HealthKind is how a container is asked whether it is ready.
type HealthKind string

// The kinds of check.
const (
	HealthHTTP    HealthKind = "http"
	HealthTCP     HealthKind = "tcp"
	HealthCommand HealthKind = "command"
	HealthNone    HealthKind = "none" // ready when it has run for a moment
)

// Health is a check, used as the gate of a rollout and, afterwards, continuously.
type Health struct {
	Kind        HealthKind `json:"kind"`
	Path        string     `json:"path,omitempty"`    // of HTTP, starts with "/"; any status below 400 is well
	Port        int        `json:"port,omitempty"`    // 0: the service's port
	Command     []string   `json:"command,omitempty"` // argv inside the container
	Interval    Duration   `json:"interval,omitempty"`
	Timeout     Duration   `json:"timeout,omitempty"`
	Retries     int        `json:"retries,omitempty"`
	StartPeriod Duration   `json:"start_period,omitempty"` // failures in it do not count
	Gate        Duration   `json:"gate,omitempty"`         // how long a new instance may take; 0: 60 s
}

// Duration is a time.Duration that is written as a string ("1m30s") in JSON.
type Duration time.Duration

// MarshalText writes the duration as Go does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// Hash is the identity of a specification: two containers with the same hash need not be replaced by one another.
func (c Container) Hash() string {
	b, err := json.Marshal(c)
	if err != nil {
		panic("spec: container does not marshal: " + err.Error()) // only plain data in there
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
