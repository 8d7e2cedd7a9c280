package audit

import (
	"strings"
	"unicode/utf8"
)

// The bounds of what one event may carry. Longer text is cut, never refused: a change must not fail because its
// object has a long name.
const (
	maxLabel  = 300  // bytes
	maxValue  = 2000 // bytes
	maxDetail = 40   // pairs
)

// clean makes text that Postgres accepts (valid UTF-8, no NUL) and cuts it at max bytes.
func clean(s string, max int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max]
}

// cleanDetail bounds a detail map; among too many pairs which ones survive is not defined.
func cleanDetail(detail map[string]string) map[string]string {
	out := make(map[string]string, min(len(detail), maxDetail))
	for k, v := range detail {
		if len(out) == maxDetail {
			break
		}
		out[clean(k, maxLabel)] = clean(v, maxValue)
	}
	return out
}
