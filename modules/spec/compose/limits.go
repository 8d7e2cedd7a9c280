package compose

import (
	"math"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"pandu/modules/spec"
)

func (w *walker) healthKey(path string, v *value) any { return nested(healthRules)(w, path, v) }

func (w *walker) deployKey(path string, v *value) any { return nested(deployRules)(w, path, v) }

// testKey judges the form of a check: text for a shell, or a list that begins with NONE, CMD or CMD-SHELL.
func (w *walker) testKey(path string, v *value) any {
	if v.kind == scalar {
		return w.settle(path, v)
	}
	if v.kind != list || len(v.items) == 0 {
		w.wrongKind(path, v, "text or a list")
		return nil
	}
	for _, item := range v.items {
		if item.kind == scalar && item.tag != "!!str" { // ["CMD", "test", 1]: harmless, and people write it
			item.tag = "!!str"
		}
	}
	switch first := v.items[0].text; {
	case first == "NONE" && len(v.items) == 1, first == "CMD" && len(v.items) > 1, first == "CMD-SHELL" && len(v.items) == 2:
	default:
		w.problem(v.line, path, "invalid_value", "A health check begins with CMD or CMD-SHELL followed by a command, or is NONE.")
	}
	return w.texts(path, v)
}

func (w *walker) replicas(at string, s types.ServiceConfig) int {
	n := spec.DefaultReplicas
	key := at + ".scale"
	if s.Scale != nil {
		n = *s.Scale
	}
	if s.Deploy != nil && s.Deploy.Replicas != nil {
		n, key = *s.Deploy.Replicas, at+".deploy.replicas"
	}
	if n < 0 || n > spec.MaxReplicas {
		w.problem(w.lineOf(key), key, "replicas", "A service can have 0 to %d replicas.", spec.MaxReplicas)
		return spec.DefaultReplicas
	}
	return n
}

func duration(d *types.Duration) spec.Duration {
	if d == nil {
		return 0
	}
	return spec.Duration(*d)
}

func (w *walker) restart(at string, s types.ServiceConfig) spec.Restart {
	key, rule := at+".restart", s.Restart
	if s.Deploy != nil && s.Deploy.RestartPolicy != nil && s.Deploy.RestartPolicy.Condition != "" {
		key, rule = at+".deploy.restart_policy.condition", s.Deploy.RestartPolicy.Condition
	}
	rule, _, _ = strings.Cut(rule, ":")
	switch rule {
	case "", "always", "unless-stopped", "any":
		return spec.RestartAlways
	case "on-failure":
		return spec.RestartOnFailure
	case "no", "none", "false":
		return spec.RestartNever
	}
	w.problem(w.lineOf(key), key, "invalid_value", "%.40s is no restart rule. Use always, on-failure, unless-stopped or \"no\".", rule)
	return ""
}

func (w *walker) resources(at string, s types.ServiceConfig) spec.Resources {
	r := spec.DefaultResources()
	set := func(to *int64, value int64) {
		if value != 0 {
			*to = value
		}
	}
	set(&r.Memory, int64(s.MemLimit))
	set(&r.MilliCPU, milli(s.CPUS))
	set(&r.Pids, s.PidsLimit)
	if s.Deploy != nil && s.Deploy.Resources.Limits != nil {
		l := s.Deploy.Resources.Limits
		set(&r.Memory, int64(l.MemoryBytes))
		set(&r.MilliCPU, milli(l.NanoCPUs.Value()))
		set(&r.Pids, l.Pids)
	}
	return r
}

func milli(cpus float32) int64 {
	m := math.Round(float64(cpus) * 1000)
	if m > spec.MaxMilliCPU+1 || math.IsNaN(m) {
		return spec.MaxMilliCPU + 1 // the policy refuses it
	}
	return int64(m)
}

const (
	shortestInterval = time.Second
	defaultInterval  = 30 * time.Second
	defaultRetries   = 3
	defaultGate      = 60 * time.Second
	longestGate      = 15 * time.Minute
)

func (w *walker) health(at string, h *types.HealthCheckConfig) *spec.Health {
	switch {
	case h == nil:
		return nil
	case h.Disable, len(h.Test) > 0 && h.Test[0] == "NONE":
		return &spec.Health{Kind: spec.HealthNone}
	}
	out := &spec.Health{Kind: spec.HealthCommand, Interval: duration(h.Interval), Timeout: duration(h.Timeout), StartPeriod: duration(h.StartPeriod)}
	if h.Interval != nil && time.Duration(out.Interval) < shortestInterval {
		w.problem(w.lineOf(at+".healthcheck.interval"), at+".healthcheck.interval", "invalid_value", "The interval of a health check must be at least 1 s.")
	}
	if h.Retries != nil {
		out.Retries = int(min(*h.Retries, math.MaxInt32))
	}
	switch {
	case len(h.Test) < 2: // only times are set: they are of the image's check, which cannot be seen here
		w.problem(w.lineOf(at+".healthcheck"), at+".healthcheck", "unsupported", "A health check without test is not supported. Add the test, as in the image.")
	case h.Test[0] == "CMD":
		out.Command = h.Test[1:]
	default:
		out.Command = []string{"/bin/sh", "-c", h.Test[1]} // inside the user's own container, as Docker does
	}
	out.Gate = gate(out)
	return out
}

// gate gives a check the time that its own numbers ask for, when that is more than the usual.
func gate(h *spec.Health) spec.Duration {
	interval, retries := time.Duration(h.Interval), h.Retries
	if interval == 0 {
		interval = defaultInterval
	}
	if retries == 0 {
		retries = defaultRetries
	}
	need := min(float64(h.StartPeriod)+float64(interval)*float64(retries+1)+float64(h.Timeout), float64(longestGate))
	if time.Duration(need) <= defaultGate {
		return 0
	}
	return spec.Duration(need)
}
