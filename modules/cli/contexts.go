package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// mostContexts bounds the file of contexts, in bytes.
const mostContexts = 1 << 20

// contexts is the file in which login keeps its tokens.
type contexts struct {
	Current  string  `yaml:"current"`
	Contexts []login `yaml:"contexts"`
}

// login is one panel and who we are there.
type login struct {
	Name         string `yaml:"name"`
	URL          string `yaml:"url"`
	Token        string `yaml:"token"`
	TokenID      string `yaml:"token_id,omitempty"` // of a token that login made: logout ends it
	Organization string `yaml:"organization,omitempty"`
}

func (f contexts) find(name string) (login, bool) {
	i := slices.IndexFunc(f.Contexts, func(l login) bool { return l.Name == name })
	if i < 0 || name == "" {
		return login{}, false
	}
	return f.Contexts[i], true
}

// put adds a login, or replaces the one of its name.
func (f *contexts) put(l login) {
	f.drop(l.Name)
	f.Contexts = append(f.Contexts, l)
}

func (f *contexts) drop(name string) {
	f.Contexts = slices.DeleteFunc(f.Contexts, func(l login) bool { return l.Name == name })
}

// contextsPath is where the file lies: $XDG_CONFIG_HOME/pandu/config.yaml.
func (c *cli) contextsPath() (string, error) {
	if dir := c.env.Get("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "pandu", "config.yaml"), nil
	}
	if home := c.env.Get("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".config", "pandu", "config.yaml"), nil
	}
	return "", usagef("there is no place for tokens: set XDG_CONFIG_HOME or HOME, or give --url and --token")
}

// readContexts reads the file; one that does not exist is empty. One that others can read is refused: it holds tokens.
func (c *cli) readContexts() (contexts, error) {
	var file contexts
	path, err := c.contextsPath()
	if err != nil {
		return file, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return file, nil
	}
	if err != nil {
		return file, fmt.Errorf("open contexts: %w", err)
	}
	defer func() { _ = f.Close() }() // read only
	info, err := f.Stat()
	if err != nil {
		return file, fmt.Errorf("open contexts: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return file, &exitError{code: exitFailed, text: path + " holds tokens, and others can read it.", hint: "Close it: chmod 600 " + path}
	}
	text, err := io.ReadAll(io.LimitReader(f, mostContexts))
	if err != nil {
		return file, fmt.Errorf("read contexts: %w", err)
	}
	known := yaml.NewDecoder(bytes.NewReader(text))
	known.KnownFields(true)
	if err := known.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return file, fmt.Errorf("read %s: %w", path, err)
	}
	return file, nil
}

// writeContexts replaces the file at once; only its owner can read it.
func (c *cli) writeContexts(file contexts) error {
	path, err := c.contextsPath()
	if err != nil {
		return err
	}
	text, err := yaml.Marshal(file)
	if err != nil {
		return fmt.Errorf("write contexts: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write contexts: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".config-*") // made with 0600
	if err != nil {
		return fmt.Errorf("write contexts: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write contexts: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

func (c *cli) contextCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "context", Aliases: []string{"contexts"}, Short: "List the panels you are signed in at, or choose one", Args: between(0, 0),
		RunE: c.offline(func(_ context.Context, s *session, _ []string) error {
			file, err := c.readContexts()
			if err != nil {
				return err
			}
			return s.contexts(file)
		}),
	}
	list.AddCommand(&cobra.Command{
		Use: "use NAME", Short: "Make a context the current one", Args: between(1, 1), ValidArgsFunction: c.completeContexts,
		RunE: c.offline(func(_ context.Context, s *session, args []string) error {
			file, err := c.readContexts()
			if err != nil {
				return err
			}
			l, ok := file.find(args[0])
			if !ok {
				return missingContext(args[0], "")
			}
			file.Current = l.Name
			s.say("Commands go to %s now.", l.URL)
			return c.writeContexts(file)
		}),
	})
	return list
}

// contexts prints the contexts without their tokens.
func (s *session) contexts(file contexts) error {
	type shown struct {
		Name         string `json:"name"`
		URL          string `json:"url"`
		Organization string `json:"organization,omitempty"`
		Current      bool   `json:"current"`
	}
	all, t := []shown{}, newTable("CURRENT", "NAME", "URL", "ORGANIZATION")
	for _, l := range file.Contexts {
		mark := map[bool]string{true: "*"}[l.Name == file.Current]
		all = append(all, shown{l.Name, l.URL, l.Organization, mark != ""})
		t.add(mark, l.Name, l.URL, l.Organization)
	}
	return s.print(all, t)
}

// offline makes a command of fn that needs no panel.
func (c *cli) offline(fn func(ctx context.Context, s *session, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		out, err := c.screen(cmd)
		s := &session{screen: out, cli: c, environment: c.flags.environment}
		if err == nil {
			err = fn(cmd.Context(), s, args)
		}
		return c.explain(cmd, s, err)
	}
}
