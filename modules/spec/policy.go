package spec

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"pandu/modules/kit/fault"
)

// The bounds of a container. The lower one of memory is Docker's own.
const (
	MinMemory   = 6 << 20 // bytes
	MaxMemory   = 1 << 40
	MinMilliCPU = 10
	MaxMilliCPU = 256_000
	MinPids     = 1
	MaxPids     = 32_768
	MaxMounts   = 32
	maxArgument = 128 << 10 // bytes of one argument or variable: the kernel's limit
	maxArgv     = 1024
	maxTotal    = 1 << 20 // bytes of all arguments and variables together
	maxDuration = Duration(time.Hour)
	maxGrace    = Duration(10 * time.Minute)
	maxRetries  = 1000
)

var (
	digestForm     = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	repositoryForm = regexp.MustCompile(`^[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$`)
	idForm         = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	envForm        = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,254}$`)
	userForm       = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?$`)
	signalForm     = regexp.MustCompile(`^(SIG[A-Z]{2,6}([12])?([+-][0-9]{1,2})?|[1-9]|[1-5][0-9]|6[0-4])$`)
	labelForm      = regexp.MustCompile(`^pandu\.[a-z0-9][a-z0-9.-]{0,100}$`)
)

// reservedLabels carry the identity of a container; only the agent writes them.
var reservedLabels = []string{"pandu.server", "pandu.instance", "pandu.environment", "pandu.service", "pandu.spec", "pandu.organization", "pandu.drain"}

// Policy judges whether a container may be made at all. The manager applies it when a release is made, and the agent
// again before every request to Docker, so that a manager that was deceived cannot make an agent do harm. It returns nil
// or a fault (Invalid, "policy") with one detail for each rule that is broken; details never hold values of variables.
func Policy(c Container) error {
	var j judge
	j.image(c.Image)
	j.resources(c.Resources)
	j.arguments(c)
	j.mounts(c.Mounts)
	j.process(c)
	j.health(c.Health)
	j.labels(c.Labels)
	if len(j.broken) == 0 {
		return nil
	}
	f := fault.Newf(fault.Invalid, "policy", "The container is not allowed: %s.", j.broken[0].Message)
	f.Details = j.broken
	return f
}

// judge collects the rules that a container breaks.
type judge struct{ broken []fault.Detail }

func (j *judge) check(ok bool, location, format string, args ...any) {
	if !ok {
		j.broken = append(j.broken, fault.Detail{Location: location, Message: fmt.Sprintf(format, args...)})
	}
}

func (j *judge) between(value, low, high int64, location string) {
	j.check(value >= low && value <= high, location, "%s must lie between %d and %d", location, low, high)
}

func (j *judge) image(i Image) {
	j.check(len(i.Repository) <= 255 && repositoryForm.MatchString(i.Repository), "image.repository", "the image must be a repository of the panel's registry")
	j.check(digestForm.MatchString(i.Digest), "image.digest", "the image must be named by its sha256 digest")
}

func (j *judge) resources(r Resources) {
	j.between(r.Memory, MinMemory, MaxMemory, "resources.memory")
	j.between(r.MilliCPU, MinMilliCPU, MaxMilliCPU, "resources.milli_cpu")
	j.between(r.Pids, MinPids, MaxPids, "resources.pids")
}

func (j *judge) arguments(c Container) {
	total := j.argv("entrypoint", c.Entrypoint) + j.argv("command", c.Command)
	j.check(len(c.Env) <= maxArgv, "env", "there may be at most %d variables", maxArgv)
	seen := map[string]bool{}
	for _, e := range c.Env {
		j.check(envForm.MatchString(e.Name), "env", "%.60q is not a name for a variable", e.Name)
		j.check(!seen[e.Name], "env", "the variable %.60q is set twice", e.Name)
		j.check(plain(e.Value), "env."+e.Name, "the value of a variable must be shorter than %d bytes and hold no NUL", maxArgument)
		seen[e.Name] = true
		total += len(e.Name) + len(e.Value) + 2
	}
	j.check(total <= maxTotal, "env", "arguments and variables together must be shorter than %d bytes", maxTotal)
}

