package run_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pandu/modules/kit/run"
)

// TestMain lets the test binary play the program that is run: no other program has to be there.
func TestMain(m *testing.M) {
	if role := os.Getenv("RUN_TEST_ROLE"); role != "" {
		play(role)
		return
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) { os.Exit(code) }))
}

func play(role string) {
	switch role {
	case "print":
		os.Stdout.WriteString(strings.Join(os.Args[1:], "|") + "\n" + strings.Join(os.Environ(), "|"))
	case "flood":
		block := bytes.Repeat([]byte("x"), 1<<16)
		for range 40 {
			os.Stdout.Write(block)
		}
	case "fail":
		os.Stderr.WriteString("no such harbour\n")
		os.Exit(3)
	case "hang":
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		os.Stdout.WriteString("ready " + strconv.Itoa(syscall.Getpgrp()) + " " + strconv.Itoa(sessionID()) + "\n")
		<-stop
	}
}

func sessionID() int {
	sid, _, _ := syscall.Syscall(syscall.SYS_GETSID, 0, 0, 0)
	return int(sid)
}

func self(t *testing.T, role string, args ...string) run.Command {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return run.Command{Path: path, Args: args, Env: []string{"RUN_TEST_ROLE=" + role}}
}

func TestOutputGivesExactlyTheArgumentsAndTheEnvironment(t *testing.T) {
	t.Setenv("SECRET_OF_OURS", "leaked")
	c := self(t, "print", "-v", "a b", "$(id)")
	c.UserArgs = []string{"user text"}
	out, err := run.Output(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if want := "-v|a b|$(id)|user text\nRUN_TEST_ROLE=print"; string(out) != want {
		t.Errorf("program saw %q, want %q", out, want)
	}
}

func TestRefused(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name string
		c    run.Command
		want error
	}{
		{"relative path", run.Command{Path: "ls"}, run.ErrPath},
		{"option from a user", run.Command{Path: path, UserArgs: []string{"--upload-pack=evil"}}, run.ErrUserArg},
		{"empty user argument", run.Command{Path: path, UserArgs: []string{""}}, run.ErrUserArg},
		{"NUL in an argument", run.Command{Path: path, Args: []string{"a\x00b"}}, run.ErrNUL},
		{"NUL in the environment", run.Command{Path: path, Env: []string{"A=\x00"}}, run.ErrNUL},
		{"pipe of a detached program", run.Command{Path: path, Detached: true, Stdout: &bytes.Buffer{}}, run.ErrDetached},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := run.Start(tc.c); !errors.Is(err, tc.want) {
				t.Errorf("error is %v, want %v", err, tc.want)
			}
		})
	}
}

func TestOutputIsBounded(t *testing.T) {
	out, err := run.Output(t.Context(), self(t, "flood"))
	if !errors.Is(err, run.ErrOutput) {
		t.Errorf("error is %v, want %v", err, run.ErrOutput)
	}
	if len(out) != 1<<20 {
		t.Errorf("kept %d bytes, want 1 MiB", len(out))
	}
}

func TestErrorCarriesWhatTheProgramSaid(t *testing.T) {
	_, err := run.Output(t.Context(), self(t, "fail"))
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.Contains(err.Error(), "no such harbour") {
		t.Errorf("error is %v, want status 3 with its message", err)
	}
}

func TestOutputEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := run.Output(ctx, self(t, "hang"))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v, want deadline exceeded", err)
	}
}

func TestDetachedHasASessionOfItsOwn(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	c := self(t, "hang")
	c.Detached, c.Stdout = true, file
	p, err := run.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	want := "ready " + strconv.Itoa(p.PID) + " " + strconv.Itoa(p.PID) + "\n"
	waitFor(t, func() bool {
		b, _ := os.ReadFile(file.Name())
		return string(b) == want
	})
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("program ended with %v", err)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("signal after the end: %v", err)
	}
}

func TestCredential(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("changing the user needs root")
	}
	c := run.Command{Path: "/usr/bin/id", Args: []string{"-u"}, Credential: &run.Credential{UID: 65534, GID: 65534}}
	out, err := run.Output(t.Context(), c)
	if err != nil || strings.TrimSpace(string(out)) != "65534" {
		t.Errorf("id -u said %q, %v", out, err)
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("state was not reached in 10 s")
		case <-tick.C:
		}
	}
}
