package converge

import (
	"slices"
	"strconv"
	"strings"

	"pandu/modules/spec"
)

// defaultPort is what PORT says when neither specification nor image names a port.
const defaultPort = 8080

// environ is the environment of a container, NAME=value, sorted. variables are the secrets of its environment; image
// is what the image sets, which only matters to leave its PORT alone.
func environ(c spec.Container, variables, image map[string]string, port int) []string {
	values := map[string]string{}
	if c.AllVariables {
		for name, v := range variables {
			values[name] = v
		}
	}
	for _, e := range c.Env {
		if !e.FromVariable {
			values[e.Name] = resolve(e.Value, variables)
		} else if v, ok := variables[e.Name]; ok {
			values[e.Name] = v
		}
	}
	if _, ok := values["PORT"]; !ok && image["PORT"] == "" {
		values["PORT"] = strconv.Itoa(port)
	}
	out := make([]string, 0, len(values))
	for name, v := range values {
		out = append(out, name+"="+v)
	}
	slices.Sort(out)
	return out
}

// resolve puts variables in place of ${NAME}; one that does not exist is empty. $$ is a dollar; any other dollar stays.
func resolve(value string, variables map[string]string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(value, "$")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		switch {
		case strings.HasPrefix(rest, "$"):
			b.WriteByte('$')
			value = rest[1:]
		case strings.HasPrefix(rest, "{") && strings.Contains(rest, "}"):
			name, after, _ := strings.Cut(rest[1:], "}")
			b.WriteString(variables[name])
			value = after
		default:
			b.WriteByte('$')
			value = rest
		}
	}
}

// givenPort is the port that is known before anything runs: of the specification, else the only one the image exposes.
func givenPort(c spec.Container, exposed []int) int {
	switch {
	case c.Port != 0:
		return c.Port
	case len(exposed) == 1:
		return exposed[0]
	default:
		return 0
	}
}

// announcedPort is what PORT says.
func announcedPort(c spec.Container, exposed []int) int {
	if p := givenPort(c, exposed); p != 0 {
		return p
	}
	return defaultPort
}
