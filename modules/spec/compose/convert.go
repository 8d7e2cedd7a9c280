package compose

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

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
