// Package cli is the client commands: pandu login, deploy, logs and the rest.
//
// It speaks only the API, through its generated client, from wherever a person or a pipeline sits. What a command is for
// goes to the standard output (an address, a table, JSON); what happens meanwhile goes to the standard error. It opens no
// database, reads no server's settings and decides nothing about projects: rules live behind the API. Text that comes from
// a server never reaches a terminal with its control characters.
package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
)

// Environment is what the commands know of where they run.
type Environment struct {
	Get      func(name string) string // the process's variables
	Hostname string                   // names the tokens that login makes
	Version  string
	Now      func() time.Time // nil: the clock
}

// Commands are the client commands, for the program's root.
func Commands(env Environment) []*cobra.Command {
	if env.Now == nil {
		env.Now = time.Now
	}
	c := &cli{env: env}
	list := []*cobra.Command{
		c.loginCommand(), c.logoutCommand(), c.whoamiCommand(), c.contextCommand(), c.projectsCommand(), c.deployCommand(), c.startCommand(), c.stopCommand(),
		c.restartCommand(), c.logsCommand(), c.psCommand(), c.statusCommand(), c.scaleCommand(), c.rollbackCommand(), c.releasesCommand(),
		c.deploymentsCommand(), c.cancelCommand(), c.retryCommand(), c.variablesCommand(), c.domainsCommand(), c.openCommand(), c.serversCommand(),
		c.tokensCommand(),
	}
	for _, command := range list {
		c.prepare(command)
	}
	return list
}

// cli is one invocation. Every command has the same flags; only one runs.
type cli struct {
	env   Environment
	flags globals
	once  bool // no second attempts
}

// globals are the flags of every client command.
type globals struct {
	context, url, token, project, environment, organization, output string
	json, noColor                                                   bool
}

// prepare gives a command what all have in common.
func (c *cli) prepare(command *cobra.Command) {
	f := command.PersistentFlags()
	f.StringVar(&c.flags.context, "context", "", "the context of pandu login to use")
	f.StringVar(&c.flags.url, "url", "", "address of the panel (PANDU_URL)")
	f.StringVar(&c.flags.token, "token", "", "API token; - reads it from the standard input (PANDU_TOKEN, PANDU_TOKEN_FILE)")
	f.StringVarP(&c.flags.project, "project", "p", "", "the project (PANDU_PROJECT); else the folder's name")
	f.StringVarP(&c.flags.environment, "environment", "e", "production", "the project's environment")
	f.StringVar(&c.flags.organization, "organization", "", "the organization, when there are several")
	f.StringVarP(&c.flags.output, "output", "o", "table", "how to print: table or json")
	f.BoolVar(&c.flags.json, "json", false, "print JSON, as -o json")
	f.BoolVar(&c.flags.noColor, "no-color", false, "print no colours (NO_COLOR)")
	command.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &exitError{code: exitUsage, text: err.Error()} })
	for name, values := range map[string]cobra.CompletionFunc{
		"project": c.completeProjects, "environment": c.completeEnvironments, "context": c.completeContexts,
		"output": cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp),
	} {
		_ = command.RegisterFlagCompletionFunc(name, values) // the flags exist, and once only
	}
}

// run makes a command of fn: signed in, with its errors explained.
func (c *cli) run(fn func(ctx context.Context, s *session, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return c.explain(cmd, s, err)
		}
		return c.explain(cmd, s, fn(cmd.Context(), s, args))
	}
}

// between wants so many arguments; most < 0: any number.
func between(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || most >= 0 && len(args) > most {
			return usagef("wrong number of arguments. Usage: %s", cmd.UseLine())
		}
		return nil
	}
}
