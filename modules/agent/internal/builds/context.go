package builds

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// inlineName is what a Dockerfile of ours is called in the context.
const inlineName = ".pandu.Dockerfile"

// fixedTime is the time of every file in a context: archives do not carry times into the source, and a context that is
// the same byte for byte is what makes the layer cache hit. Not the epoch: zip tools refuse years before 1980.
var fixedTime = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

const ignoreLimit = 1 << 20

// ignoring reads the patterns of DOCKERFILE.dockerignore, else .dockerignore. Without either nothing is ignored.
// The Dockerfile itself is always sent, as the Engine reads it from the context.
func ignoring(root *os.Root, dockerfile string) (*patternmatcher.PatternMatcher, error) {
	for _, name := range []string{dockerfile + ".dockerignore", ".dockerignore"} {
		data, err := readAll(root, name, ignoreLimit)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, failed(codeDockerfile, "%s cannot be read.", name).because(err)
		}
		patterns, err := ignorefile.ReadAll(bytes.NewReader(data))
		if err != nil {
			return nil, failed(codeDockerfile, "%s cannot be read.", name).because(err)
		}
		if dockerfile != "" {
			patterns = append(patterns, "!"+dockerfile)
		}
		matcher, err := patternmatcher.New(patterns)
		if err != nil {
			return nil, failed(codeDockerfile, "%s has a pattern that is none: %v.", name, err)
		}
		return matcher, nil
	}
	return patternmatcher.New(nil)
}

// packer writes a folder as a tar: sorted, owned by root, with one time.
type packer struct {
	root    *os.Root
	out     *tar.Writer
	ignored *patternmatcher.PatternMatcher
	prefix  string // before each name, "" or with a slash at its end
	skip    func(name string) bool
	matches map[string]patternmatcher.MatchInfo // of folders
	files   int
}

func (p *packer) pack() error {
	p.matches = map[string]patternmatcher.MatchInfo{}
	return fs.WalkDir(p.root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name == "." {
			return nil
		}
		if p.skip != nil && p.skip(name) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		ignored, info, err := p.ignored.MatchesUsingParentResults(filepath.FromSlash(name), p.matches[path.Dir(name)])
		if err != nil {
			return fmt.Errorf("match %s: %w", name, err)
		}
		if entry.IsDir() {
			p.matches[name] = info
		}
		if !ignored {
			return p.add(name, entry)
		}
		if entry.IsDir() && !p.ignored.Exclusions() {
			return fs.SkipDir
		}
		return nil
	})
}

func (p *packer) add(name string, entry fs.DirEntry) error {
	header := &tar.Header{Name: p.prefix + name, ModTime: fixedTime, Format: tar.FormatPAX}
	switch {
	case entry.IsDir():
		header.Typeflag, header.Mode, header.Name = tar.TypeDir, 0o755, header.Name+"/"
		return p.out.WriteHeader(header)
	case entry.Type()&fs.ModeSymlink != 0:
		target, err := p.root.Readlink(filepath.FromSlash(name))
		if err != nil {
			return err
		}
		header.Typeflag, header.Mode, header.Linkname = tar.TypeSymlink, 0o777, target
		return p.out.WriteHeader(header)
	case entry.Type().IsRegular():
		return p.addFile(name, header)
	default:
		return nil // an archive has nothing else
	}
}

func (p *packer) addFile(name string, header *tar.Header) error {
	f, err := p.root.Open(filepath.FromSlash(name))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	header.Typeflag, header.Size, header.Mode = tar.TypeReg, info.Size(), 0o644
	if info.Mode()&0o100 != 0 {
		header.Mode = 0o755
	}
	if err := p.out.WriteHeader(header); err != nil {
		return err
	}
	p.files++
	_, err = io.Copy(p.out, f)
	return err
}

// writeContext writes the build context, with an inline Dockerfile when there is one.
func writeContext(to io.Writer, root *os.Root, ignored *patternmatcher.PatternMatcher, inline string) error {
	out := tar.NewWriter(to)
	p := &packer{root: root, out: out, ignored: ignored}
	if err := p.pack(); err != nil {
		return fmt.Errorf("pack build context: %w", err)
	}
	if inline != "" {
		header := &tar.Header{Name: inlineName, Mode: 0o644, Size: int64(len(inline)), ModTime: fixedTime}
		if err := out.WriteHeader(header); err != nil {
			return fmt.Errorf("pack dockerfile: %w", err)
		}
		if _, err := io.WriteString(out, inline); err != nil {
			return fmt.Errorf("pack dockerfile: %w", err)
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("pack build context: %w", err)
	}
	return nil
}
