package converge

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/internal/docker"
	"pandu/modules/spec"
)

// gate judges a failure of an instance that was never ready.
func (m *monitor) gate(ctx context.Context, d docker.Details, err error) (time.Duration, bool) {
	var fatal *withReason
	limit := time.Duration(m.check.Gate)
	left := limit - m.c.deps.Now().Sub(m.begun)
	if left > 0 && !(errors.As(err, &fatal) && fatal.reason == "many_ports") {
		m.say(func(r *record) { r.Message = "Not ready yet: " + short(err) + "." })
		return min(m.grow(), left), true
	}
	reason, message, parameters := m.verdict(d, limit, err)
	lines, logErr := m.c.deps.Docker.LastLines(ctx, m.container, 20)
	if logErr != nil {
		m.c.deps.Logger.Warn("log of failed container cannot be read", "instance", m.instance.id, "error", logErr)
	}
	if ctx.Err() != nil {
		return 0, false
	}
	m.c.conclude(m.instance.id, func(r *record) {
		r.State = agentv1.InstanceState_INSTANCE_STATE_FAILED
		r.say(reason, message, parameters)
		r.Lines = lines
	})
	return 0, false
}

// verdict finds the words for an instance that did not pass its gate: where it listens says more than "refused".
func (m *monitor) verdict(d docker.Details, limit time.Duration, err error) (reason, message string, parameters map[string]string) {
	var w *withReason
	if errors.As(err, &w) && w.reason == "many_ports" {
		return w.reason, w.message, map[string]string{"ports": w.cause.Error()}
	}
	l := listeners(m.c.deps.Proc, d.PID)
	port := m.expected()
	asked := m.check.Kind == spec.HealthHTTP || m.check.Kind == spec.HealthTCP || m.instance.spec.Listens
	parameters = map[string]string{"seconds": strconv.Itoa(int(limit / time.Second)), "open": ports(l.open), "local": ports(l.local), "error": short(err)}
	if port != 0 {
		parameters["port"] = strconv.Itoa(port)
	}
	switch {
	case !asked || port != 0 && contains(l.open, port):
		return "gate_timeout", fmt.Sprintf("It was not ready within %s: %s.", limit, short(err)), parameters
	case port == 0 && len(l.open) == 1: // it listens, but the check fails
		return "gate_timeout", fmt.Sprintf("It was not ready within %s: %s.", limit, short(err)), parameters
	case len(l.open) > 0:
		return "no_port", fmt.Sprintf("The program listens on port %s, but %s says %d. Make them agree, or set the port of the service.", ports(l.open), m.source(), port), parameters
	case len(l.local) > 0:
		return "no_port", fmt.Sprintf("The program listens on 127.0.0.1:%s only, where nobody outside its container reaches it. Let it listen on 0.0.0.0.", ports(l.local)), parameters
	default:
		return "no_port", fmt.Sprintf("The program does not listen on any port after %s. Let it listen on 0.0.0.0 and the port in the variable PORT, or mark the service as one that does not listen.", limit), parameters
	}
}

// expected is the port that the specification or the image promises, 0 when neither does.
func (m *monitor) expected() int {
	if m.check.Port != 0 {
		return m.check.Port
	}
	return givenPort(m.instance.spec, m.image.Ports)
}

// source is who promised the port.
func (m *monitor) source() string {
	if m.check.Port != 0 || m.instance.spec.Port != 0 {
		return "the specification"
	}
	return "the image (EXPOSE)"
}

func ports(list []int) string {
	words := make([]string, len(list))
	for i, p := range list {
		words[i] = strconv.Itoa(p)
	}
	return strings.Join(words, ", ")
}
