package compose

import (
	"fmt"
	"strconv"
	"strings"
)

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
