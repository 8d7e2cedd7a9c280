package engine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// daemon is one run of dockerd.
type daemon struct {
	dir  string
	cmd  *exec.Cmd
	done chan struct{} // closed when it ended and was waited for
}

// spawn starts dockerd in dir. It ends by itself (SIGTERM) when this process dies: the thread that starts it is kept
// until then, because the kernel ties the parent-death signal to the thread.
func spawn(dir, bridge string) (*daemon, error) {
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open dockerd log: %w", err)
	}
	// A pid file of a killed daemon, whose number something else may carry by now, would refuse the start.
	_ = os.Remove(filepath.Join(dir, "pid"))
	d := &daemon{dir: dir, done: make(chan struct{})}
	d.cmd = exec.Command("dockerd",
		"--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
		"--host", "unix://"+filepath.Join(dir, "docker.sock"), "--pidfile", filepath.Join(dir, "pid"),
		"--bridge", bridge, "--config-file", filepath.Join(dir, "daemon.json"), "--shutdown-timeout", "5")
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := os.WriteFile(filepath.Join(dir, "daemon.json"), []byte("{}"), 0o600); err != nil {
		return nil, fmt.Errorf("write dockerd settings: %w", err)
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer func() { _ = log.Close() }()
		err := d.cmd.Start()
		started <- err
		if err == nil {
			_ = d.cmd.Wait()
		}
		close(d.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("run dockerd: %w", err)
	}
	return d, nil
}

func (d *daemon) ended() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

// end asks the daemon to stop and makes sure of it.
func (d *daemon) end() {
	if !d.ended() {
		_ = d.cmd.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-d.done:
	case <-time.After(30 * time.Second):
		d.kill()
	}
	killFile(filepath.Join(d.dir, "exec", "containerd", "containerd.pid"))
}

func (d *daemon) kill() {
	_ = d.cmd.Process.Kill()
	<-d.done
}

// lastLines is the end of the daemon's log as an error, to say why it did not start.
func (d *daemon) lastLines() error {
	b, _ := os.ReadFile(filepath.Join(d.dir, "log"))
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return errors.New(strings.Join(lines[max(0, len(lines)-8):], "\n"))
}

// bridgeName is short enough for the kernel (15) and unlikely to be taken.
func bridgeName(pid int, dir string) string {
	return "pe" + strconv.Itoa(pid%1000000) + dir[max(0, len(dir)-3):]
}

// makeBridge makes the default bridge, so that this engine and the machine's do not share docker0. Its subnet is one of
// 198.18.0.0/15, which is set aside for tests; a taken one makes the next be tried.
func makeBridge(name string) error {
	if err := command("ip", "link", "add", name, "type", "bridge"); err != nil {
		return err
	}
	var taken []byte
	for i := range 256 {
		n := (os.Getpid() + i) % 256
		taken, _ = exec.Command("ip", "-4", "-o", "addr").Output()
		if bytes.Contains(taken, fmt.Appendf(nil, " 198.19.%d.", n)) {
			continue
		}
		if err := command("ip", "addr", "add", fmt.Sprintf("198.19.%d.1/24", n), "dev", name); err != nil {
			return err
		}
		return command("ip", "link", "set", name, "up")
	}
	return errors.New("no free subnet for the bridge")
}

// killFile ends the process whose number stands in file, if there is one.
func killFile(file string) {
	b, err := os.ReadFile(file)
	if err != nil {
		return
	}
	if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && pid > 1 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// HoldFirewall keeps other engines of tests from starting until release is called. A dockerd that starts makes Docker's
// iptables chains anew, which the machine has only once: the rules that keep this engine's networks apart would be lost.
func HoldFirewall() (release func(), err error) {
	f, err := os.OpenFile(filepath.Join(os.TempDir(), "pandu-firewall.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open firewall lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock firewall: %w", err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// Freeze makes the daemon answer nothing, as one that hangs, until the returned function is called.
func (e *Engine) Freeze() (thaw func()) {
	_ = e.daemon.cmd.Process.Signal(syscall.SIGSTOP)
	return func() { _ = e.daemon.cmd.Process.Signal(syscall.SIGCONT) }
}
