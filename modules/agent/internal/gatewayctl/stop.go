package gatewayctl

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"connectrpc.com/connect"

	"pandu/modules/agent/agentv1"
)

// Stop ends the gateway that answers in a directory and waits until it has drained; 0 when none answers.
func Stop(ctx context.Context, dir string) (pid int, err error) {
	transport, client := dial(dir)
	defer transport.CloseIdleConnections()
	res, err := client.Status(ctx, connect.NewRequest(&agentv1.GatewayStatusRequest{}))
	if away(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("ask gateway: %w", err)
	}
	pid = int(res.Msg.GetPid())
	process, err := os.FindProcess(pid)
	if err != nil {
		return pid, fmt.Errorf("find gateway %d: %w", pid, err)
	}
	if err := process.Signal(syscall.SIGTERM); err != nil {
		return pid, fmt.Errorf("stop gateway %d: %w", pid, err)
	}
	for process.Signal(syscall.Signal(0)) == nil {
		select {
		case <-ctx.Done():
			return pid, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return pid, nil
}
