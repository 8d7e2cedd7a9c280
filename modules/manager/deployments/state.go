package deployments

// State is where a deployment stands.
type State string

// The states. The last four are final.
const (
	Queued     State = "queued"
	Building   State = "building"
	Releasing  State = "releasing"
	Live       State = "live"
	Failed     State = "failed"
	Cancelled  State = "cancelled"
	Superseded State = "superseded"
)

// Final reports whether nothing more happens to a deployment.
func (s State) Final() bool { return s != Queued && s != Building && s != Releasing }

// statuses maps a deployment's state onto the words that every resource uses.
var statuses = map[State]string{
	Queued: "pending", Building: "progress", Releasing: "progress", Live: "ready", Failed: "failed", Cancelled: "cancelled", Superseded: "cancelled",
}

// Status is the state in the words that every resource uses.
func (s State) Status() string { return statuses[s] }

// Kind is what a deployment does.
type Kind string

// The kinds of deployment.
const (
	KindDeploy    Kind = "deploy"
	KindRollback  Kind = "rollback"
	KindScale     Kind = "scale"
	KindSettings  Kind = "settings"
	KindStart     Kind = "start"
	KindStop      Kind = "stop"
	KindRestart   Kind = "restart"
	KindVariables Kind = "variables"
)

// BuildState is where a build stands.
type BuildState string

// The states of a build.
const (
	BuildPending   BuildState = "pending"
	BuildProgress  BuildState = "progress"
	BuildReady     BuildState = "ready"
	BuildFailed    BuildState = "failed"
	BuildCancelled BuildState = "cancelled"
)

// Error is why something failed, as people are told.
type Error struct {
	Code       string            `json:"code"`
	Message    string            `json:"message"`
	Parameters map[string]string `json:"parameters,omitempty"`
	Service    string            `json:"service,omitempty"`
	LastLines  []string          `json:"last_lines,omitempty"`
}
