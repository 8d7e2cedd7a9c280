package config

import (
	"path/filepath"
	"strconv"
	"strings"
)

// StorageDir is where uploads, logs and images lie when they are kept on disk.
func (c *Config) StorageDir() string { return filepath.Join(c.DataDir, "storage") }

// PanelHost is the panel's host name in lower case, without a port.
func (c *Config) PanelHost() string { return strings.ToLower(hostOf(c.PublicURL)) }

// HTTPPort is the port that visitors of the gateway use; 0 is HTTP's own.
func (g Gateway) HTTPPort() int {
	port, err := strconv.Atoi(portOf(g.HTTPListen))
	if err != nil || port == 80 {
		return 0
	}
	return port
}
