package converge

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
)

const tcpHead = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

func TestParseTCP(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":            {"", ""},
		"head only":        {tcpHead, ""},
		"every address":    {tcpHead + "   0: 00000000:1F90 00000000:0000 0A 00000000:00000000\n", "0.0.0.0:8080"},
		"loopback":         {"   0: 0100007F:0BB8 00000000:0000 0A x", "127.0.0.1:3000"},
		"bridge":           {"   0: 0200C00A:0050 00000000:0000 0A x", "10.192.0.2:80"},
		"established":      {"   0: 0200C00A:0050 0100C00A:A000 01 x", ""},
		"name server":      {"   0: 0B00007F:A0A0 00000000:0000 0A x", ""},
		"every address, 6": {"   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A x", "[::]:8080"},
		"loopback, 6":      {"   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A x", "[::1]:8080"},
		"mapped":           {"   0: 0000000000000000FFFF00000100007F:1F90 00000000000000000000000000000000:0000 0A x", "127.0.0.1:8080"},
		"cut short":        {"   0: 00000000:1F", ""},
		"not hexadecimal":  {"   0: 0000000G:1F90 00000000:0000 0A x", ""},
		"odd address":      {"   0: 000000:1F90 00000000:0000 0A x", ""},
		"port zero":        {"   0: 00000000:0000 00000000:0000 0A x", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, s := range parseTCP(strings.NewReader(c.text)) {
				got = append(got, s.String())
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("got %v, want %q", got, c.want)
			}
		})
	}
}

// The parser reads what this kernel really prints.
func TestListenersOfThisProcess(t *testing.T) {
	everywhere, err := net.Listen("tcp", "0.0.0.0:0") //nolint:gosec,noctx // the test is about it
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = everywhere.Close() }()
	inside, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // the test is about it
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = inside.Close() }()
	l := listeners("/proc", os.Getpid())
	if p := everywhere.Addr().(*net.TCPAddr).Port; !slices.Contains(l.open, p) {
		t.Errorf("port %d is not among the open ones %v", p, l.open)
	}
	if p := inside.Addr().(*net.TCPAddr).Port; !slices.Contains(l.local, p) || slices.Contains(l.open, p) {
		t.Errorf("port %d: open %v, local %v", p, l.open, l.local)
	}
	if l := listeners("/proc", 0); len(l.open)+len(l.local) > 0 {
		t.Errorf("sockets of no process: %v", l)
	}
}

func FuzzParseTCP(f *testing.F) {
	f.Add(tcpHead + "   0: 0100007F:0BB8 00000000:0000 0A 0")
	f.Add("   0: 0000000000000000FFFF00000100007F:1F90 0:0 0A x")
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range parseTCP(strings.NewReader(text)) {
			if !s.IsValid() || s.Port() == 0 || s.Addr().Is4In6() {
				t.Errorf("%v from %q", s, text)
			}
		}
	})
}

func TestParseRoutes(t *testing.T) {
	text := "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" +
		"eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n" +
		"docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n" +
		"eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n" +
		"broken\tline\n"
	want := []netip.Prefix{netip.MustParsePrefix("172.17.0.0/16"), netip.MustParsePrefix("10.0.0.0/24")}
	if got := parseRoutes(strings.NewReader(text)); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
