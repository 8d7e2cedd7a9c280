package gatewayctl

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"pandu/modules/kit/run"
)

const (
	outputFile = "gateway.log" // what a gateway we started prints
	maxOutput  = 8 << 20       // bytes of it, before it begins anew with the next start
)

// start starts a gateway where told to, not more often than the growing pauses allow. The process gets a session of its
// own and lives on when we end; two of them cannot serve one directory, for the gateway locks it.
func (c *Control) start() error {
	if c.deps.Start == nil || time.Now().Before(c.next) {
		return nil
	}
	c.next = time.Now().Add(2*time.Second + c.starts.Next()) // a new one gets two seconds to answer
	output, err := c.openOutput()
	if err != nil {
		return fmt.Errorf("start gateway: %w", err)
	}
	defer output.Close() //nolint:errcheck // the process has its own descriptor
	command := *c.deps.Start
	command.Detached, command.Stdout, command.Stderr = true, output, output
	process, err := run.Start(command)
	if err != nil {
		return fmt.Errorf("start gateway: %w", err)
	}
	c.deps.Logger.Info("gateway started", "pid", process.PID)
	return nil
}

func (c *Control) openOutput() (*os.File, error) {
	path := filepath.Join(c.deps.Dir, outputFile)
	mode := os.O_CREATE | os.O_WRONLY | os.O_APPEND
	if info, err := os.Stat(path); err == nil && info.Size() > maxOutput {
		mode |= os.O_TRUNC
	}
	return os.OpenFile(path, mode, 0o600) //nolint:gosec // the directory is a setting
}
