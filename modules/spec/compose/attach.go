package compose

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pandu/modules/spec"
)

// What a service is attached to: ports, networks, volumes and other services.

func portNumber(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 65535 || strconv.Itoa(n) != s {
		return 0
	}
	return n
}

func (w *walker) portsKey(path string, v *value) any {
	if v.kind == null {
		return nil
	}
	if v.kind != list {
		w.wrongKind(path, v, "a list")
		return nil
	}
	kept := make([]any, 0, len(v.items))
	for i, item := range v.items {
		at := fmt.Sprintf("%s[%d]", path, i)
		w.lines[at] = item.line
		switch item.kind {
		case scalar:
			if text := w.settle(at, item); w.judgePort(at, item.line, text) {
				kept = append(kept, text)
			}
		case mapping:
			m := w.mapping(at, item, portRules())
			if target, ok := m["target"]; !ok || portNumber(fmt.Sprint(target)) == 0 {
				w.problem(item.line, at, "port", "target must be a port between 1 and 65535.")
			}
			if _, ok := m["published"]; ok {
				w.hostPort(item.line)
			}
			delete(m, "published")
			kept = append(kept, m)
		default:
			w.wrongKind(at, item, "a port")
		}
	}
	if len(kept) > mostPorts {
		w.problem(v.line, path, "port", "A service may list %d ports.", mostPorts)
		return nil
	}
	return kept
}

// judgePort judges [[address:]host:]target[/protocol].
func (w *walker) judgePort(at string, line int, text string) bool {
	numbers, protocol, _ := strings.Cut(text, "/")
	target := numbers[strings.LastIndexByte(numbers, ':')+1:]
	switch {
	case strings.Contains(target, "-"):
		w.problem(line, at, "port", "Ranges of ports are not supported. List each port of %.60s.", text)
	case portNumber(target) == 0:
		w.problem(line, at, "port", "%.60s is no port between 1 and 65535.", text)
	case protocol != "" && protocol != "tcp" && protocol != "udp":
		w.problem(line, at, "port", "The protocol %.20s is not supported.", protocol)
	default:
		if numbers != target {
			w.hostPort(line)
		}
		return true
	}
	return false
}

func (w *walker) hostPort(line int) {
	w.note(line, "host_port", "The port of the host is not used: visitors come through the gateway, services reach each other by name.")
}

func (w *walker) exposeKey(path string, v *value) any {
	if v.kind != list {
		if v.kind != null {
			w.wrongKind(path, v, "a list")
		}
		return nil
	}
	kept := make([]any, 0, len(v.items))
	for i, item := range v.items {
		at := fmt.Sprintf("%s[%d]", path, i)
		if text := w.settle(at, item); w.judgePort(at, item.line, text) {
			kept = append(kept, text)
		}
	}
	if len(kept) > mostPorts {
		w.problem(v.line, path, "port", "A service may list %d ports.", mostPorts)
	}
	return kept
}

func (w *walker) serviceNetworksKey(path string, v *value) any {
	switch v.kind {
	case list:
		return w.texts(path, v)
	case mapping:
		for _, p := range v.pairs {
			w.lines[join(path, p.key)] = p.line
			w.mapping(join(path, p.key), p.v, serviceNetworkRules())
		}
		names := []any{}
		for _, name := range v.keys() {
			names = append(names, name)
		}
		return names
	case scalar:
		w.wrongKind(path, v, "a list")
	}
	return nil
}

func (w *walker) networksKey(path string, v *value) any {
	kept := map[string]any{}
	for _, p := range w.declared(path, v) {
		w.mapping(join(path, p.key), p.v, networkRules())
		kept[p.key] = map[string]any{}
	}
	w.networks = len(kept)
	return kept
}

func (w *walker) volumesKey(path string, v *value) any {
	kept := map[string]any{}
	for _, p := range w.declared(path, v) {
		if err := spec.VolumeName(p.key); err != nil {
			w.refuse(p.line, join(path, p.key), err)
			continue
		}
		w.mapping(join(path, p.key), p.v, volumeRules())
		kept[p.key] = map[string]any{}
	}
	if len(kept) > spec.MaxVolumes {
		w.problem(v.line, path, "too_many_volumes", "The file has %d volumes; there may be %d.", len(kept), spec.MaxVolumes)
	}
	return kept
}

