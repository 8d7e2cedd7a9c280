package archive

import (
	"slices"
	"strings"

	"pandu/modules/kit/fault"
)

const (
	mostNames = 4 << 20 // bytes of all names together: bounds the memory of an index
	mostHops  = 40      // links followed for one path, as Linux does
	mostSteps = 1 << 20 // parts of paths looked at while all links are judged
)

// record is one accepted entry.
type record struct {
	path       string
	kind       Kind
	size       int64
	executable bool
	target     string
	ordinal    int // place among all headers of the archive, left-out ones too
}

func (r record) entry() Entry {
	return Entry{Path: r.path, Kind: r.kind, Size: r.size, Executable: r.executable, Target: r.target}
}

// node is what a name stands for while an index is built.
type node struct {
	path string
	kind Kind
}

// index knows every name of an archive.
type index struct {
	limits   Limits
	records  []record
	seen     map[string]node // by folded path, folders that are only implied too
	byPath   map[string]int  // records, after finish
	stripped string
	entries  int   // with left-out ones
	names    int   // bytes
	steps    int   // see mostSteps
	bytes    int64 // counted, for formats that a scan reads whole
}

func newIndex(limits Limits) *index {
	return &index{limits: limits, seen: map[string]node{}}
}

// add judges one header. r.path is the name as decoded, r.target a link's target as decoded.
func (x *index) add(r record) error {
	r.ordinal = x.entries
	x.entries++
	if x.entries > x.limits.Entries {
		return refuseEntries(r.path, x.limits.Entries)
	}
	path, folder, err := clean(r.path, x.limits)
	if err != nil {
		return err
	}
	if folder && r.kind != Directory {
		return refuseHeaders(r.path)
	}
	if path == "" {
		if r.kind != Directory {
			return refuseOutside(r.path)
		}
		return nil
	}
	if litter(path) {
		return nil
	}
	if x.names += len(path) + len(r.target); x.names > mostNames {
		return refuseEntries(path, x.entries)
	}
	r.path = path
	return x.place(r)
}

// place enters the record and the folders above it, refusing two meanings of one name.
func (x *index) place(r record) error {
	folded := fold(r.path)
	for i, j := strings.IndexByte(r.path, '/'), strings.IndexByte(folded, '/'); i >= 0; {
		if err := x.parent(r.path, r.path[:i], folded[:j]); err != nil {
			return err
		}
		i, j = next(r.path, i), next(folded, j)
	}
	if old, ok := x.seen[folded]; ok {
		if old.path != r.path || old.kind != Directory || r.kind != Directory {
			return refuseCollision(old.path, r.path)
		}
		return nil // a folder named twice, or named after what is in it
	}
	x.seen[folded] = node{r.path, r.kind}
	x.records = append(x.records, r)
	return nil
}

func (x *index) parent(of, path, folded string) error {
	old, ok := x.seen[folded]
	switch {
	case !ok:
		x.seen[folded] = node{path, Directory}
	case old.path != path:
		return refuseCollision(old.path, of)
	case old.kind == Symlink:
		return refuse("archive_through_link", of, "The path %s goes through a link of the same archive. Pack the project again.")
	case old.kind != Directory:
		return refuseCollision(old.path, of)
	}
	return nil
}

// next is the place of the slash after i, or -1.
func next(s string, i int) int {
	n := strings.IndexByte(s[i+1:], '/')
	if n < 0 {
		return -1
	}
	return i + 1 + n
}

// finish strips the folder around everything and judges the links, which needs all names.
func (x *index) finish() error {
	if !slices.ContainsFunc(x.records, func(r record) bool { return r.kind == File }) {
		return refuseEmpty()
	}
	x.seen = nil
	x.strip()
	x.byPath = make(map[string]int, len(x.records))
	for i, r := range x.records {
		x.byPath[r.path] = i
	}
	for _, r := range x.records {
		if err := x.judgeLink(r); err != nil {
			return err
		}
	}
	return nil
}

