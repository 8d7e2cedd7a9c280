package compose

import (
	"context"
	"fmt"
	"maps"
	"math"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

	"pandu/modules/kit/fault"
	"pandu/modules/spec"
)

// projectName is what compose-go insists on; it reaches nothing.
const projectName = "pandu"

// normalise lets compose-go bring what the walk left over into one form. It gets data, no file and no environment, and
// every way to read more is switched off. A panic of it is a file we cannot read, not the end of the process.
func (w *walker) normalise(clean map[string]any) (project *types.Project, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	return loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  "/",
		ConfigFiles: []types.ConfigFile{{Filename: w.input.Name, Config: clean}},
		Environment: types.Mapping{},
	}, func(o *loader.Options) {
		o.SetProjectName(projectName, true)
		o.SkipInterpolation, o.SkipInclude, o.SkipExtends = true, true, true
		o.SkipResolveEnvironment, o.SkipResolveLabels = true, true
		o.ResolvePaths, o.ConvertWindowsPaths = false, false
		o.ResourceLoaders = nil
	})
}

func (w *walker) convert(clean map[string]any) spec.Application {
	project, err := w.normalise(clean)
	if err != nil {
		w.refused(err)
		return spec.Application{}
	}
	app := spec.Application{}
	for _, name := range project.ServiceNames() {
		app.Services = append(app.Services, w.convertService(project.Services[name]))
	}
	w.tasks(app.Services)
	w.judgeShared(app.Services)
	w.judgePublic(app.Services)
	for name := range project.Volumes {
		app.Volumes = append(app.Volumes, name)
	}
	slices.Sort(app.Volumes)
	if len(app.Services) == 0 {
		w.problem(0, "services", "compose_empty", "Every service has a profile; none is started.")
	}
	app.Notes = w.notes
	return app
}

var (
	pathInError  = regexp.MustCompile(`(services|volumes|networks)\.[A-Za-z0-9_.-]+`)
	indexInError = regexp.MustCompile(`\[([A-Za-z0-9_-]+)\]`)
)

// refused carries an error of compose-go over.
func (w *walker) refused(err error) {
	message := err.Error()
	if _, after, ok := strings.Cut(message, "validating "+w.input.Name+": "); ok {
		message = after
	}
	key := pathInError.FindString(indexInError.ReplaceAllString(message, ".$1"))
	message = strings.TrimSuffix(strings.Join(strings.Fields(message), " "), ".")
	w.problem(w.lineOf(key), key, "invalid_value", "The file is not a valid compose file: %.300s.", message)
}

func (w *walker) convertService(s types.ServiceConfig) spec.Service {
	at := "services." + s.Name
	kept := w.services[s.Name]
	out := spec.Service{
		Name: s.Name, Public: kept.public, Internal: kept.internal, Build: w.build(s), Image: s.Image,
		Replicas: w.replicas(at, s), Ports: tcpPorts(s),
	}
	for _, d := range kept.dependencies {
		out.DependsOn = append(out.DependsOn, spec.Dependency{Service: d.name, Condition: d.condition})
	}
	out.Image = ""
	out.Container = w.container(at, s, kept)
	out.Container.Port, out.Container.Listens = port(out.Ports, s.Expose, kept.port)
	w.judgePolicy(at, out.Container)
	if out.Replicas > 1 && slices.ContainsFunc(out.Container.Mounts, func(m spec.Mount) bool { return !m.ReadOnly }) {
		w.problem(max(w.lineOf(at+".deploy.replicas"), kept.line), at, "replicas_with_volume", "The service %s writes to a volume, so it can have one replica only.", s.Name)
	}
	return out
}

func (w *walker) container(at string, s types.ServiceConfig, kept *service) spec.Container {
	c := spec.Container{
		Entrypoint: s.Entrypoint, Command: s.Command, Env: kept.env, User: s.User, WorkingDir: s.WorkingDir,
		StopSignal: s.StopSignal, StopGrace: duration(s.StopGracePeriod), ReadOnly: s.ReadOnly,
		Restart: w.restart(at, s), Resources: w.resources(at, s), Health: w.health(at, s.HealthCheck),
	}
	for name := range s.Networks {
		c.Networks = append(c.Networks, name)
	}
	slices.Sort(c.Networks)
	for _, v := range s.Volumes {
		c.Mounts = append(c.Mounts, spec.Mount{Volume: v.Source, Path: v.Target, ReadOnly: v.ReadOnly})
	}
	return c
}

func (w *walker) build(s types.ServiceConfig) *spec.Build {
	if s.Build == nil {
		reference, err := spec.ImageReference(s.Image)
		if err != nil {
			w.refuse(w.lineOf("services."+s.Name+".image"), "services."+s.Name+".image", err)
		}
		return &spec.Build{Kind: spec.Import, Reference: reference}
	}
	folder, _ := w.inside(s.Build.Context)
	b := &spec.Build{Kind: spec.Dockerfile, Context: folder, Dockerfile: text(s.Build.Dockerfile, "Dockerfile"), Target: s.Build.Target}
	for name, value := range s.Build.Args {
		if b.Args == nil {
			b.Args = map[string]string{}
		}
		if value != nil {
			b.Args[name] = *value
		}
	}
	return b
}

