package converge

import (
	"maps"
	"slices"
	"strconv"

	"pandu/modules/kit/fault"
	"pandu/modules/spec"
)

// defaultPort is what PORT says when neither specification nor image names a port.
const defaultPort = 8080

// environ is the environment of a container, NAME=value, sorted. variables are the secrets of its environment; image
// is what the image sets, which only matters to leave its PORT alone. It fails when a value demands a variable that is not set.
func environ(c spec.Container, variables, image map[string]string, port int) ([]string, error) {
	values := map[string]string{}
	if c.AllVariables {
		maps.Copy(values, variables)
	}
	lookup := func(name string) (string, bool) { v, ok := variables[name]; return v, ok }
	for _, e := range c.Env {
		if e.FromVariable {
			if v, ok := variables[e.Name]; ok {
				values[e.Name] = v
			}
			continue
		}
		value, err := spec.Expand(e.Value, lookup)
		if err != nil {
			return nil, &withReason{"variables", fault.From(err).Message, err}
		}
		values[e.Name] = value
	}
	if _, ok := values["PORT"]; !ok && image["PORT"] == "" {
		values["PORT"] = strconv.Itoa(port)
	}
	out := make([]string, 0, len(values))
	for name, v := range values {
		out = append(out, name+"="+v)
	}
	slices.Sort(out)
	return out, nil
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
