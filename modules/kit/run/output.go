package run

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

const (
	maxOutput = 1 << 20 // bytes of stdout kept by Output
	maxErrors = 4 << 10 // bytes of stderr kept for the error
)

// ErrOutput says that a program printed more than Output keeps.
var ErrOutput = errors.New("program printed more than 1 MiB")

// Output runs the program to its end and returns what it printed to stdout, at most 1 MiB. When ctx ends first, the
// program and all it started are killed. An error carries the end of stderr. Command's own Stdout and Stderr are ignored.
func Output(ctx context.Context, c Command) ([]byte, error) {
	name := filepath.Base(c.Path)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	out, errs := &head{limit: maxOutput}, &tail{limit: maxErrors}
	c.Stdout, c.Stderr, c.Detached = out, errs, false
	cmd, err := c.build()
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	cmd.WaitDelay = 2 * time.Second // a grandchild may hold the pipe open
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = killGroup(cmd.Process.Pid) })
	err = cmd.Wait()
	if !stop() {
		err = context.Cause(ctx)
	}
	if err == nil && out.over {
		err = ErrOutput
	}
	if err != nil {
		return out.kept, fmt.Errorf("run %s: %w%s", name, err, errs.suffix())
	}
	return out.kept, nil
}

// head keeps the first limit bytes and goes on accepting, so that the program never blocks on a full pipe.
type head struct {
	kept  []byte
	limit int
	over  bool
}

func (h *head) Write(p []byte) (int, error) {
	room := h.limit - len(h.kept)
	if len(p) > room {
		h.over = true
	}
	h.kept = append(h.kept, p[:min(room, len(p))]...)
	return len(p), nil
}

// tail keeps the last limit bytes.
type tail struct {
	kept  []byte
	limit int
}

func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	if n > t.limit {
		p = p[n-t.limit:]
	}
	t.kept = append(t.kept, p...)
	if extra := len(t.kept) - t.limit; extra > 0 {
		t.kept = append([]byte(nil), t.kept[extra:]...)
	}
	return n, nil
}

func (t *tail) suffix() string {
	s := strings.TrimSpace(string(t.kept))
	if s == "" {
		return ""
	}
	return ": " + s
}
