package archive

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/simplifiedchinese"
)

func refuseEncoding(name string) error {
	return refuse("archive_name_encoding", name,
		"The file name %s is not in UTF-8 and its encoding cannot be told. Pack again with UTF-8 names (7-Zip, tar, git archive), or rename the file in plain letters.")
}

// legacy is the encoding that all the names are surely in, or nil. An old zip does not say its encoding; it is that of
// the machine it was made on, so all names are judged together and anything that could be read in two ways is refused.
func legacy(names []string) encoding.Encoding {
	var found encoding.Encoding
	for _, candidate := range []struct {
		encoding encoding.Encoding
		sure     func([]string) bool
	}{
		{charmap.CodePage866, cyrillic},
		{simplifiedchinese.GBK, chinese},
		{charmap.CodePage437, latin},
	} {
		if !candidate.sure(names) {
			continue
		}
		if found != nil {
			return nil
		}
		found = candidate.encoding
	}
	return found
}

// runs cuts a name into the stretches of bytes above ASCII, telling each whether an ASCII letter touches it.
func runs(name string, f func(run string, touches bool) bool) bool {
	for i := 0; i < len(name); {
		if name[i] < utf8.RuneSelf {
			i++
			continue
		}
		j := i
		for j < len(name) && name[j] >= utf8.RuneSelf {
			j++
		}
		if !f(name[i:j], (i > 0 && letter(name[i-1])) || (j < len(name) && letter(name[j]))) {
			return false
		}
		i = j
	}
	return true
}

func letter(c byte) bool {
	c |= 0x20
	return c >= 'a' && c <= 'z'
}

// cyrillic: whole words of Russian letters in code page 866, none with a capital after a small letter.
func cyrillic(names []string) bool {
	return everyRun(names, func(run string, touches bool) bool {
		small := false
		for i := range len(run) {
			c := run[i]
			capital := (c >= 0x80 && c <= 0x9f) || c == 0xf0
			lower := (c >= 0xa0 && c <= 0xaf) || (c >= 0xe0 && c <= 0xef) || c == 0xf1
			if (!capital && !lower) || (capital && small) {
				return false
			}
			small = small || lower
		}
		return !touches
	})
}

// chinese: pairs of the GB 2312 set, with a first byte that Korean, which is paired alike, does not use.
func chinese(names []string) bool {
	distinct := false
	paired := everyRun(names, func(run string, _ bool) bool {
		if len(run)%2 != 0 {
			return false
		}
		for i := 0; i < len(run); i += 2 {
			first, second := run[i], run[i+1]
			if (first < 0xb0 || first > 0xf7) && (first < 0xa1 || first > 0xa3) || second < 0xa1 || second == 0xff {
				return false
			}
			distinct = distinct || (first > 0xc8 && first < 0xd8)
		}
		return true
	})
	return paired && distinct
}

// latin: one or two accented letters of code page 437 inside words of ASCII letters.
func latin(names []string) bool {
	return everyRun(names, func(run string, touches bool) bool {
		for i := range len(run) {
			c := run[i]
			if c > 0xa5 || (c >= 0x9b && c <= 0x9f) {
				return false
			}
		}
		return touches && len(run) <= 2
	})
}

func everyRun(names []string, f func(string, bool) bool) bool {
	for _, n := range names {
		if !runs(n, f) {
			return false
		}
	}
	return true
}

func decode(e encoding.Encoding, name string) (string, error) {
	if e == nil {
		return "", refuseEncoding(name)
	}
	decoded, err := e.NewDecoder().String(name)
	if err != nil || strings.ContainsRune(decoded, utf8.RuneError) {
		return "", refuseEncoding(name)
	}
	return decoded, nil
}
