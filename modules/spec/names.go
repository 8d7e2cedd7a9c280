package spec

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
	"golang.org/x/text/runes"
	"golang.org/x/text/transform"
	"golang.org/x/text/unicode/norm"

	"pandu/modules/kit/fault"
)

const (
	maxSlug     = 40
	maxHostname = 253
	maxVariable = 128
)

var (
	slugForm     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)
	serviceForm  = regexp.MustCompile(`^[a-z0-9]([a-z0-9_-]{0,38}[a-z0-9])?$`)
	volumeForm   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)
	variableForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
)

// reserved are the names that visitors would take for the panel's or the provider's own.
var reserved = []string{
	"abuse", "account", "admin", "administrator", "agent", "api", "app", "apps", "auth", "autoconfig", "autodiscover",
	"billing", "cdn", "console", "dashboard", "dns", "ftp", "gateway", "health", "help", "host",
	"hostmaster", "imap", "internal", "local", "localhost", "login", "mail", "manager", "metrics", "mx", "ns", "ns1",
	"ns2", "ns3", "ns4", "oauth", "panel", "pandu", "pop", "pop3", "postmaster", "registry", "root", "security", "settings",
	"smtp", "ssl", "sso", "staff", "status", "supervisor", "support", "sysadmin", "system", "webmail", "webmaster",
	"wildcard", "wpad", "www",
}

// Slug judges a name that becomes a part of hostnames: 1 to 40 lower-case letters, digits and hyphens, beginning and
// ending with a letter or digit, not reserved, and not looking like an encoded international name (xn--).
// Faults: slug_invalid, slug_reserved.
func Slug(s string) error {
	switch {
	case !slugForm.MatchString(s), len(s) >= 4 && s[2:4] == "--":
		return fault.Newf(fault.Invalid, "slug_invalid", "%.60q is not a name for this. Use 1 to 40 small letters, digits and hyphens, beginning and ending with a letter or digit.", s).With("name", s)
	case slices.Contains(reserved, s):
		return fault.Newf(fault.Invalid, "slug_reserved", "The name %s is reserved. Choose another.", s).With("name", s)
	}
	return nil
}

// SuggestSlug makes a valid slug of any name: accents dropped, everything else that does not fit becomes a hyphen.
func SuggestSlug(name string) string {
	const most = 1 << 10
	if len(name) > most {
		name = name[:most]
	}
	var b strings.Builder
	for _, r := range unaccented(strings.ToLower(name)) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case letters[r] != "":
			b.WriteString(letters[r])
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	s := b.String()
	s = strings.Trim(s[:min(len(s), maxSlug)], "-")
	if s == "" || slices.Contains(reserved, s) {
		s = strings.TrimSuffix("project-"+s, "-")
	}
	return s
}

// letters are those that do not come apart into a Latin letter and an accent, and the Russian ones.
var letters = map[rune]string{
	'ß': "ss", 'æ': "ae", 'ø': "o", 'đ': "d", 'ð': "d", 'þ': "th", 'ł': "l", 'œ': "oe", 'ı': "i",
	'а': "a", 'б': "b", 'в': "v", 'г': "g", 'д': "d", 'е': "e", 'ж': "zh", 'з': "z", 'и': "i", 'й': "y", 'к': "k",
	'л': "l", 'м': "m", 'н': "n", 'о': "o", 'п': "p", 'р': "r", 'с': "s", 'т': "t", 'у': "u", 'ф': "f", 'х': "kh",
	'ц': "ts", 'ч': "ch", 'ш': "sh", 'щ': "shch", 'ы': "y", 'э': "e", 'ю': "yu", 'я': "ya",
}

func unaccented(s string) string {
	// A transformer keeps state: one per call.
	t := transform.Chain(norm.NFD, runes.Remove(runes.In(unicode.Mn)))
	out, _, err := transform.String(t, s)
	if err != nil {
		return s
	}
	return out
}

// ServiceName judges the name of a service. It is answered by the environment's name server as it is written, so it is
// a label of at most 40 small letters, digits, hyphens and, as compose files use them, underscores.
// Fault: service_name.
func ServiceName(s string) error {
	if !serviceForm.MatchString(s) {
		return fault.Newf(fault.Invalid, "service_name", "%.60q is not a name for a service. Use 1 to 40 small letters, digits, hyphens and underscores, beginning and ending with a letter or digit.", s).With("name", s)
	}
	return nil
}

// VolumeName judges the name of a named volume. Fault: volume_name.
func VolumeName(s string) error {
	if !volumeForm.MatchString(s) {
		return fault.Newf(fault.Invalid, "volume_name", "%.60q is not a name for a volume. Use 1 to 64 letters, digits, dots, hyphens and underscores.", s).With("name", s)
	}
	return nil
}

// VariableName judges the name of an environment's variable: [A-Za-z_][A-Za-z0-9_]*, at most 128 bytes, and not one of
// those that Pandu itself sets. Faults: variable_name, variable_reserved.
func VariableName(s string) error {
	switch {
	case !variableForm.MatchString(s):
		return fault.Newf(fault.Invalid, "variable_name", "%.60q is not a name for a variable. Use at most %d letters, digits and underscores, not beginning with a digit.", s, maxVariable).With("name", s)
	case strings.HasPrefix(s, "PANDU_"):
		return fault.Newf(fault.Invalid, "variable_reserved", "Names that begin with PANDU_ are reserved. Choose another for %s.", s).With("name", s)
	}
	return nil
}

// Hostname brings a hostname into the one form that is stored and compared: ASCII, lower case, international names
// encoded. It refuses addresses, single labels, trailing dots, ports and everything that is not letters, digits and
// hyphens. Fault: hostname_invalid.
func Hostname(s string) (string, error) {
	refused := fault.Newf(fault.Invalid, "hostname_invalid", "%.80q is not a hostname. Write it like shop.example.com, without scheme, port or path.", s).With("name", s)
	if len(s) > 4*maxHostname {
		return "", refused
	}
	profile := idna.New(idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(), idna.StrictDomainName(true), idna.VerifyDNSLength(true), idna.CheckHyphens(true), idna.CheckJoiners(true), idna.ValidateLabels(true))
	ascii, err := profile.ToASCII(s)
	if err != nil {
		return "", refused.Because(err)
	}
	labels := strings.Split(ascii, ".")
	last := labels[len(labels)-1]
	if _, err := netip.ParseAddr(ascii); err == nil || len(labels) < 2 || len(ascii) > maxHostname || !strings.ContainsFunc(last, unicode.IsLetter) || strings.HasPrefix(last, "0x") {
		return "", refused
	}
	for _, l := range labels {
		if !ldh(l) {
			return "", refused
		}
	}
	return ascii, nil
}

func ldh(label string) bool {
	if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	return !strings.ContainsFunc(label, func(r rune) bool {
		return r != '-' && (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
}
