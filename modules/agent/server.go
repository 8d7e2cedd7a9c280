package agent

import (
	"cmp"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"pandu/modules/agent/agentv1"
)

// machine is what the operating system says about the server.
type machine struct {
	dir      string
	pool     netip.Prefix
	hostname string
	os       string
	kernel   string
	memory   uint64

	mu        sync.Mutex
	addresses []string
	looked    time.Time
}

func newMachine(dir string, pool netip.Prefix) *machine {
	m := &machine{dir: dir, pool: pool, os: operatingSystem()}
	m.hostname, _ = os.Hostname() // empty: unknown
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.kernel = unix.ByteSliceToString(name.Release[:])
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.memory = uint64(info.Totalram) * uint64(info.Unit) //nolint:unconvert // uint32 on some architectures
	}
	return m
}

// serverInfo is what the manager shows of this server. It is asked each beat, so all but the disk is remembered.
func (a *Agent) serverInfo() *agentv1.ServerInfo {
	m := a.machine
	info := &agentv1.ServerInfo{
		Hostname: m.hostname, Os: m.os, Kernel: m.kernel, Cpus: uint32(runtime.NumCPU()), MemoryBytes: m.memory, //nolint:gosec // small
		Addresses: m.reachable(), EngineError: "the Docker Engine has not been asked yet",
	}
	root := m.dir
	if c := a.converger.Load(); c != nil {
		engine := c.Engine()
		root = cmp.Or(engine.Root, root)
		info.EngineVersion, info.EngineError = engine.Version, engine.Error
		if engine.Error != "" {
			info.EngineVersion = ""
		} else if engine.Version == "" {
			info.EngineError = "the Docker Engine has not answered yet"
		}
	}
	info.DiskBytes, info.DiskFreeBytes = disk(root)
	gateway := a.gateway.State()
	info.GatewayError = gateway.Error
	if gateway.Status != nil && gateway.Error == "" {
		info.GatewayVersion = cmp.Or(gateway.Status.GetVersion(), "unknown")
		info.GatewayPorts = gateway.Status.GetPorts()
	}
	return info
}

// disk gives size and free space in bytes of the file system that holds path; zero when it cannot be told.
func disk(path string) (size, free uint64) {
	var s unix.Statfs_t
	if unix.Statfs(path, &s) != nil {
		return 0, 0
	}
	block := uint64(s.Bsize) //nolint:gosec // never negative
	return s.Blocks * block, s.Bavail * block
}

// reachable are the addresses that visitors may use, public ones first; looked up once a minute.
func (m *machine) reachable() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.addresses != nil && time.Since(m.looked) < time.Minute {
		return m.addresses
	}
	m.looked, m.addresses = time.Now(), []string{}
	interfaces, err := net.Interfaces()
	if err != nil {
		return m.addresses
	}
	var found []netip.Addr
	for _, i := range interfaces {
		if i.Flags&net.FlagUp != 0 && !virtual(i.Name) {
			found = append(found, m.usable(i)...)
		}
	}
	slices.SortStableFunc(found, func(a, b netip.Addr) int { return cmp.Compare(rank(a), rank(b)) })
	for _, address := range found {
		m.addresses = append(m.addresses, address.String())
	}
	return m.addresses
}

func (m *machine) usable(i net.Interface) []netip.Addr {
	addresses, err := i.Addrs()
	if err != nil {
		return nil
	}
	var usable []netip.Addr
	for _, a := range addresses {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		if at := prefix.Addr(); at.IsGlobalUnicast() && !(m.pool.IsValid() && m.pool.Contains(at)) {
			usable = append(usable, at)
		}
	}
	return usable
}

// virtual: bridges and their ends, which lead to containers and not to visitors.
func virtual(name string) bool {
	for _, prefix := range []string{"docker", "br-", "veth", "virbr", "cni", "pandu"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func rank(a netip.Addr) int {
	r := 0
	if a.IsPrivate() {
		r += 2
	}
	if a.Is6() {
		r++
	}
	return r
}

// operatingSystem is the name the distribution gives itself.
func operatingSystem() string {
	b, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return runtime.GOOS
	}
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			return strings.Trim(name, `"`)
		}
	}
	return runtime.GOOS
}
