package cli

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pandu/modules/cli/client"
	"pandu/modules/spec"
)

// mostToken bounds a token that is read from a file or the standard input, in bytes.
const mostToken = 4096

// session is a caller at a panel, and where its output goes.
type session struct {
	*screen
	cli         *cli
	client      *client.Client
	project     string
	guessed     bool // the project is the folder's name
	environment string
}

// target is where a command goes, and as whom.
type target struct {
	url, token, organization string
	context                  string // "" when flags or variables say everything
}

// connect finds panel and token: flags, then variables, then the context. The session is nil when the output is wrong.
func (c *cli) connect(cmd *cobra.Command) (*session, error) {
	out, err := c.screen(cmd)
	if err != nil {
		return nil, err
	}
	s := &session{screen: out, cli: c, environment: c.flags.environment}
	t, err := c.target(out.in)
	if err != nil {
		return s, err
	}
	if t.token == "" {
		return s, &exitError{code: exitSignIn, text: "You are not signed in at " + t.url + ".", hint: "Sign in: pandu login " + t.url}
	}
	if s.client, err = c.dial(t, out); err != nil {
		return s, usagef("%v", err)
	}
	s.project, s.guessed = c.projectName()
	return s, nil
}

func (c *cli) dial(t target, out *screen) (*client.Client, error) {
	return client.New(client.Options{
		URL: t.url, Token: t.token, Organization: t.organization, UserAgent: "pandu/" + c.env.Version, Once: c.once,
		Waiting: func(d time.Duration, why error) {
			out.say("%s Trying again in %s.", sentence(clean(why.Error())), d.Round(time.Second/10))
		},
	})
}

func (c *cli) target(stdin io.Reader) (target, error) {
	token, err := c.token(stdin)
	if err != nil {
		return target{}, err
	}
	t := target{url: cmp.Or(c.flags.url, c.env.Get("PANDU_URL")), token: token, organization: c.flags.organization}
	if t.url != "" && t.token != "" && c.flags.context == "" {
		return t, nil
	}
	file, err := c.readContexts()
	if err != nil {
		return t, err
	}
	known, ok := file.find(cmp.Or(c.flags.context, file.Current))
	if !ok {
		return t, missingContext(c.flags.context, t.url)
	}
	t.context, t.url = known.Name, cmp.Or(t.url, known.URL)
	// A token goes to the panel it was made for and nowhere else.
	if sameURL(t.url, known.URL) {
		t.token, t.organization = cmp.Or(t.token, known.Token), cmp.Or(t.organization, known.Organization)
	}
	return t, nil
}

func missingContext(asked, url string) error {
	if asked != "" {
		return &exitError{code: exitNotFound, text: fmt.Sprintf("There is no context %q.", asked), hint: "List them: pandu context"}
	}
	return &exitError{code: exitSignIn, text: "You are not signed in.", hint: "Sign in: pandu login " + cmp.Or(url, "https://YOUR-PANEL")}
}

func sameURL(a, b string) bool {
	x, err := client.ParseURL(a)
	if err != nil {
		return false
	}
	y, err := client.ParseURL(b)
	return err == nil && x.String() == y.String()
}

// token is what flag and variables say; empty when they say nothing.
func (c *cli) token(stdin io.Reader) (string, error) {
	switch {
	case c.flags.token == "-":
		return readToken(stdin, "the standard input")
	case c.flags.token != "":
		return c.flags.token, nil
	case c.env.Get("PANDU_TOKEN") != "":
		return c.env.Get("PANDU_TOKEN"), nil
	case c.env.Get("PANDU_TOKEN_FILE") != "":
		f, err := os.Open(c.env.Get("PANDU_TOKEN_FILE"))
		if err != nil {
			return "", usagef("PANDU_TOKEN_FILE: %v", err)
		}
		defer func() { _ = f.Close() }() // read only
		return readToken(f, "PANDU_TOKEN_FILE")
	}
	return "", nil
}

func readToken(r io.Reader, where string) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, mostToken)).ReadString('\n')
	if token := strings.TrimSpace(line); token != "" && (err == nil || errors.Is(err, io.EOF)) {
		return token, nil
	}
	return "", usagef("there is no token in %s", where)
}

// projectName is the project of this call, and whether it was guessed from the folder.
func (c *cli) projectName() (string, bool) {
	if name := cmp.Or(c.flags.project, c.env.Get("PANDU_PROJECT")); name != "" {
		return name, false
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", true
	}
	return spec.SuggestSlug(filepath.Base(dir)), true
}
