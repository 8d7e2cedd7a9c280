package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pandu/tests/engine"
)

// suite is what all scenarios share.
var suite struct {
	engine *engine.Engine
	dir    string // everything of this run
	binary string
	web    []byte // the test program, see engine.WebPackage
	shared *pandu // the all-in-one process of the scenarios that break nothing
	once   sync.Once

	subnets int      // given out
	kept    []string // volumes that a scenario kept when it deleted their project
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	sweepDead()
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		fmt.Fprintln(os.Stderr, "make directory:", err)
		return 1
	}
	suite.dir = dir
	defer func() {
		endAll(dir)
		if err := removeDir(dir); err != nil {
			fmt.Fprintln(os.Stderr, "remove directory:", err)
			code = 1
		}
	}()
	if err := prepare(dir); err != nil {
		fmt.Fprintln(os.Stderr, "prepare:", err)
		return 1
	}
	defer func() {
		endAll(dir) // before the engine goes
		if err := suite.engine.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "close docker engine:", err)
			code = 1
		}
	}()
	return m.Run()
}

// prepare builds the programs while the engine starts.
func prepare(dir string) error {
	if err := errors.Join(os.Chmod(dir, 0o755), writeOwner(dir)); err != nil { //nolint:gosec // PostgreSQL runs as another user
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var building sync.WaitGroup
	var built error
	building.Go(func() { built = build(ctx, dir) })
	_ = os.Unsetenv(engine.ReuseVariable) // the scenarios restart the engine and count what it holds
	e, err := engine.Start(ctx)
	building.Wait()
	if err != nil {
		return errors.Join(err, built)
	}
	suite.engine = e
	if built == nil {
		_, built = e.BuildScratch(ctx, webImage, engine.WebPackage, "EXPOSE 8080")
	}
	if built != nil {
		return errors.Join(built, e.Close())
	}
	return nil
}

// build makes the binary under test and what lies beside it.
func build(ctx context.Context, dir string) error {
	suite.binary = filepath.Join(dir, "bin", "pandu")
	for out, pkg := range map[string]string{"pandu": "pandu", "pandu-fileserver": "pandu/modules/kit/fileserver/cmd/pandu-fileserver"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "bin", out), pkg) //nolint:gosec // our own packages
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if said, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w: %s", pkg, err, said)
		}
	}
	var err error
	suite.web, err = engine.Binary(ctx, engine.WebPackage)
	return err
}

// shared is the all-in-one process that most scenarios use together, each with projects of its own.
func shared(t *testing.T) *pandu {
	t.Helper()
	suite.once.Do(func() {
		suite.shared = newPandu(t, "shared")
		suite.shared.start(t)
	})
	if suite.shared == nil || suite.shared.api == nil {
		t.Fatal("the shared process did not start")
	}
	suite.shared.showLogWhenFailed(t)
	return suite.shared
}
