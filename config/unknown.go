package config

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Variables that are not settings of the server and belong to Pandu nevertheless: the settings file, and what the
// client commands and the tests read.
var others = []string{"PANDU_CONFIG", "PANDU_URL", "PANDU_TOKEN", "PANDU_TOKEN_FILE", "PANDU_PROJECT"}

// testPrefix is left alone, so that a binary under test starts in the tests' environment.
const testPrefix = "PANDU_TEST_"

// Kubernetes (and Docker's old links) describe every service of the namespace to every container. A service called
// pandu-panel gives PANDU_PANEL_SERVICE_HOST, PANDU_PANEL_PORT=tcp://10.0.0.1:8080, PANDU_PANEL_PORT_8080_TCP_ADDR and more.
var (
	injected     = regexp.MustCompile(`^PANDU(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)
	injectedPort = regexp.MustCompile(`^PANDU(_[A-Z0-9_]+)?_PORT$`)
)

// refuseUnknown finds variables that look like ours and are not: a typing mistake must not pass for a default.
func refuseUnknown(env map[string]string) error {
	known := append([]string(nil), others...)
	for _, s := range settings() {
		known = append(known, s.env, s.file())
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if !strings.HasPrefix(name, "PANDU_") || slices.Contains(known, name) || strings.HasPrefix(name, testPrefix) {
			continue
		}
		if injected.MatchString(name) || injectedPort.MatchString(name) && strings.Contains(env[name], "://") {
			continue
		}
		errs = append(errs, unknown("unknown variable "+name, name, known))
	}
	return errors.Join(errs...)
}

// unknown says what is unknown and what was perhaps meant.
func unknown(what, word string, known []string) error {
	plain := strings.TrimPrefix(word, "PANDU_")
	if slices.Contains(known, plain) {
		return fmt.Errorf("%s: it is written %s", what, plain)
	}
	if near := nearest(word, known); near != "" {
		return fmt.Errorf("%s: did you mean %s?", what, near)
	}
	return fmt.Errorf("%s: pandu config print lists what there is", what)
}

func environment(environ []string) map[string]string {
	env := make(map[string]string, len(environ))
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		env[name] = value
	}
	return env
}

func keysOf(m map[string]setting) []string { return slices.Sorted(maps.Keys(m)) }