func (w *walker) declared(path string, v *value) []pair {
	if v.kind != mapping && v.kind != null {
		w.wrongKind(path, v, "a mapping")
		return nil
	}
	for _, p := range v.pairs {
		w.lines[join(path, p.key)] = p.line
	}
	return v.pairs
}

func (w *walker) mountsKey(path string, v *value) any {
	if v.kind != list {
		if v.kind != null {
			w.wrongKind(path, v, "a list")
		}
		return nil
	}
	if len(v.items) > spec.MaxMounts {
		w.problem(v.line, path, "invalid_value", "A service may mount %d volumes.", spec.MaxMounts)
		return nil
	}
	kept := make([]any, 0, len(v.items))
	for i, item := range v.items {
		at := fmt.Sprintf("%s[%d]", path, i)
		w.lines[at] = item.line
		var m map[string]any
		switch item.kind {
		case scalar:
			m = w.shortMount(at, item.line, w.settle(at, item))
		case mapping:
			m = w.longMount(at, item)
		default:
			w.wrongKind(at, item, "a volume")
		}
		if m != nil {
			kept = append(kept, m)
		}
	}
	return kept
}

func (w *walker) bind(line int, at, source string) {
	if strings.Contains(source, "docker.sock") || strings.Contains(source, "containerd.sock") {
		w.problem(line, at, "forbidden", "The socket of the Docker Engine is not given to containers: it is the whole server.")
		return
	}
	w.problem(line, at, "bind_mount", "The folder %.80s of the host cannot be mounted. Copy files into the image (COPY in the Dockerfile), or keep data in a named volume.", source)
}

// hostPath reports what compose takes for a path of the host and not for the name of a volume.
func hostPath(s string) bool {
	return strings.ContainsAny(s, `/\~`) || strings.HasPrefix(s, ".") || (len(s) == 1 && s[0]|0x20 >= 'a' && s[0]|0x20 <= 'z')
}

// shortMount reads NAME:/path[:ro|rw].
func (w *walker) shortMount(at string, line int, text string) map[string]any {
	parts := strings.Split(text, ":")
	switch {
	case len(parts) == 1 && (strings.HasPrefix(text, "/") || !hostPath(text)):
		w.problem(line, at, "anonymous_volume", "The volume at %.80s has no name and would be lost. Write NAME:%.80s and declare NAME under volumes.", text, text)
		return nil
	case hostPath(parts[0]):
		w.bind(line, at, parts[0])
		return nil
	}
	readOnly := false
	switch {
	case len(parts) > 3:
		w.problem(line, at, "invalid_value", "%.80s is no volume. Write NAME:/path or NAME:/path:ro.", text)
		return nil
	case len(parts) == 3 && parts[2] != "rw" && parts[2] != "ro":
		w.problem(line, at, "unsupported", "The option %.40s of a volume is not supported. Use ro or rw.", parts[2])
		return nil
	case len(parts) == 3:
		readOnly = parts[2] == "ro"
	}
	return w.mount(at, line, parts[0], parts[1], readOnly)
}

func (w *walker) longMount(at string, v *value) map[string]any {
	m := w.mapping(at, v, mountRules())
	source, target := text(m["source"], ""), text(m["target"], "")
	switch kind := text(m["type"], ""); {
	case kind == "bind", kind == "npipe", kind == "volume" && hostPath(source):
		w.bind(v.line, at, source)
		return nil
	case kind == "tmpfs":
		w.problem(v.line, at, "unsupported", "tmpfs is not supported: write temporary files to /tmp of the container.")
		return nil
	case kind != "volume":
		w.problem(v.line, at, "forbidden", "The mount type %.40q is not allowed: only named volumes (type: volume) can be mounted.", kind)
		return nil
	case source == "":
		w.problem(v.line, at, "anonymous_volume", "The volume at %.80s has no name and would be lost. Add source: NAME and declare NAME under volumes.", target)
		return nil
	}
	readOnly, _ := m["read_only"].(bool)
	return w.mount(at, v.line, source, target, readOnly)
}

func (w *walker) mount(at string, line int, source, target string, readOnly bool) map[string]any {
	if err := spec.VolumeName(source); err != nil {
		w.refuse(line, at, err)
		return nil
	}
	if !spec.MountPath(target) {
		w.problem(line, at, "mount_path", "Nothing can be mounted at %.80q. Use an absolute path below the root, not in /proc, /sys or /dev.", target)
		return nil
	}
	return map[string]any{"type": "volume", "source": source, "target": target, "read_only": readOnly}
}

