package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"pandu/modules/cli/client"
	"pandu/modules/kit/archive"
)

// mostIgnore bounds a .dockerignore, in bytes.
const mostIgnore = 1 << 20

// archiveFile is an archive on this machine's disk.
type archiveFile struct {
	client.Archive
	file      *os.File
	temporary bool
}

// close lets go of the archive, and removes it when it was made for this upload.
func (a *archiveFile) close() {
	_ = a.file.Close() // was only read since it was whole
	if a.temporary {
		_ = os.Remove(a.file.Name()) // lies in the system's place for such files
	}
}

// openArchive reads an archive once for its hash. What it holds is for the panel to judge.
func openArchive(name string) (*archiveFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, usagef("%v", err)
	}
	if !looksPacked(f) {
		return nil, errors.Join(&exitError{code: exitRefused, text: name + " is neither a zip nor a tar.gz archive."}, f.Close())
	}
	hash := sha256.New()
	n, err := io.Copy(hash, f)
	if err != nil {
		return nil, errors.Join(usagef("read %s: %v", name, err), f.Close())
	}
	return &archiveFile{file: f, Archive: client.Archive{Body: f, Size: n, Filename: filepath.Base(name), SHA256: hex.EncodeToString(hash.Sum(nil))}}, nil
}

// looksPacked reports whether a file begins like an archive, before a project is made for it.
func looksPacked(f io.ReaderAt) bool {
	var first [4]byte
	if _, err := f.ReadAt(first[:], 0); err != nil {
		return false
	}
	return string(first[:2]) == "PK" || first[0] == 0x1f && first[1] == 0x8b
}

// packFolder makes an archive of a folder in a temporary file that only its owner can read.
func packFolder(ctx context.Context, dir string) (*archiveFile, archive.Summary, error) {
	ignored, err := ignoring(dir)
	if err != nil {
		return nil, archive.Summary{}, err
	}
	whole, err := filepath.Abs(dir)
	if err != nil {
		return nil, archive.Summary{}, fmt.Errorf("find folder: %w", err)
	}
	f, err := os.CreateTemp("", "pandu-*.tar.gz") // made with 0600
	if err != nil {
		return nil, archive.Summary{}, fmt.Errorf("pack folder: %w", err)
	}
	a := &archiveFile{file: f, temporary: true}
	hash := sha256.New()
	summary, err := archive.Pack(ctx, dir, ignored, io.MultiWriter(f, hash))
	if err == nil {
		a.Size, err = f.Seek(0, io.SeekCurrent)
	}
	if err != nil {
		a.close()
		return nil, summary, err
	}
	a.Body, a.Filename, a.SHA256 = f, filepath.Base(whole)+".tar.gz", hex.EncodeToString(hash.Sum(nil))
	return a, summary, nil
}

// needed are files that say how to deploy: they go along even when .dockerignore keeps them out of images.
var needed = []string{".dockerignore", "Dockerfile", "compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"}

// ignoring is what .dockerignore of a folder leaves out, and .git always.
func ignoring(dir string) (func(path string, isDir bool) bool, error) {
	matcher, err := readIgnore(filepath.Join(dir, ".dockerignore"))
	if err != nil {
		return nil, err
	}
	return func(name string, isDir bool) bool {
		if path.Base(name) == ".git" {
			return true
		}
		if slices.Contains(needed, name) {
			return false
		}
		matched, err := matcher.MatchesOrParentMatches(name)
		if err != nil || !matched {
			return false
		}
		return !isDir || !excepted(matcher, name)
	}, nil
}

// excepted reports whether an exception (!path) may lie below an ignored folder: then it is looked into.
func excepted(m *patternmatcher.PatternMatcher, dir string) bool {
	if !m.Exclusions() {
		return false
	}
	for _, p := range m.Patterns() {
		if !p.Exclusion() {
			continue
		}
		text := filepath.ToSlash(p.String())
		if strings.HasPrefix(text, dir+"/") || strings.ContainsAny(text, "*?[") {
			return true
		}
	}
	return false
}

func readIgnore(name string) (*patternmatcher.PatternMatcher, error) {
	var patterns []string
	f, err := os.Open(name)
	if err == nil {
		patterns, err = ignorefile.ReadAll(io.LimitReader(f, mostIgnore))
		err = errors.Join(err, f.Close())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, usagef("read .dockerignore: %v", err)
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		return nil, usagef(".dockerignore: %v", err)
	}
	return matcher, nil
}
