package config

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
)

// Machine is what Load needs to know about where it runs.
type Machine struct {
	Environ  []string // NAME=value
	Root     bool
	Home     string // the user's, empty when unknown
	Hostname string
}

// This is the machine and the process we are.
func This() Machine {
	home, _ := os.UserHomeDir() // empty when unknown: then data_dir must be set
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	return Machine{Environ: os.Environ(), Root: os.Geteuid() == 0, Home: home, Hostname: name}
}

// dataDir is where data lies when nobody says: the system's place for root, else the XDG data directory.
func (m Machine) dataDir() string {
	if m.Root {
		return "/var/lib/pandu"
	}
	if dir := environment(m.Environ)["XDG_DATA_HOME"]; filepath.IsAbs(dir) {
		return filepath.Join(dir, "pandu")
	}
	if m.Home == "" {
		return ""
	}
	return filepath.Join(m.Home, ".local", "share", "pandu")
}

// Port is the port that whoever runs this program has chosen for it (PORT), empty when nobody has. Only the file server
// of a static site, which is somebody's application, listens to it.
func (m Machine) Port() string { return environment(m.Environ)["PORT"] }

// portOf is the port of host:port, empty when there is none.
func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// hostOf is the host of a URL without port and brackets.
func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

func hostPort(host, port string) string {
	if host == "" || port == "" {
		return ""
	}
	return net.JoinHostPort(host, port)
}
