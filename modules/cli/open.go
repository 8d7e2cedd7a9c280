package cli

import (
	"context"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"pandu/modules/kit/run"
)

// openers are the programs that open an address on a desktop.
var openers = []string{"/usr/bin/xdg-open", "/usr/local/bin/xdg-open", "/usr/bin/open"}

// desktop are the variables that such a program needs.
var desktop = []string{"DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_RUNTIME_DIR", "XDG_CURRENT_DESKTOP", "XDG_DATA_DIRS", "DBUS_SESSION_BUS_ADDRESS", "HOME", "PATH", "BROWSER"}

func (c *cli) openCommand() *cobra.Command {
	return &cobra.Command{
		Use: "open", Short: "Print a project's address, and open it where there is a desktop", Args: between(0, 0),
		RunE: c.run(func(ctx context.Context, s *session, _ []string) error {
			e, err := s.client.GetEnvironment(ctx, s.project, s.environment)
			if err != nil {
				return err
			}
			if len(e.URLs) == 0 {
				return &exitError{code: exitNotFound, text: s.project + " has no address yet.", hint: "Deploy something: pandu deploy --project " + s.project}
			}
			if s.json {
				return s.object(map[string]string{"url": e.URLs[0]})
			}
			if err := s.line(clean(e.URLs[0])); err != nil {
				return err
			}
			return s.browse(ctx, e.URLs[0])
		}),
	}
}

// browse opens an address when somebody sits here. The panel says the address, so it is judged before a program gets it.
func (s *session) browse(ctx context.Context, address string) error {
	if !s.outTerminal || s.cli.env.Get("DISPLAY") == "" && s.cli.env.Get("WAYLAND_DISPLAY") == "" {
		return nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return &exitError{code: exitFailed, text: "The panel gave an address that is none: " + clean(address)}
	}
	for _, program := range openers {
		if info, err := os.Stat(program); err != nil || info.IsDir() {
			continue
		}
		var environment []string
		for _, name := range desktop {
			if value := s.cli.env.Get(name); value != "" {
				environment = append(environment, name+"="+value)
			}
		}
		_, err := run.Start(run.Command{Path: program, UserArgs: []string{u.String()}, Env: environment, Detached: true})
		return err
	}
	return ctx.Err()
}
