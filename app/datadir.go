package app

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
)

// newDataDir makes the data directory before anything wants to write there.
func (p *Process) newDataDir() (Service, error) { return nil, makeDataDir(p.cfg.DataDir) }

// makeDataDir makes it so that others may pass through, because a private database under another user lies inside; what
// must stay private has its own mode.
func makeDataDir(dir string) error {
	if err := os.MkdirAll(dir, 0o711); err != nil { //nolint:gosec // see above
		return fmt.Errorf("make data directory: %w (choose another with PANDU_DATA_DIR)", err)
	}
	return nil
}

// dataID tells data directories apart, wherever they are mounted: processes that see the same id share their files.
func dataID(dir string) (uuid.UUID, error) {
	path := filepath.Join(dir, "id")
	if _, err := createOnce(path, func() string { return uuid.NewString() + "\n" }); err != nil {
		return uuid.Nil, fmt.Errorf("mark data directory: %w", err)
	}
	body, err := os.ReadFile(path) //nolint:gosec // a fixed name in our own data directory
	if err != nil {
		return uuid.Nil, fmt.Errorf("read data directory's mark: %w", err)
	}
	id, err := uuid.Parse(strings.TrimSpace(string(body)))
	if err != nil {
		return uuid.Nil, fmt.Errorf("%s is not a mark of ours: %w", path, err)
	}
	return id, nil
}