func (j *judge) argv(location string, argv []string) int {
	j.check(len(argv) <= maxArgv, location, "%s may have at most %d arguments", location, maxArgv)
	total := 0
	for _, a := range argv {
		j.check(plain(a), location, "an argument must be shorter than %d bytes and hold no NUL", maxArgument)
		total += len(a) + 1
	}
	return total
}

func (j *judge) mounts(mounts []Mount) {
	j.check(len(mounts) <= MaxMounts, "mounts", "there may be at most %d mounts", MaxMounts)
	paths, ids := map[string]bool{}, map[string]bool{}
	for _, m := range mounts {
		j.check(idForm.MatchString(m.ID), "mounts", "a mount must name a volume by its id")
		j.check(MountPath(m.Path), "mounts", "nothing may be mounted at %.100q", m.Path)
		j.check(!paths[m.Path], "mounts", "two volumes are mounted at %.100q", m.Path)
		j.check(!ids[m.ID], "mounts", "a volume is mounted twice")
		paths[m.Path], ids[m.ID] = true, true
	}
}

// MountPath reports whether a volume may be mounted at p: absolute, clean, and hiding nothing the kernel provides.
func MountPath(p string) bool {
	if !absolute(p) || p == "/" {
		return false
	}
	return !slices.ContainsFunc([]string{"/proc", "/sys", "/dev"}, func(root string) bool {
		return p == root || strings.HasPrefix(p, root+"/")
	})
}

func (j *judge) process(c Container) {
	j.between(int64(c.Port), 0, 65535, "port")
	j.check(c.User == "" || userForm.MatchString(c.User), "user", "%.60q is not a user", c.User)
	j.check(c.WorkingDir == "" || absolute(c.WorkingDir), "working_dir", "the working directory must be an absolute path")
	j.check(c.StopSignal == "" || signalForm.MatchString(c.StopSignal), "stop_signal", "%.20q is not a signal", c.StopSignal)
	j.check(c.StopGrace >= 0 && c.StopGrace <= maxGrace, "stop_grace", "the grace before a kill must lie between 0 and %s", time.Duration(maxGrace))
	j.check(slices.Contains([]Restart{"", RestartAlways, RestartOnFailure, RestartNever}, c.Restart), "restart", "%.20q is not a restart rule", c.Restart)
}

func (j *judge) health(h *Health) {
	if h == nil {
		return
	}
	kinds := []HealthKind{HealthHTTP, HealthTCP, HealthCommand, HealthNone}
	j.check(slices.Contains(kinds, h.Kind), "health.kind", "%.20q is not a kind of health check", h.Kind)
	j.between(int64(h.Port), 0, 65535, "health.port")
	j.between(int64(h.Retries), 0, maxRetries, "health.retries")
	for _, d := range []Duration{h.Interval, h.Timeout, h.StartPeriod, h.Gate} {
		j.check(d >= 0 && d <= maxDuration, "health", "a duration of a health check must lie between 0 and %s", time.Duration(maxDuration))
	}
	j.check(h.Path == "" || requestPath(h.Path), "health.path", "the path of a health check must start with / and be printable")
	j.check(h.Kind != HealthCommand || len(h.Command) > 0, "health.command", "a health check by command needs a command")
	j.argv("health.command", h.Command)
}

func (j *judge) labels(labels map[string]string) {
	j.check(len(labels) <= 32, "labels", "there may be at most 32 labels")
	for k, v := range labels {
		j.check(labelForm.MatchString(k) && !slices.Contains(reservedLabels, k), "labels", "%.100q is not a label of ours", k)
		j.check(len(v) <= 1024 && plain(v), "labels", "the value of label %.100q is too long or holds a NUL", k)
	}
}

// plain is what execve takes.
func plain(s string) bool { return len(s) < maxArgument && !strings.Contains(s, "\x00") }

func absolute(p string) bool {
	return strings.HasPrefix(p, "/") && path.Clean(p) == p && len(p) <= 4096 && printable(p) && !strings.Contains(p, ":")
}

// requestPath is what may stand in the first line of an HTTP request.
func requestPath(p string) bool {
	return strings.HasPrefix(p, "/") && len(p) <= 2048 && printable(p) && !strings.Contains(p, " ")
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '�' })
}

// Digest reports whether s names a manifest: sha256: and 64 hexadecimal digits.
func Digest(s string) bool { return digestForm.MatchString(s) }
