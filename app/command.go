package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pandu/config"
	"pandu/jobs"
	"pandu/modules/kit/fileserver"
)

// Command is the program's command line. UI is the dashboard; more are commands that live elsewhere: the client's.
func Command(version string, ui http.Handler, more ...*cobra.Command) *cobra.Command {
	root := &cobra.Command{
		Use: "pandu", Short: "Turn servers you own into your own cloud: give it code, get a URL.",
		Version: version, SilenceUsage: true, SilenceErrors: true,
	}
	root.SetVersionTemplate("pandu {{.Version}}\n")
	root.AddCommand(serveCommand(version, ui), migrateCommand(), configCommand(), healthcheckCommand(), versionCommand(version), fileserverCommand(), openAPICommand(), adminCommand())
	root.AddCommand(more...)
	return root
}

// Execute runs the command line and returns the exit status. The first SIGINT or SIGTERM ends ctx; the second ends the
// process at once.
func Execute(root *cobra.Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // from now on a signal does what it does by default
	if err := root.ExecuteContext(ctx); err != nil {
		_, _ = fmt.Fprintln(root.ErrOrStderr(), "pandu:", err)
		return exitStatus(err)
	}
	return 0
}

// exitStatus lets a command choose its status; 1 otherwise.
func exitStatus(err error) int {
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		return coded.ExitCode()
	}
	return 1
}

func serveCommand(version string, ui http.Handler) *cobra.Command {
	return &cobra.Command{
		Use: "serve", Short: "Run this process by WORKER_MODE: everything when it is empty", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(config.This())
			if err != nil {
				return err
			}
			return Run(cmd.Context(), cfg, Options{Version: version, Log: NewLog(os.Stderr, cfg.Log), UI: ui})
		},
	}
}

func migrateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "migrate", Short: "Bring the database to this version's schema", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(config.This())
			if err != nil {
				return err
			}
			_, done, err := OpenDatabase(cmd.Context(), cfg, NewLog(os.Stderr, cfg.Log))
			if err != nil {
				return err
			}
			return done()
		},
	}
}

func configCommand() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Look at the settings"}
	c.AddCommand(configPrintCommand(), &cobra.Command{
		Use: "check", Short: "Say whether the settings are right", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(config.This())
			if err != nil {
				return err
			}
			if _, err := New(cfg, Options{}); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "the settings are right")
			return err
		},
	}, &cobra.Command{
		Use: "words", Short: "List what WORKER_MODE knows", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, w := range words(jobs.Keys()) {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), w); err != nil {
					return err
				}
			}
			return nil
		},
	})
	return c
}

func configPrintCommand() *cobra.Command {
	var asJSON, changed bool
	c := &cobra.Command{
		Use: "print", Short: "Show every setting and where it comes from; secrets stay hidden", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(config.This())
			if err != nil {
				return err
			}
			if asJSON {
				return config.PrintJSON(cmd.OutOrStdout(), cfg.List(changed))
			}
			return config.PrintYAML(cmd.OutOrStdout(), cfg.List(changed))
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&changed, "changed", false, "only what differs from the defaults")
	return c
}

func versionCommand(version string) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "pandu", version)
			return err
		},
	}
}

// healthcheckCommand is what a container's HEALTHCHECK runs: there is no curl in the image.
func healthcheckCommand() *cobra.Command {
	return &cobra.Command{
		Use: "healthcheck", Short: "Ask the process on this machine whether it is ready", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(config.This())
			if err != nil {
				return err
			}
			if cfg.Ops.Listen == "" {
				return errors.New("there is no ops port: set PANDU_OPS_LISTEN")
			}
			return askReady(cmd.Context(), cfg.Ops.Listen)
		},
	}
}

func askReady(ctx context.Context, listen string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+reachable(listen)+"/readyz", nil)
	if err != nil {
		return err
	}
	res, err := (&http.Client{Timeout: 5 * time.Second}).Do(r)
	if err != nil {
		return fmt.Errorf("ask whether the process is ready: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10)) // the status says enough
		return fmt.Errorf("not ready: %s", why)
	}
	return nil
}

// reachable is a listen address as somebody on the same machine dials it.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// fileserverCommand is what runs inside the image of a static site.
func fileserverCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "fileserver", Short: "Serve the files of a directory over HTTP on PORT", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return fileserver.Main(cmd.Context(), []string{"--dir", dir}, config.This().Port())
		},
	}
	c.Flags().StringVar(&dir, "dir", "/site", "directory with the files")
	return c
}
