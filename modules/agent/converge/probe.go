package converge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"pandu/modules/agent/internal/docker"
	"pandu/modules/spec"
)

func contains(list []int, p int) bool { return slices.Contains(list, p) }

// checkOf is how a container is asked, with every default filled in: the specification's check, else the image's
// HEALTHCHECK, else a TCP connection when it listens, else nothing but that it keeps running.
func checkOf(c spec.Container, image docker.Image) spec.Health {
	var h spec.Health
	switch {
	case c.Health != nil:
		h = *c.Health
	case len(image.Check) > 0:
		h = spec.Health{
			Kind: spec.HealthCommand, Command: image.Check, Interval: spec.Duration(image.Interval), Timeout: spec.Duration(image.Timeout),
			StartPeriod: spec.Duration(image.StartTime), Retries: image.Retries,
		}
	case c.Listens:
		h.Kind = spec.HealthTCP
	default:
		h.Kind = spec.HealthNone
	}
	h.Interval = orElse(h.Interval, defaultInterval)
	h.Timeout = orElse(h.Timeout, defaultTimeout)
	h.Gate = orElse(h.Gate, defaultGate+time.Duration(h.StartPeriod))
	if h.Retries == 0 {
		h.Retries = defaultRetries
	}
	if h.Path == "" {
		h.Path = "/"
	}
	return h
}

func orElse(d spec.Duration, otherwise time.Duration) spec.Duration {
	if d > 0 {
		return d
	}
	return spec.Duration(otherwise)
}

// port finds where the container listens: what is promised, else what it opened. 0 is fine for a check that needs none.
func (m *monitor) port(d docker.Details) (int, error) {
	if p := givenPort(m.instance.spec, m.image.Ports); p != 0 {
		return p, nil
	}
	if !m.instance.spec.Listens && (m.check.Kind == spec.HealthNone || m.check.Kind == spec.HealthCommand || m.check.Port != 0) {
		return m.only(d), nil
	}
	if known := m.was().Port; known != 0 && m.was().WasReady {
		return known, nil
	}
	open := m.openPorts(d)
	switch {
	case len(open) == 1:
		m.crowded = 0
		return open[0], nil
	case len(open) == 0:
		m.crowded = 0
		return 0, errors.New("it does not listen on any port yet")
	}
	// Programs open ports one after the other; several are judged only when they stay.
	if m.crowded++; m.crowded < 5 {
		return 0, fmt.Errorf("it listens on ports %s", ports(open))
	}
	return 0, &withReason{
		"many_ports", fmt.Sprintf("The program listens on several ports (%s). Say which one visitors want: set the port of the service.", ports(open)),
		errors.New(ports(open)),
	}
}

// openPorts are the candidates: what it opened, cut to what the image exposes or to the PORT it was told, if those are among it.
func (m *monitor) openPorts(d docker.Details) []int {
	open := listeners(m.c.deps.Proc, d.PID).open
	exposed := slices.DeleteFunc(slices.Clone(open), func(p int) bool { return !contains(m.image.Ports, p) })
	if len(exposed) == 1 {
		return exposed
	}
	if told := announcedPort(m.instance.spec, m.image.Ports); len(open) > 1 && contains(open, told) && m.image.Env["PORT"] == "" && !m.setsPort() {
		return []int{told}
	}
	return open
}

// setsPort reports whether the specification sets PORT, so that ours was not told.
func (m *monitor) setsPort() bool {
	return slices.ContainsFunc(m.instance.spec.Env, func(e spec.Env) bool { return e.Name == "PORT" })
}

// only is the single open port of a container that need not listen.
func (m *monitor) only(d docker.Details) int {
	if open := listeners(m.c.deps.Proc, d.PID).open; len(open) == 1 {
		return open[0]
	}
	return 0
}

// ask runs the check once.
func (m *monitor) ask(ctx context.Context, port int) error {
	if m.check.Port != 0 {
		port = m.check.Port
	}
	timeout := time.Duration(m.check.Timeout)
	address := net.JoinHostPort(m.was().IP.String(), strconv.Itoa(port))
	switch m.check.Kind {
	case spec.HealthHTTP:
		return askHTTP(ctx, "http://"+address+m.check.Path, timeout)
	case spec.HealthTCP:
		return askTCP(ctx, address, timeout)
	case spec.HealthCommand:
		return m.askCommand(ctx, timeout)
	default:
		if ran := m.c.deps.Now().Sub(m.runSince); ran < settle && !m.was().Ready {
			return errors.New("it has not run for a moment yet")
		}
		return nil
	}
}

// askHTTP wants any status below 400. Redirects are not followed: they lead anywhere.
func askHTTP(ctx context.Context, url string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	r.Header.Set("User-Agent", "pandu-health")
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return err
	}
	_, _ = io.CopyN(io.Discard, answer.Body, 64<<10)
	_ = answer.Body.Close()
	if answer.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s answered %d", r.URL.Path, answer.StatusCode)
	}
	return nil
}

func askTCP(ctx context.Context, address string, timeout time.Duration) error {
	c, err := (&net.Dialer{Timeout: timeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return c.Close()
}

func (m *monitor) askCommand(ctx context.Context, timeout time.Duration) error {
	code, output, err := m.c.deps.Docker.Exec(ctx, m.container, m.check.Command, timeout)
	if err != nil {
		return err
	}
	if code != 0 {
		lines := strings.Split(output, "\n")
		return fmt.Errorf("the command ended with status %d: %s", code, lines[len(lines)-1])
	}
	return nil
}
