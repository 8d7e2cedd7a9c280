package builds

import (
	"context"
	"errors"
	"fmt"
	"syscall"
)

// The codes of a failed build, as agentv1.BuildResult has them.
const (
	codeDockerfile = "dockerfile"
	codeCommand    = "command"
	codeTimeout    = "timeout"
	codeMemory     = "memory"
	codeSource     = "source"
	codePush       = "push"
	codeEngine     = "engine"
	codeCancelled  = "cancelled"
	codeImage      = "image_missing"
)

// failure is why there is no image: a code, one sentence for the person, and whether trying again may help.
type failure struct {
	code    string
	message string
	passing bool
	cause   error
}

func failed(code, format string, args ...any) *failure {
	return &failure{code: code, message: fmt.Sprintf(format, args...)}
}

// again says that the reason is passing.
func (f *failure) again() *failure { f.passing = true; return f }

func (f *failure) because(err error) *failure { f.cause = err; return f }

func (f *failure) Error() string {
	if f.cause != nil {
		return f.message + ": " + f.cause.Error()
	}
	return f.message
}

func (f *failure) Unwrap() error { return f.cause }

// diskFailure is a failure to write on this server; a full disk is named.
func diskFailure(what string, err error) *failure {
	if errors.Is(err, syscall.ENOSPC) {
		return failed(codeEngine, "The disk of the build server is full. Its operator has to make room; then build again.").because(err)
	}
	return failed(codeEngine, "The build server could not %s.", what).again().because(err)
}

// classify turns whatever ended a build into a failure.
func classify(err error) *failure {
	var f *failure
	switch {
	case errors.Is(err, errCancelled), errors.Is(err, errLeft):
		return failed(codeCancelled, "The build was cancelled.").because(err)
	case errors.Is(err, errTime), errors.Is(err, context.DeadlineExceeded):
		return failed(codeTimeout, "The build did not end within its time limit.").because(err)
	case errors.As(err, &f):
		if errors.Is(err, syscall.ENOSPC) {
			return diskFailure("", err)
		}
		return f
	case errors.Is(err, syscall.ENOSPC):
		return diskFailure("", err)
	default:
		return failed(codeEngine, "The build server could not build.").again().because(err)
	}
}
