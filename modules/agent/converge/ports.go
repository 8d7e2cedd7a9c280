package converge

import (
	"bufio"
	"encoding/hex"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// listening is where a container's programs wait for TCP connections.
type listening struct {
	open  []int // reachable from outside the container, ascending
	local []int // only from inside: bound to a loopback address
}

// listeners reads the sockets in the network of the process pid. Nothing readable gives nothing found.
func listeners(proc string, pid int) listening {
	var l listening
	if pid <= 0 {
		return l
	}
	for _, name := range []string{"tcp", "tcp6"} {
		f, err := os.Open(filepath.Join(proc, strconv.Itoa(pid), "net", name))
		if err != nil {
			continue
		}
		l.add(parseTCP(f))
		_ = f.Close()
	}
	l.finish()
	return l
}

func (l *listening) add(sockets []netip.AddrPort) {
	for _, s := range sockets {
		if s.Addr().Unmap().IsLoopback() {
			l.local = append(l.local, int(s.Port()))
		} else {
			l.open = append(l.open, int(s.Port()))
		}
	}
}

func (l *listening) finish() {
	slices.Sort(l.open)
	l.open = slices.Compact(l.open)
	slices.Sort(l.local)
	l.local = slices.DeleteFunc(slices.Compact(l.local), func(p int) bool { return slices.Contains(l.open, p) })
}

// parseTCP reads /proc/net/tcp or tcp6 and gives the local address of every socket in state LISTEN. Docker's own name
// server, which listens on 127.0.0.11 in every network, is left out. Lines that do not read are skipped; at most 4096
// sockets are returned.
func parseTCP(r io.Reader) []netip.AddrPort {
	var out []netip.AddrPort
	lines := bufio.NewScanner(io.LimitReader(r, 8<<20))
	for lines.Scan() && len(out) < 4096 {
		f := strings.Fields(lines.Text())
		if len(f) < 4 || f[3] != "0A" {
			continue
		}
		if s, ok := parseSocket(f[1]); ok && s.Addr() != netip.AddrFrom4([4]byte{127, 0, 0, 11}) {
			out = append(out, s)
		}
	}
	return out
}

// parseSocket reads ADDRESS:PORT as the kernel prints it: the address as 32-bit words in the machine's byte order (little
// endian on everything we run on), the port as a number, all in hexadecimal.
func parseSocket(s string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(s, ":")
	if !ok || len(port) != 4 {
		return netip.AddrPort{}, false
	}
	p, err := strconv.ParseUint(port, 16, 16)
	if err != nil || p == 0 {
		return netip.AddrPort{}, false
	}
	b, err := hex.DecodeString(host)
	if err != nil {
		return netip.AddrPort{}, false
	}
	for i := 0; i+4 <= len(b); i += 4 {
		slices.Reverse(b[i : i+4])
	}
	a, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), ok
}
