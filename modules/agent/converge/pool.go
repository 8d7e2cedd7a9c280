package converge

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"net/netip"
	"strings"
	"time"
)

// errPoolEmpty says that no subnet or address is left.
var errPoolEmpty = errors.New("no free address is left in the pool of this server")

// subnet gives an environment its subnet: the one it has, else the first that neither rests nor overlaps taken. It is on
// disk before it is used.
func (l *ledger) subnet(environment string, taken []netip.Prefix) (netip.Prefix, error) {
	s, err := l.pickSubnet(environment, taken)
	if err != nil {
		return s, err
	}
	return s, l.flush()
}

func (l *ledger) pickSubnet(environment string, taken []netip.Prefix) (netip.Prefix, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s, ok := l.data.Subnets[environment]; ok {
		return s, nil
	}
	now := l.now()
	maps.DeleteFunc(l.data.Retired, func(_ netip.Prefix, at time.Time) bool { return now.Sub(at) >= rest })
	used := map[netip.Prefix]bool{}
	for _, s := range l.data.Subnets {
		used[s] = true
	}
	for s := netip.PrefixFrom(l.pool.Addr(), l.bits); l.pool.Contains(s.Addr()); s = following(s) {
		if _, resting := l.data.Retired[s]; used[s] || resting || overlaps(s, taken) {
			continue
		}
		l.data.Subnets[environment], l.dirty = s, true
		return s, nil
	}
	return netip.Prefix{}, errPoolEmpty
}

// dropSubnet takes an environment's subnet back; it rests.
func (l *ledger) dropSubnet(environment string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s, ok := l.data.Subnets[environment]; ok {
		l.data.Retired[s], l.dirty = l.now(), true
		delete(l.data.Subnets, environment)
	}
}

// adoptSubnet remembers a subnet that Docker has and the ledger lost.
func (l *ledger) adoptSubnet(environment string, s netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.data.Subnets[environment] != s {
		l.data.Subnets[environment], l.dirty = s, true
	}
}

func (l *ledger) subnetOf(environment string) (netip.Prefix, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok := l.data.Subnets[environment]
	return s, ok
}

// address gives an instance its address: the one it has, when that lies in its environment's subnet, else the first that
// nobody has and that does not rest, else the one that rests longest. It is on disk before it is used.
func (l *ledger) address(instance, environment string) (netip.Addr, error) {
	a, err := l.pickAddress(instance, environment)
	if err != nil {
		return a, err
	}
	return a, l.flush()
}

func (l *ledger) pickAddress(instance, environment string) (netip.Addr, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	subnet, ok := l.data.Subnets[environment]
	if !ok {
		return netip.Addr{}, errors.New("the environment has no subnet yet")
	}
	r := l.data.Records[instance]
	if r == nil {
		r = &record{}
		l.data.Records[instance] = r
	}
	if subnet.Contains(r.IP) {
		return r.IP, nil
	}
	now := l.now()
	maps.DeleteFunc(l.data.Released, func(_ netip.Addr, at time.Time) bool { return now.Sub(at) >= rest })
	used := map[netip.Addr]bool{}
	for _, other := range l.data.Records {
		used[other.IP] = true
	}
	var free netip.Addr
	last := broadcast(subnet)
	for a := subnet.Addr().Next().Next(); a.Less(last); a = a.Next() { // after the network's own and the bridge's
		if used[a] {
			continue
		}
		at, resting := l.data.Released[a]
		if !resting {
			free = a
			break
		}
		if !free.IsValid() || at.Before(l.data.Released[free]) {
			free = a
		}
	}
	if !free.IsValid() {
		return free, errPoolEmpty
	}
	delete(l.data.Released, free)
	r.IP, r.Environment, l.dirty = free, environment, true
	return free, nil
}

// release gives an instance's address back; it rests.
func (l *ledger) release(instance string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.data.Records[instance]; r != nil && r.IP.IsValid() {
		l.data.Released[r.IP], l.dirty = l.now(), true
		r.IP, r.Ready = netip.Addr{}, false
	}
}

func following(s netip.Prefix) netip.Prefix {
	return netip.PrefixFrom(broadcast(s).Next(), s.Bits())
}

// broadcast is the last address of a subnet.
func broadcast(s netip.Prefix) netip.Addr {
	b := s.Masked().Addr().As4()
	n := binary.BigEndian.Uint32(b[:]) | (1<<(32-s.Bits()) - 1)
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

func overlaps(s netip.Prefix, taken []netip.Prefix) bool {
	for _, t := range taken {
		if t.IsValid() && s.Overlaps(t) {
			return true
		}
	}
	return false
}

// parseRoutes reads /proc/net/route: the IPv4 subnets this host reaches, without the default route. Lines that do not
// read are skipped.
func parseRoutes(r io.Reader) []netip.Prefix {
	var out []netip.Prefix
	for lines := bufio.NewScanner(io.LimitReader(r, 4<<20)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) < 8 {
			continue
		}
		address, okA := littleEndian(f[1])
		mask, okM := littleEndian(f[7])
		if !okA || !okM {
			continue
		}
		m := mask.As4()
		ones := 0
		for n := binary.BigEndian.Uint32(m[:]); n&(1<<31) != 0; n <<= 1 {
			ones++
		}
		if ones > 0 {
			out = append(out, netip.PrefixFrom(address, ones).Masked())
		}
	}
	return out
}

// littleEndian reads an IPv4 address as the kernel prints it.
func littleEndian(s string) (netip.Addr, bool) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 4 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte{b[3], b[2], b[1], b[0]}), true
}
