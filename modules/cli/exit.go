package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"pandu/modules/cli/client"
	"pandu/modules/kit/fault"
)

// The exit statuses; docs/cli.md explains them.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitSignIn      = 3
	exitNotFound    = 4
	exitRefused     = 5
	exitInterrupted = 130
)

// exitError ends the program: a sentence, what to do next, and the status.
type exitError struct {
	code   int
	text   string
	places []string // "compose.yaml:5: message"
	hint   string
}

// ExitCode is the process's exit status.
func (e *exitError) ExitCode() int { return e.code }

func (e *exitError) Error() string {
	return strings.Join(append(append([]string{}, compact(e.text)...), append(e.places, compact(e.hint)...)...), "\n")
}

func compact(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}

func usagef(format string, args ...any) error {
	return &exitError{code: exitUsage, text: fmt.Sprintf(format, args...)}
}

// explain turns any error into one with a sentence and a status. A panel's problem is printed whole when JSON was asked for.
func (c *cli) explain(cmd *cobra.Command, s *session, err error) error {
	if err == nil {
		return nil
	}
	var done *exitError
	var p *client.ProblemError
	var gone *client.UnreachableError
	var f *fault.Error
	switch {
	case errors.As(err, &done):
		return done
	case cmd.Context().Err() != nil || errors.Is(err, context.Canceled):
		return &exitError{code: exitInterrupted, text: "Interrupted."}
	case errors.As(err, &p):
		if s != nil && s.screen != nil && s.json && p.Raw != nil {
			_ = s.raw(p.Raw) // the sentence follows in any case
		}
		return s.refusal(p)
	case errors.As(err, &gone):
		return &exitError{code: exitFailed, text: sentence(clean(gone.Error())), hint: "Check that the panel runs and that the address is right: pandu context, --url"}
	case errors.As(err, &f):
		return localRefusal(f)
	case errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission):
		return &exitError{code: exitUsage, text: clean(err.Error())}
	default:
		return &exitError{code: exitFailed, text: clean(err.Error())}
	}
}

// localRefusal is what the panel would have refused, found before the upload.
func localRefusal(f *fault.Error) error {
	e := &exitError{code: exitRefused, text: clean(f.Message)}
	for _, d := range f.Details {
		e.places = append(e.places, place(d.Location, d.Message))
	}
	return e
}

func (s *session) refusal(p *client.ProblemError) *exitError {
	e := &exitError{code: statusOf(p), text: sentence(clean(p.Detail)), hint: s.hint(p)}
	for _, d := range p.Errors {
		e.places = append(e.places, place(d.Location, d.Message))
	}
	if p.Status >= http.StatusInternalServerError && p.RequestID != "" {
		e.hint = "In the server's log: request " + clean(p.RequestID)
	}
	return e
}

func statusOf(p *client.ProblemError) int {
	switch p.Status {
	case http.StatusUnauthorized:
		return exitSignIn
	case http.StatusNotFound:
		return exitNotFound
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		return exitRefused
	default:
		return exitFailed
	}
}

// hint is what to do about a problem, as a command.
func (s *session) hint(p *client.ProblemError) string {
	project := "--project " + cmp.Or(s.project, "NAME")
	switch p.Code {
	case "slug_taken":
		if free := p.Parameters["suggestion"]; free != "" {
			return "Use the free one: pandu deploy --project " + clean(free)
		}
	case "project_not_found":
		if s.guessed {
			return "The folder's name was taken for the project's. Say which: --project NAME (pandu projects lists them)"
		}
		return "List what there is: pandu projects"
	case "environment_not_found":
		return "Choose another with --environment; every project has production."
	case "service_not_found":
		return "List the services: pandu status " + project
	case "volumes_ask":
		return "Say so: pandu projects delete " + cmp.Or(s.project, "NAME") + " --volumes keep (or delete)"
	case "nothing_live", "nothing_to_start", "release_not_found":
		return "Deploy something: pandu deploy " + project
	case "not_retryable":
		return "Deploy again: pandu deploy " + project
	case "operator_only", "operator_required":
		return "Operators sign in with: pandu login --operator"
	case "no_server":
		return "An operator can look: pandu servers"
	}
	switch p.Status {
	case http.StatusUnauthorized:
		return "Sign in again: pandu login"
	case http.StatusForbidden:
		return "See what you may do: pandu whoami"
	}
	return ""
}

// place is "file:line: what", or "what" when it is about the whole.
func place(location, message string) string {
	if location == "" {
		return clean(message)
	}
	return clean(location) + ": " + clean(message)
}

// sentence ends a text with a full stop.
func sentence(text string) string {
	if text == "" || strings.ContainsAny(text[len(text)-1:], ".!?:") {
		return text
	}
	return text + "."
}
