package config

import (
	"fmt"
	"strconv"
	"strings"
)

// PortRange is a range of TCP ports, both ends included; the zero value is no port at all.
type PortRange struct {
	First, Last int
}

// IsZero reports whether there is no port in the range.
func (r PortRange) IsZero() bool { return r == PortRange{} }

// String is "first-last", or empty.
func (r PortRange) String() string {
	if r.IsZero() {
		return ""
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// MarshalText is String.
func (r PortRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads "first-last", or nothing.
func (r *PortRange) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*r = PortRange{}
		return nil
	}
	from, to, ok := strings.Cut(string(text), "-")
	first, errFirst := strconv.ParseUint(strings.TrimSpace(from), 10, 16)
	last, errLast := strconv.ParseUint(strings.TrimSpace(to), 10, 16)
	if !ok || errFirst != nil || errLast != nil || first == 0 || last < first {
		return fmt.Errorf("%q is not a range of ports such as 20000-20999", text)
	}
	*r = PortRange{int(first), int(last)}
	return nil
}
