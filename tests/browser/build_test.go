package browser

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// binaryVariable names the environment variable with a binary to test, its dashboard inside and pandu-fileserver beside it.
const binaryVariable = "PANDU_TEST_BINARY"

// program runs a program in a folder and returns an error with what it said.
func program(dir string, argv ...string) error {
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:gosec,noctx // fixed programs, ended by the test's time limit
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w: %s", argv, err, said)
	}
	return nil
}

// dashboard returns a folder like ui whose node_modules has what the flows need: ui itself, else a copy below dir.
func dashboard(dir string) (string, error) {
	ui, err := filepath.Abs("../../ui")
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(ui, "node_modules", "playwright-core")); err == nil {
		return ui, nil
	}
	clone := filepath.Join(dir, "ui")
	for _, name := range []string{"package.json", "package-lock.json", "index.html", "vite.config.ts", "tsconfig.json"} {
		b, err := os.ReadFile(filepath.Join(ui, name))
		if err != nil {
			return "", err
		}
		if err := os.MkdirAll(clone, 0o700); err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(clone, name), b, 0o600); err != nil {
			return "", err
		}
	}
	if err := os.CopyFS(filepath.Join(clone, "src"), os.DirFS(filepath.Join(ui, "src"))); err != nil {
		return "", err
	}
	return clone, program(clone, "npm", "ci", "--no-audit", "--no-fund")
}

// build makes the binary below dir, with the dashboard as the tree has it now: the compiler is told that the fresh pages
// lie in ui/dist, so that what lies there stays as it is. It returns the binary's path.
func build(dir, ui string) (string, error) {
	if given := os.Getenv(binaryVariable); given != "" {
		return given, nil
	}
	dist := filepath.Join(dir, "dist")
	if err := program(ui, "node", filepath.Join("node_modules", "vite", "bin", "vite.js"), "build", "--outDir", dist, "--emptyOutDir"); err != nil {
		return "", err
	}
	overlay, err := overlay(dir, dist)
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "bin", "pandu")
	if err := program("../..", "go", "build", "-trimpath", "-overlay", overlay, "-o", binary, "."); err != nil {
		return "", err
	}
	return binary, program("../..", "go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "bin", "pandu-fileserver"), "./modules/kit/fileserver/cmd/pandu-fileserver")
}

// overlay writes the file that tells the compiler which files stand for those of ui/dist.
func overlay(dir, dist string) (string, error) {
	embedded, err := filepath.Abs("../../ui/dist")
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	stale := func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != ".keep" {
			replace[path] = "" // an empty name takes the file away
		}
		return nil //nolint:nilerr // no dashboard was ever built there
	}
	if err := filepath.WalkDir(embedded, stale); err != nil {
		return "", err
	}
	fresh := func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dist, path)
		replace[filepath.Join(embedded, name)] = path
		return err
	}
	if err := filepath.WalkDir(dist, fresh); err != nil {
		return "", err
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, b, 0o600)
}
