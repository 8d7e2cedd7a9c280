package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// asker asks a person. Without a terminal there is nobody to ask.
type asker struct {
	in  io.Reader
	out *screen
}

func (s *screen) asker() asker { return asker{in: s.in, out: s} }

type answer struct {
	text string
	err  error
}

// line asks for one line of text.
func (a asker) line(ctx context.Context, question string) (string, error) {
	return a.ask(ctx, question, func(f *os.File) (string, error) {
		text, err := bufio.NewReader(io.LimitReader(f, mostToken)).ReadString('\n')
		return strings.TrimSpace(text), err
	})
}

// hidden asks for a line that is not shown.
func (a asker) hidden(ctx context.Context, question string) (string, error) {
	return a.ask(ctx, question, func(f *os.File) (string, error) {
		text, err := term.ReadPassword(int(f.Fd()))
		_, _ = fmt.Fprintln(a.out.err)
		return string(text), err
	})
}

// ask waits for the answer or for the end of ctx, and leaves the terminal as it was.
func (a asker) ask(ctx context.Context, question string, read func(*os.File) (string, error)) (string, error) {
	f, ok := a.in.(*os.File)
	if !ok || !terminal(f) {
		return "", usagef("there is no terminal to ask on: give --token -, or --email and --password-stdin")
	}
	state, err := term.GetState(int(f.Fd()))
	if err != nil {
		return "", fmt.Errorf("read terminal: %w", err)
	}
	_, _ = fmt.Fprint(a.out.err, question)
	got := make(chan answer, 1)
	go func() { // ends with the answer, or with the process
		text, err := read(f)
		got <- answer{text, err}
	}()
	select {
	case g := <-got:
		if g.err == nil && g.text == "" {
			return "", usagef("nothing was entered")
		}
		return g.text, g.err
	case <-ctx.Done():
		_ = term.Restore(int(f.Fd()), state) // the reader still has it without echo
		_, _ = fmt.Fprintln(a.out.err)
		return "", ctx.Err()
	}
}

// rest reads a secret from the standard input.
func (a asker) rest() (string, error) {
	text, err := bufio.NewReader(io.LimitReader(a.in, mostToken)).ReadString('\n')
	if text = strings.TrimRight(text, "\r\n"); text == "" {
		return "", usagef("there is no password on the standard input: %v", err)
	}
	return text, nil
}

// confirm asks for the word yes.
func (a asker) confirm(ctx context.Context, question string) error {
	if !terminal(a.in) {
		return usagef("there is no terminal to ask on: say --yes")
	}
	text, err := a.line(ctx, question+" Type yes to go on: ")
	if err != nil {
		return err
	}
	if !strings.EqualFold(text, "yes") {
		return &exitError{code: exitFailed, text: "Nothing was done."}
	}
	return nil
}
