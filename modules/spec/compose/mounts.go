package compose

import (
	"fmt"
	"strings"

	"pandu/modules/spec"
)

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
