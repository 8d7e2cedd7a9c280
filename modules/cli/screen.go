package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// screen is where a command's output goes: results to out, what happens meanwhile to err.
type screen struct {
	in                     io.Reader
	out, err               io.Writer
	outTerminal            bool
	errTerminal            bool
	json                   bool
	outColored, errColored bool
	width                  int // of the terminal behind err
}

func (c *cli) screen(cmd *cobra.Command) (*screen, error) {
	s := &screen{in: cmd.InOrStdin(), out: cmd.OutOrStdout(), err: cmd.ErrOrStderr(), json: c.flags.json || c.flags.output == "json", width: 80}
	if c.flags.output != "table" && c.flags.output != "json" {
		return s, usagef("-o is table or json, not %q", c.flags.output)
	}
	s.outTerminal, s.errTerminal = terminal(s.out), terminal(s.err)
	if f, ok := s.err.(*os.File); ok && s.errTerminal {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			s.width = w
		}
	}
	plain := c.flags.noColor || c.env.Get("NO_COLOR") != "" || c.env.Get("TERM") == "dumb"
	s.outColored, s.errColored = s.outTerminal && !plain, s.errTerminal && !plain
	return s, nil
}

func terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// say tells what happens, for people: nothing when JSON was asked for.
func (s *screen) say(format string, args ...any) {
	if !s.json {
		_, _ = fmt.Fprintf(s.err, format+"\n", args...) // a closed standard error changes nothing
	}
}

// line prints one line of the result.
func (s *screen) line(text string) error {
	_, err := fmt.Fprintln(s.out, text)
	return err
}

// print prints a result as JSON or as a table.
func (s *screen) print(value any, t *table) error {
	if s.json {
		return s.object(value)
	}
	return t.write(s.out, s.outColored)
}

// printFacts prints a result as JSON or as a table without a head: what, and how it is.
func (s *screen) printFacts(value any, t *table) error {
	t.bare = true
	return s.print(value, t)
}

// object prints a value as JSON.
func (s *screen) object(value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return s.raw(text)
}

// raw prints JSON that exists already.
func (s *screen) raw(text []byte) error {
	var b bytes.Buffer
	for _, r := range string(bytes.TrimSpace(text)) {
		if r != '\n' && harmful(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
			continue
		}
		b.WriteRune(r)
	}
	return s.line(b.String())
}

// The colours, as the numbers of ANSI escape sequences.
const (
	red, green, yellow, blue, magenta, cyan, grey = "31", "32", "33", "34", "35", "36", "90"
)

func paint(on bool, color, text string) string {
	if !on || color == "" || text == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// colorOf is the colour of a status or a state.
func colorOf(word string) string {
	switch word, _, _ = strings.Cut(word, ","); word {
	case "ready", "live", "completed", "running":
		return green
	case "failed", "gone", "quarantined":
		return red
	case "pending", "progress", "queued", "building", "releasing", "starting", "pulling", "restarting", "unready", "drifted", "stale", "unknown", "deleting":
		return yellow
	default:
		return ""
	}
}

// harmful are characters that do something to a terminal or to the order of what is read.
func harmful(r rune) bool {
	switch {
	case r < ' ' || r == 0x7f, r >= 0x80 && r < 0xa0:
		return true
	case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0x2028, r == 0x2029:
		return true
	}
	return false
}

// clean makes a server's text harmless for a terminal: colours go, tabs become spaces, what else is no text is shown as
// an escape.
func clean(text string) string {
	if !strings.ContainsFunc(text, harmful) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		if n := colorSequence(text[i:]); n > 0 {
			i += n
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		i += size
		switch {
		case r == '\t':
			b.WriteString("    ")
		case r == '\r' && (i == len(text) || text[i] == '\n'): // the end of a line from elsewhere
		case harmful(r) && r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case harmful(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// colorSequence is the length of a sequence at the beginning that only sets colours: ESC [ numbers m.
func colorSequence(text string) int {
	if !strings.HasPrefix(text, "\x1b[") {
		return 0
	}
	for i := 2; i < len(text) && i < 32; i++ {
		switch c := text[i]; {
		case c == 'm':
			return i + 1
		case (c < '0' || c > '9') && c != ';' && c != ':':
			return 0
		}
	}
	return 0
}