// dockerfilePath is where a Dockerfile lies in the upload; empty when it is outside its context.
func dockerfilePath(folder, dockerfile string) string {
	file := path.Join(folder, dockerfile)
	if path.IsAbs(dockerfile) || strings.Contains(dockerfile, `\`) || (file != folder && folder != "." && !strings.HasPrefix(file, folder+"/")) || file == ".." || strings.HasPrefix(file, "../") {
		return ""
	}
	return file
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

func tcpPorts(s types.ServiceConfig) []int {
	var ports []int
	for _, p := range s.Ports {
		if n := int(p.Target); (p.Protocol == "" || p.Protocol == "tcp") && !slices.Contains(ports, n) {
			ports = append(ports, n)
		}
	}
	return ports
}

// port is where a service is asked: what x-pandu says, else the first of ports, else of expose.
func port(ports []int, expose []string, said int) (n int, listens bool) {
	switch {
	case said > 0:
		return said, true
	case len(ports) > 0:
		return ports[0], true
	}
	for _, e := range expose {
		number, protocol, _ := strings.Cut(e, "/")
		if n := portNumber(number); n > 0 && protocol != "udp" {
			return n, true
		}
	}
	return 0, false
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

// judgePolicy asks the policy that the agent will ask, with what only a release knows filled in.
func (w *walker) judgePolicy(at string, c spec.Container) {
	c.Image = spec.Image{Repository: "x/y", Digest: "sha256:" + strings.Repeat("0", 64)}
	c.Mounts = slices.Clone(c.Mounts)
	for i := range c.Mounts {
		c.Mounts[i].ID = fmt.Sprintf("00000000-0000-0000-0000-%012x", slices.IndexFunc(c.Mounts, func(m spec.Mount) bool { return m.Volume == c.Mounts[i].Volume }))
	}
	err := spec.Policy(c)
	if err == nil {
		return
	}
	keys := map[string]string{
		"resources.memory": "mem_limit", "resources.milli_cpu": "cpus", "resources.pids": "pids_limit", "env": "environment",
		"mounts": "volumes", "stop_grace": "stop_grace_period", "health": "healthcheck",
	}
	for _, d := range fault.From(err).Details {
		field, rest, _ := strings.Cut(d.Location, ".")
		key := field
		for _, k := range []string{d.Location, field} {
			if name, ok := keys[k]; ok {
				key = name
				break
			}
		}
		key = at + "." + key
		if field == "env" && rest != "" {
			key += "." + rest
		}
		if _, ok := w.lines[key]; !ok && field == "resources" {
			key = at + ".deploy.resources.limits." + map[string]string{"memory": "memory", "milli_cpu": "cpus", "pids": "pids"}[rest]
		}
		w.problem(w.lineOf(key), key, "policy", "%s.", strings.ToUpper(d.Message[:1])+d.Message[1:])
	}
}

// tasks marks what others wait for to complete.
func (w *walker) tasks(services []spec.Service) {
	for i := range services {
		s := &services[i]
		waited := map[spec.Condition]int{}
		for _, other := range services {
			for _, d := range w.services[other.Name].dependencies {
				if d.name == s.Name {
					waited[d.condition] = d.line
				}
			}
		}
		line, ok := waited[spec.Completed]
		if !ok {
			continue
		}
		s.Task, s.Container.Restart, s.Container.Listens = true, spec.RestartNever, false
		at := "services." + s.Name
		if healthy, also := waited[spec.Healthy]; also {
			w.problem(healthy, at, "task", "The service %s runs to its end (line %d), so nothing can wait for it to be healthy.", s.Name, line)
		}
		if s.Replicas != 1 {
			w.problem(w.lineOf(at+".deploy.replicas"), at, "task", "The service %s runs to its end, so it has one replica.", s.Name)
		}
		if s.Public {
			w.problem(w.lineOf(at+".x-pandu"), at, "task", "The service %s runs to its end, so it cannot be public.", s.Name)
		}
	}
}

// judgeShared notes volumes of several services: they must run on one server.
func (w *walker) judgeShared(services []spec.Service) {
	users := map[string][]string{}
	for _, s := range services {
		for _, m := range s.Container.Mounts {
			if !slices.Contains(users[m.Volume], s.Name) {
				users[m.Volume] = append(users[m.Volume], s.Name)
			}
		}
	}
	for _, volume := range slices.Sorted(maps.Keys(users)) {
		if names := users[volume]; len(names) > 1 {
			w.note(w.lineOf("volumes."+volume), "volume_shared", "The volume %s is mounted by %s, which therefore run on one server.", volume, strings.Join(names, " and "))
		}
	}
}

func (w *walker) judgePublic(services []spec.Service) {
	first := ""
	for _, s := range services {
		if !s.Public {
			continue
		}
		if first != "" {
			key := "services." + s.Name + ".x-pandu"
			w.problem(w.lineOf(key+".public"), key, "public", "Both %s and %s are public. One service gets the project's hostname; others are published in the project.", first, s.Name)
		}
		first = s.Name
	}
}
