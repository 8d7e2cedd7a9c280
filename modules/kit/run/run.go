// Package run is the only place that starts programs.
//
// A program is named by its absolute path and gets its arguments as a list: there is no shell and no search path. Its
// environment is exactly what the command says; nothing is inherited. Text that comes from a user stands in UserArgs,
// where a leading '-' is refused, so that it can never become an option. What a program prints is read into bounded
// memory. It never decides what to run or with which settings.
package run

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Credential is the user a program runs as. Supplementary groups are dropped.
type Credential struct {
	UID, GID uint32
}

// Command is one program to run.
type Command struct {
	Path     string   // absolute
	Args     []string // without the program's own name
	UserArgs []string // after Args; refused when one starts with '-'
	Env      []string // "NAME=value"; the whole environment
	Dir      string   // empty: "/"

	Credential *Credential // nil: the user we are
	Detached   bool        // a session of its own: outlives us and gets none of our signals
	Stdout     io.Writer   // nil: discarded; an *os.File when Detached, for a pipe would end with us
	Stderr     io.Writer
}

// Errors of a command that may not run.
var (
	ErrPath     = errors.New("path of a program must be absolute")
	ErrUserArg  = errors.New("argument from a user must not be empty or start with '-'")
	ErrNUL      = errors.New("argument holds a NUL byte")
	ErrDetached = errors.New("output of a detached program must be a file")
)

// Process is a started program. It is reaped whether or not anybody waits for it.
type Process struct {
	PID  int
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Start starts the program and returns at once.
func Start(c Command) (*Process, error) {
	cmd, err := c.build()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(c.Path), err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(c.Path), err)
	}
	p := &Process{PID: cmd.Process.Pid, cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = cmd.Wait()
	}()
	return p, nil
}

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits until the program has ended. A status other than 0 is an *exec.ExitError.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Signal sends a signal to the program; after its end it does nothing.
func (p *Process) Signal(s os.Signal) error {
	err := p.cmd.Process.Signal(s)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Kill ends the program and everything it started in its process group.
func (p *Process) Kill() error { return killGroup(p.PID) }

func (c Command) build() (*exec.Cmd, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	dir := c.Dir
	if dir == "" {
		dir = "/"
	}
	cmd := &exec.Cmd{
		Path:   c.Path,
		Args:   append(append([]string{c.Path}, c.Args...), c.UserArgs...),
		Env:    append([]string{}, c.Env...), // not nil: nil would inherit ours
		Dir:    dir,
		Stdout: c.Stdout,
		Stderr: c.Stderr,
	}
	cmd.SysProcAttr = c.attributes()
	return cmd, nil
}

// attributes puts the program into a process group of its own, so that it can be killed with its children and a Ctrl-C
// in our terminal does not reach it behind our back.
func (c Command) attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{}
	if c.Detached {
		a.Setsid = true
	} else {
		a.Setpgid = true
	}
	if c.Credential != nil && !c.Credential.ours() {
		a.Credential = &syscall.Credential{Uid: c.Credential.UID, Gid: c.Credential.GID}
	}
	return a
}

// ours reports that no change of user is needed; asking for one would need root.
func (c Credential) ours() bool {
	return int(c.UID) == os.Geteuid() && int(c.GID) == os.Getegid() && c.UID != 0
}

func (c Command) check() error {
	if !filepath.IsAbs(c.Path) {
		return fmt.Errorf("%w: %q", ErrPath, c.Path)
	}
	for _, a := range c.UserArgs {
		if a == "" || strings.HasPrefix(a, "-") {
			return fmt.Errorf("%w: %q", ErrUserArg, a)
		}
	}
	for _, list := range [][]string{c.Args, c.UserArgs, c.Env} {
		for _, a := range list {
			if strings.IndexByte(a, 0) >= 0 {
				return ErrNUL
			}
		}
	}
	if c.Detached && (!isFile(c.Stdout) || !isFile(c.Stderr)) {
		return ErrDetached
	}
	return nil
}

func isFile(w io.Writer) bool {
	if w == nil {
		return true
	}
	_, ok := w.(*os.File)
	return ok
}

func killGroup(pid int) error {
	err := syscall.Kill(-pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}
