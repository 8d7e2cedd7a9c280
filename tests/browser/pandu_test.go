package browser

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"
)

// pandu is one installation in the empty mode, with ports and a directory of its own.
type pandu struct {
	binary  string
	dir     string
	env     []string
	panel   int
	ops     int
	process *exec.Cmd
	ended   chan error
}

func newPandu(binary, dir, engine string) (*pandu, error) {
	ports, err := freePorts(5)
	if err != nil {
		return nil, err
	}
	p := &pandu{binary: binary, dir: dir, panel: ports[0], ops: ports[1]}
	p.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "PANDU_DATA_DIR=" + filepath.Join(dir, "data"), "PANDU_REGISTRATION=open",
		"PANDU_AGENT_DOCKER_HOST=" + engine, "PANDU_AGENT_SUBNET_POOL=" + freeSubnet(),
		"PANDU_PANEL_LISTEN=:" + strconv.Itoa(p.panel), "PANDU_OPS_LISTEN=127.0.0.1:" + strconv.Itoa(p.ops),
		"PANDU_GATEWAY_HTTP_LISTEN=:" + strconv.Itoa(ports[2]), "PANDU_AGENTS_LISTEN=127.0.0.1:" + strconv.Itoa(ports[3]),
		fmt.Sprintf("PANDU_GATEWAY_PROJECT_PORTS=%d-%d", ports[4], ports[4]), "PANDU_LOG_FORMAT=text",
	}
	return p, nil
}

func (p *pandu) url() string { return fmt.Sprintf("http://localhost:%d", p.panel) }

// command is a command of the binary with the installation's settings.
func (p *pandu) command(argv ...string) *exec.Cmd {
	cmd := exec.Command(p.binary, argv...) //nolint:gosec,noctx // the binary under test
	cmd.Env = p.env
	return cmd
}

// start starts the process and waits until it is ready.
func (p *pandu) start() error {
	log, err := os.OpenFile(p.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	p.process = p.command("serve")
	p.process.Stdout, p.process.Stderr = log, log
	p.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.process.Start(); err != nil {
		return err
	}
	p.ended = make(chan error, 1)
	go func() { p.ended <- p.process.Wait() }()
	return p.waitReady()
}

func (p *pandu) waitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		if ready(ctx, fmt.Sprintf("http://127.0.0.1:%d/readyz", p.ops)) {
			return nil
		}
		select {
		case err := <-p.ended:
			p.process = nil
			return fmt.Errorf("pandu ended: %w", err)
		case <-ctx.Done():
			return errors.New("pandu is not ready")
		case <-again.C:
		}
	}
}

func ready(ctx context.Context, url string) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// stop ends the process with SIGTERM; the gateway and the containers go on.
func (p *pandu) stop() error {
	if p.process == nil {
		return nil
	}
	defer func() { p.process = nil }()
	if err := p.process.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-p.ended:
		return err
	case <-time.After(40 * time.Second):
		_ = syscall.Kill(-p.process.Process.Pid, syscall.SIGKILL)
		return errors.New("pandu did not stop")
	}
}

// leave ends what the process leaves running: the gateway, and the containers of a flow that failed.
func (p *pandu) leave(docker *client.Client) error {
	err := p.stop()
	if said, stopErr := p.command("admin", "stop-gateway").CombinedOutput(); stopErr != nil {
		err = errors.Join(err, fmt.Errorf("stop gateway: %w: %s", stopErr, said))
	}
	id, readErr := p.serverID()
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ours := client.Filters{}.Add("label", "pandu.server="+id)
	containers, _ := docker.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: ours})
	for _, c := range containers.Items {
		_, _ = docker.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	}
	networks, _ := docker.NetworkList(ctx, client.NetworkListOptions{Filters: ours})
	for _, n := range networks.Items {
		_, _ = docker.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{})
	}
	return err
}

// serverID is the id that the local agent's containers carry, as its log says.
func (p *pandu) serverID() (string, error) {
	b, err := os.ReadFile(p.log())
	if err != nil {
		return "", err
	}
	_, after, found := strings.Cut(string(b), "server_id=")
	if !found {
		return "", errors.New("no agent joined")
	}
	return strings.Fields(after)[0], nil
}

func (p *pandu) log() string { return filepath.Join(p.dir, "pandu.log") }

func (p *pandu) showLogWhenFailed(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		b, _ := os.ReadFile(p.log())
		t.Logf("end of the panel's log:\n%s", b[max(0, len(b)-8000):])
	})
}

// freePorts gives n different ports that nobody listens on.
func freePorts(n int) ([]int, error) {
	ports := make([]int, 0, n)
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// freeSubnet is a pool of addresses that no interface of this machine lies in.
func freeSubnet() string {
	taken, _ := net.InterfaceAddrs()
	for i := range 100 {
		pool := fmt.Sprintf("10.%d.0.0/16", 100+(os.Getpid()+i)%100)
		_, network, _ := net.ParseCIDR(pool)
		free := true
		for _, address := range taken {
			ip, ok := address.(*net.IPNet)
			free = free && (!ok || !network.Contains(ip.IP))
		}
		if free {
			return pool
		}
	}
	return "10.99.0.0/16"
}
