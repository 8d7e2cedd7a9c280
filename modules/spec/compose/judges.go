package compose

import (
	"fmt"
	"slices"
	"strings"

	"pandu/modules/spec"
)

const (
	mostList  = 256 // items of one list
	mostPorts = 32  // of one service
)

func (w *walker) root(v *value) map[string]any {
	if v.kind != mapping {
		w.problem(v.line, "", "invalid_value", "The file must be a mapping with the key services.")
		return nil
	}
	w.services = map[string]*service{}
	declared := v.get("volumes")
	if s := v.get("services"); s == nil || len(s.pairs) == 0 {
		w.problem(v.line, "services", "compose_empty", "The file has no services.")
	}
	clean := w.mapping("", v, rootRules())
	w.judgeVolumes(v.get("services"), declared)
	w.judgeNetworks(v.get("services"), v.get("networks"))
	if w.networks > 1 {
		w.note(w.lineOf("networks"), "networks", "All services of an environment share one network; %d are declared.", w.networks)
	}
	return clean
}

func (w *walker) servicesKey(path string, v *value) any {
	if v.kind != mapping {
		w.wrongKind(path, v, "a mapping")
		return nil
	}
	if len(v.pairs) > spec.MaxServices {
		w.problem(v.line, path, "too_many_services", "The file has %d services; there may be %d.", len(v.pairs), spec.MaxServices)
		return nil
	}
	kept := map[string]any{}
	for _, p := range v.pairs {
		at := join(path, p.key)
		w.lines[at] = p.line
		if err := spec.ServiceName(p.key); err != nil {
			w.refuse(p.line, at, err)
			continue
		}
		w.services[p.key] = &service{line: p.line}
		kept[p.key] = w.service(at, p)
	}
	return kept
}

func (w *walker) service(at string, p pair) any {
	kept := w.mapping(at, p.v, serviceRules())
	image, build := p.v.get("image") != nil, p.v.get("build") != nil
	switch {
	case p.v.kind != mapping && p.v.kind != null:
	case !image && !build:
		w.problem(p.line, at, "no_image", "The service %s has neither build nor image.", p.key)
	case image && build:
		w.note(w.lineOf(at+".image"), "ignored", "image changes nothing here: the service is built.")
		delete(kept, "image")
	}
	if w.services[p.key].skipped {
		w.note(w.lineOf(at+".profiles"), "profile", "The service %s has a profile and is not started, as without a profile chosen.", p.key)
	}
	return kept
}

func (w *walker) of(path string) *service {
	return w.services[strings.Split(path, ".")[1]]
}

func (w *walker) profilesKey(path string, v *value) any {
	if v.kind != list && v.kind != null {
		w.wrongKind(path, v, "a list")
		return nil
	}
	w.of(path).skipped = len(v.items) > 0
	return w.plain(path, v)
}

func (w *walker) panduKey(path string, v *value) any {
	w.mapping(path, v, panduRules())
	s := w.of(path)
	for _, p := range v.pairs {
		switch text := p.v.text; {
		case p.key == "public" && p.v.tag == "!!bool":
			s.public, s.internal = strings.EqualFold(text, "true"), strings.EqualFold(text, "false")
		case p.key == "port" && p.v.tag == "!!int" && portNumber(text) > 0:
			s.port = portNumber(text)
		case p.key == "public" || p.key == "port":
			w.wrongKind(join(path, p.key), p.v, map[string]string{"public": "true or false", "port": "a port"}[p.key])
		}
	}
	return nil
}

func (w *walker) loggingKey(path string, v *value) any {
	driver := v.get("driver")
	if driver != nil && !slices.Contains([]string{"json-file", "local"}, driver.text) {
		w.problem(driver.line, join(path, "driver"), "forbidden", "The logging driver %.40s is not allowed: Pandu collects the logs itself, and forwards them where the operator says.", driver.text)
		return nil
	}
	w.note(v.line, "ignored", "logging changes nothing here: logs are collected and bounded by Pandu.")
	return nil
}

func (w *walker) imageKey(path string, v *value) any {
	if v.kind != scalar {
		w.wrongKind(path, v, "text")
		return nil
	}
	text := w.settle(path, v)
	if _, err := spec.ImageReference(text); err != nil {
		w.refuse(v.line, path, err)
	}
	return text
}

// commandKey: compose splits a text into words but runs no shell, so what only a shell understands is refused rather
// than silently cut off.
func (w *walker) commandKey(path string, v *value) any {
	if v.kind == list {
		return w.texts(path, v)
	}
	if v.kind == null {
		return nil
	}
	if v.kind != scalar {
		w.wrongKind(path, v, "text or a list")
		return nil
	}
	text := w.settle(path, v)
	switch operator, closed := shellOperator(text); {
	case !closed:
		w.problem(v.line, path, "invalid_value", "%s has an open quote or ends with a backslash.", last(path))
	case operator != "":
		w.problem(v.line, path, "command_shell", "%s uses %s, but no shell reads it. Write it as [\"sh\", \"-c\", \"…\"].", last(path), operator)
	case strings.TrimSpace(text) == "" && last(path) == "entrypoint":
		w.problem(v.line, path, "unsupported", "An empty entrypoint is not supported: name the program.")
	}
	return text
}

// shellOperator finds the first operator of a shell outside of quotes; closed tells that every quote is closed.
func shellOperator(s string) (operator string, closed bool) {
	var quote byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && quote != '\'':
			if i++; i == len(s) {
				return operator, false
			}
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case strings.IndexByte(";&|<>`", c) >= 0 && operator == "":
			operator = string(c)
		}
	}
	return operator, quote == 0
}

// texts is a list of texts, as commands are; numbers in it are refused as compose does.
func (w *walker) texts(path string, v *value) any {
	items := make([]any, 0, len(v.items))
	if len(v.items) > mostList {
		w.problem(v.line, path, "invalid_value", "%s has more than %d items.", last(path), mostList)
		return nil
	}
	for i, item := range v.items {
		if item.kind != scalar || item.tag != "!!str" {
			w.problem(item.line, fmt.Sprintf("%s[%d]", path, i), "invalid_value", "An item of %s must be text. Put quotes around it.", last(path))
			continue
		}
		items = append(items, w.settle(path, item))
	}
	if len(items) == 0 && last(path) == "entrypoint" {
		w.problem(v.line, path, "unsupported", "An empty entrypoint is not supported: name the program.")
	}
	return items
}