// strip removes the one folder that everything is in, if there is one.
func (x *index) strip() {
	top, _, _ := strings.Cut(x.records[0].path, "/")
	for _, r := range x.records {
		first, _, _ := strings.Cut(r.path, "/")
		if first != top || (r.path == top && r.kind != Directory) {
			return
		}
	}
	x.stripped = top
	kept := x.records[:0]
	for _, r := range x.records {
		if r.path == top {
			continue
		}
		r.path = r.path[len(top)+1:]
		if r.kind == Hardlink {
			r.target = strings.TrimPrefix(r.target, top+"/")
		}
		kept = append(kept, r)
	}
	x.records = kept
}

func (x *index) judgeLink(r record) error {
	switch r.kind {
	case Symlink:
		_, err := x.resolve(r.path)
		return err
	case Hardlink:
		i, ok := x.byPath[r.target]
		if !ok || x.records[i].kind != File || x.records[i].ordinal > r.ordinal {
			return fault.Newf(fault.Invalid, "archive_hardlink", "The hard link %s refers to %s, which is no earlier file of the archive. Pack the project again.", show(r.path), show(r.target)).
				With("path", show(r.path)).With("target", show(r.target))
		}
	}
	return nil
}

// resolve follows the links of the archive as a kernel would, with the archive's root as the root of the world.
func (x *index) resolve(path string) (string, error) {
	var done []string
	todo := strings.Split(path, "/")
	for hops := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		if x.steps++; x.steps > mostSteps {
			return "", refuse("archive_link_loop", path, "The links of the archive are too entangled to be followed (at %s). Replace some by what they point to.")
		}
		switch {
		case part == "" || part == ".":
			continue
		case part == ".." && len(done) == 0:
			return "", x.outside(path)
		case part == "..":
			done = done[:len(done)-1]
			continue
		}
		done = append(done, part)
		target, ok := x.link(strings.Join(done, "/"))
		if !ok {
			continue
		}
		if hops++; hops > mostHops {
			return "", refuse("archive_link_loop", path, "The link %s leads back to itself. Remove it.")
		}
		if strings.HasPrefix(target, "/") {
			return "", x.outside(path)
		}
		done = done[:len(done)-1]
		todo = append(strings.Split(target, "/"), todo...)
	}
	return strings.Join(done, "/"), nil
}

func (x *index) outside(path string) error {
	target, ok := x.link(path)
	if !ok {
		return refuseOutside(path)
	}
	return refuseLinkOutside(path, target)
}

func (x *index) link(path string) (target string, ok bool) {
	i, ok := x.byPath[path]
	if !ok || x.records[i].kind != Symlink {
		return "", false
	}
	return x.records[i].target, true
}

// find gives the file or folder that name means; folders that are only implied have no ordinal of their own.
func (x *index) find(name string) (record, bool) {
	x.steps = 0
	path, err := x.resolve(name)
	if err != nil || strings.HasPrefix(name, "/") {
		return record{}, false
	}
	if i, ok := x.byPath[path]; ok {
		r := x.records[i]
		if r.kind == Hardlink {
			r = x.records[x.byPath[r.target]]
		}
		return r, true
	}
	return record{path: path, kind: Directory, ordinal: -1}, x.implied(path)
}

func (x *index) implied(path string) bool {
	return path == "" || slices.ContainsFunc(x.records, func(r record) bool { return strings.HasPrefix(r.path, path+"/") })
}

func (x *index) list(name string) []string {
	dir, ok := x.find(name)
	if !ok || dir.kind != Directory {
		return nil
	}
	prefix := ""
	if dir.path != "" {
		prefix = dir.path + "/"
	}
	var names []string
	for _, r := range x.records {
		rest, ok := strings.CutPrefix(r.path, prefix)
		if !ok {
			continue
		}
		first, _, deeper := strings.Cut(rest, "/")
		if deeper || r.kind == Directory {
			first += "/"
		}
		names = append(names, first)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
