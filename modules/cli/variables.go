package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"pandu/modules/cli/client"
)

// mostVariables bounds a file of variables, in bytes.
const mostVariables = 8 << 20

func (c *cli) variablesCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "variables", Aliases: []string{"vars"}, Short: "List, set and remove variables; values cannot be read back", Args: between(0, 0),
		RunE: c.run(func(ctx context.Context, s *session, _ []string) error {
			all, err := s.client.ListVariables(ctx, s.project, s.environment)
			if err != nil {
				return err
			}
			t := newTable("NAME", "BUILD", "CHANGED")
			for _, v := range all.Items {
				t.add(v.Name, map[bool]string{true: "yes", false: "no"}[v.Build], age(c.env.Now(), v.UpdatedAt)+" ago")
			}
			return s.print(all, t)
		}),
	}
	list.AddCommand(c.setVariablesCommand(), c.unsetVariablesCommand())
	return list
}

type variableFlags struct {
	build, noApply, detach bool
	file                   string
}

func (c *cli) setVariablesCommand() *cobra.Command {
	var f variableFlags
	command := &cobra.Command{
		Use: "set [NAME=VALUE ...]", Short: "Set variables and roll them out", Args: between(0, -1),
		Example: "  pandu variables set LOG_LEVEL=debug\n  pandu variables set --file .env\n  secret-tool print | pandu variables set --file -",
		RunE: c.run(func(ctx context.Context, s *session, args []string) error {
			set, err := s.assignments(args, f)
			if err != nil {
				return err
			}
			return s.changeVariables(ctx, client.ChangeVariablesRequest{Set: set}, f)
		}),
	}
	command.Flags().BoolVar(&f.build, "build", false, "hand them to builds too, as secrets")
	command.Flags().StringVar(&f.file, "file", "", "read NAME=VALUE lines from a file; - is the standard input")
	applyFlags(command, &f)
	return command
}

func (c *cli) unsetVariablesCommand() *cobra.Command {
	var f variableFlags
	command := &cobra.Command{
		Use: "unset NAME ...", Short: "Remove variables and roll that out", Args: between(1, -1), ValidArgsFunction: c.completeVariables,
		RunE: c.run(func(ctx context.Context, s *session, args []string) error {
			return s.changeVariables(ctx, client.ChangeVariablesRequest{Unset: args}, f)
		}),
	}
	applyFlags(command, &f)
	return command
}

func applyFlags(command *cobra.Command, f *variableFlags) {
	command.Flags().BoolVar(&f.noApply, "no-apply", false, "keep them for the next deployment instead of rolling them out now")
	detachFlag(command, &f.detach)
}

func (s *session) changeVariables(ctx context.Context, change client.ChangeVariablesRequest, f variableFlags) error {
	if f.noApply {
		change.Apply = new(false)
	}
	done, err := s.client.ChangeVariables(ctx, s.project, s.environment, change)
	if err != nil {
		return err
	}
	if done.Deployment != nil {
		return s.conclude(ctx, *done.Deployment, f.detach)
	}
	if s.json {
		return s.object(done)
	}
	s.say("Kept; the next deployment has them.")
	return nil
}

// assignments are the variables of arguments and file.
func (s *session) assignments(args []string, f variableFlags) ([]client.SetVariable, error) {
	lines := args
	if f.file != "" {
		more, err := s.variableLines(f.file)
		if err != nil {
			return nil, err
		}
		lines = append(more, args...)
	}
	if len(lines) == 0 {
		return nil, usagef("name at least one variable: pandu variables set NAME=VALUE, or --file .env")
	}
	var set []client.SetVariable
	at := map[string]int{}
	for _, line := range lines {
		name, value, found := strings.Cut(line, "=")
		if !found || name == "" {
			return nil, usagef("%q is not NAME=VALUE", strings.TrimSpace(name)) // what follows may be a secret
		}
		v := client.SetVariable{Name: name, Value: value}
		if f.build {
			v.Build = new(true)
		}
		if i, twice := at[name]; twice { // what comes later counts: arguments over the file
			set[i] = v
			continue
		}
		at[name] = len(set)
		set = append(set, v)
	}
	return set, nil
}

func (s *session) variableLines(file string) ([]string, error) {
	in := s.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, usagef("%v", err)
		}
		defer func() { _ = f.Close() }() // read only
		in = f
	}
	return parseVariables(io.LimitReader(in, mostVariables))
}

var errQuote = errors.New("the quotation mark is not closed")

// parseVariables reads a file of NAME=VALUE lines: empty lines and # comments are skipped, "export " too, a value may stand
// in quotation marks, "double" with \n, \", \\ in it and 'single' as it is.
func parseVariables(r io.Reader) ([]string, error) {
	var list []string
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(strings.TrimPrefix(lines.Text(), "\ufeff"))
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, found := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		if !found {
			return nil, usagef("line %d is not NAME=VALUE", n)
		}
		value, err := unquote(strings.TrimSpace(value))
		if err != nil {
			return nil, usagef("line %d, %s: %v", n, strings.TrimSpace(name), err)
		}
		list = append(list, strings.TrimSpace(name)+"="+value)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read variables: %w", err)
	}
	return list, nil
}

func unquote(value string) (string, error) {
	if value == "" || value[0] != '"' && value[0] != '\'' {
		if i := strings.Index(value, " #"); i >= 0 {
			value = strings.TrimSpace(value[:i])
		}
		return value, nil
	}
	var b strings.Builder
	for i := 1; i < len(value); i++ {
		switch c := value[i]; {
		case c == value[0]:
			if rest := strings.TrimSpace(value[i+1:]); rest != "" && rest[0] != '#' {
				return "", errQuote
			}
			return b.String(), nil
		case c == '\\' && value[0] == '"' && i+1 < len(value):
			i++
			b.WriteString(map[byte]string{'n': "\n", 't': "\t", 'r': "\r"}[value[i]])
			if !strings.ContainsRune("ntr", rune(value[i])) {
				b.WriteByte(value[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", errQuote
}

func (c *cli) completeVariables(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return c.complete(func(ctx context.Context, s *session) (names []string, err error) {
		all, err := s.client.ListVariables(ctx, s.project, s.environment)
		for _, v := range all.Items {
			names = append(names, v.Name)
		}
		return names, err
	})(cmd, args, typed)
}
