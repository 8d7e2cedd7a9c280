package archive

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"pandu/modules/kit/fault"
)

// longestName is what file systems accept for one part of a path, in bytes.
const longestName = 255

// clean turns a name from an archive into a relative path without ".", ".." and empty parts. folder tells that the name
// ended with a slash. An empty path means the archive's root.
func clean(name string, limits Limits) (path string, folder bool, err error) {
	slashed := strings.ReplaceAll(name, `\`, "/")
	if err := judgeCharacters(name); err != nil {
		return "", false, err
	}
	if strings.HasPrefix(slashed, "/") || drive(slashed) {
		return "", false, refuseOutside(name)
	}
	parts := make([]string, 0, 8)
	for part := range strings.SplitSeq(slashed, "/") {
		switch {
		case part == "" || part == ".":
			continue
		case part == "..":
			return "", false, refuseOutside(name)
		case len(part) > longestName:
			return "", false, refuseLength(name, longestName)
		}
		parts = append(parts, part)
	}
	path = strings.Join(parts, "/")
	if len(path) > limits.Path {
		return "", false, refuseLength(name, limits.Path)
	}
	if len(parts) > limits.Depth {
		return "", false, fault.Newf(fault.Invalid, "archive_depth", "The path %s has more than %d folders. Flatten it.", show(name), limits.Depth).With("path", show(name))
	}
	return path, strings.HasSuffix(slashed, "/"), nil
}

func refuseLength(path string, limit int) error {
	return fault.Newf(fault.Invalid, "archive_path_length", "The path %s is longer than %d bytes. Shorten it.", show(path), limit).With("path", show(path))
}

func judgeCharacters(name string) error {
	if !utf8.ValidString(name) {
		return refuseEncoding(name)
	}
	for _, r := range name {
		if r < 0x20 || r == 0x7f {
			return refuse("archive_path_characters", name, "The path %s has a control character. Rename the file.")
		}
	}
	return nil
}

func drive(path string) bool {
	if len(path) < 2 || path[1] != ':' {
		return false
	}
	c := path[0] | 0x20
	return c >= 'a' && c <= 'z'
}

// litter reports what desktops add by themselves and nobody wants on a server.
func litter(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if part == "__MACOSX" || part == ".DS_Store" || part == "Thumbs.db" || strings.HasPrefix(part, "._") {
			return true
		}
	}
	return false
}

// fold maps names that some file system takes for one onto one: case and Unicode composition are levelled.
func fold(path string) string {
	for i := range len(path) {
		if path[i] >= utf8.RuneSelf {
			return norm.NFC.String(cases.Fold().String(norm.NFC.String(path)))
		}
	}
	return strings.ToLower(path)
}