// judgeVolumes refuses volumes that are mounted but not declared.
func (w *walker) judgeVolumes(services, declared *value) {
	if services == nil {
		return
	}
	for _, p := range services.pairs {
		mounts := p.v.get("volumes")
		if mounts == nil {
			continue
		}
		for i, item := range mounts.items {
			source := item.text
			if name, _, ok := strings.Cut(item.text, ":"); ok {
				source = name
			}
			if s := item.get("source"); s != nil {
				source = s.text
			}
			if spec.VolumeName(source) != nil || hostPath(source) || (item.kind == scalar && source == item.text) || (declared != nil && declared.get(source) != nil) {
				continue
			}
			w.problem(item.line, fmt.Sprintf("services.%s.volumes[%d]", p.key, i), "volume_undeclared", "The volume %s is not declared. Add it under volumes at the end of the file.", source)
		}
	}
}

// judgeNetworks refuses networks that are used but not declared; default is always there.
func (w *walker) judgeNetworks(services, declared *value) {
	if services == nil {
		return
	}
	for _, p := range services.pairs {
		used := p.v.get("networks")
		if used == nil {
			continue
		}
		for _, item := range used.items {
			w.judgeNetwork(p.key, item.text, item.line, declared)
		}
		for _, n := range used.pairs {
			w.judgeNetwork(p.key, n.key, n.line, declared)
		}
	}
}

func (w *walker) judgeNetwork(service, name string, line int, declared *value) {
	if name == "" || name == "default" || (declared != nil && declared.get(name) != nil) {
		return
	}
	w.problem(line, "services."+service+".networks", "network_undeclared", "The network %.60s is not declared. Add it under networks at the end of the file, or remove it: all services share one network.", name)
}

type dependency struct {
	name      string
	line      int
	condition spec.Condition
}

func (w *walker) dependsKey(path string, v *value) any {
	s := w.of(path)
	switch v.kind {
	case list:
		for _, item := range v.items {
			s.dependencies = append(s.dependencies, dependency{item.text, item.line, spec.Started})
		}
	case mapping:
		for _, p := range v.pairs {
			w.lines[join(path, p.key)] = p.line
			m := w.mapping(join(path, p.key), p.v, dependencyRules())
			condition := spec.Condition(text(m["condition"], string(spec.Started)))
			if !slices.Contains([]spec.Condition{spec.Started, spec.Healthy, spec.Completed}, condition) {
				w.problem(p.line, join(path, p.key), "invalid_value", "The condition %.60s is not known. Use service_started, service_healthy or service_completed_successfully.", condition)
			}
			s.dependencies = append(s.dependencies, dependency{p.key, p.line, condition})
		}
	case scalar:
		w.wrongKind(path, v, "a list or a mapping")
	}
	slices.SortFunc(s.dependencies, func(a, b dependency) int { return strings.Compare(a.name, b.name) })
	return nil
}

// judgeDependencies refuses dependencies on nothing and in a circle, and conditions that contradict each other.
func (w *walker) judgeDependencies() {
	names := make([]string, 0, len(w.services))
	for name := range w.services {
		names = append(names, name)
	}
	slices.Sort(names)
	done := map[string]bool{}
	for _, name := range names {
		w.follow(name, nil, done)
	}
}

func (w *walker) follow(name string, trail []string, done map[string]bool) {
	if done[name] {
		return
	}
	trail = append(trail, name)
	for _, d := range w.services[name].dependencies {
		at := join("services."+name+".depends_on", d.name)
		target, ok := w.services[d.name]
		switch i := slices.Index(trail, d.name); {
		case !ok:
			w.problem(d.line, at, "dependency_missing", "The service %s depends on %.60s, which the file does not have.", name, d.name)
		case target.skipped && !w.services[name].skipped:
			w.problem(d.line, at, "dependency_missing", "The service %s depends on %.60s, which has a profile and is not started.", name, d.name)
		case i >= 0:
			w.problem(d.line, at, "dependency_cycle", "The services depend on each other in a circle: %s.", strings.Join(append(slices.Clone(trail[i:]), d.name), " → "))
		default:
			w.follow(d.name, trail, done)
		}
	}
	done[name] = true
}
