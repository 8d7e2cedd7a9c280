package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"pandu/config"
	"pandu/modules/agent"
	"pandu/modules/kit/fault"
	"pandu/modules/manager/audit"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/servers"
)

// adminCommand holds what the operator of an installation does beside the API, on a machine that has its settings.
func adminCommand() *cobra.Command {
	c := &cobra.Command{Use: "admin", Short: "Look after this installation, from a machine that has its settings"}
	c.AddCommand(setupLinkCommand(), bootstrapTokenCommand(), joinTokenCommand(), acceptHistoryCommand(), stopGatewayCommand())
	return c
}

func setupLinkCommand() *cobra.Command {
	return &cobra.Command{
		Use: "setup-link", Short: "Print the one-time link that makes the first administrator; nothing when there is one", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withRooms(cmd.Context(), func(ctx context.Context, r adminRooms) error {
				link, pending, err := r.identity.SetupLink(ctx)
				if err != nil || !pending {
					return err
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), link)
				return err
			})
		},
	}
}

func bootstrapTokenCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "token", Short: "Write an API token of the organization default to a file that only its owner can read", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withRooms(cmd.Context(), func(ctx context.Context, r adminRooms) error {
				token, err := r.identity.EnsureBootstrapToken(ctx)
				if err != nil {
					return err
				}
				return writePrivate(file, token)
			})
		},
	}
	c.Flags().StringVar(&file, "file", "", "where to write the token")
	_ = c.MarkFlagRequired("file") // the flag exists
	return c
}

func joinTokenCommand() *cobra.Command {
	var name, file string
	c := &cobra.Command{
		Use: "join-token", Short: "Make a token that joins a server, new or known by its name; valid once and for 30 minutes", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withRooms(cmd.Context(), func(ctx context.Context, r adminRooms) error {
				actor := identity.System(uuid.Nil, "command line")
				_, token, err := r.servers.Add(ctx, actor, name)
				if fault.KindOf(err) == fault.Conflict {
					token, err = r.servers.Rejoin(ctx, actor, name)
				}
				if err != nil {
					return err
				}
				if file != "" {
					return writePrivate(file, token.Encode())
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), token.Encode())
				return err
			})
		},
	}
	c.Flags().StringVar(&name, "server", "", "the server's name")
	c.Flags().StringVar(&file, "file", "", "write the token there, readable by its owner only, instead of printing it")
	_ = c.MarkFlagRequired("server") // the flag exists
	return c
}

func acceptHistoryCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "accept-history",
		Short: "After restoring a backup: take what the database holds for the truth, and let the servers that wait for this go on",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withRooms(cmd.Context(), func(ctx context.Context, r adminRooms) error {
				names, err := r.servers.AcceptHistory(ctx, identity.System(uuid.Nil, "command line"))
				if err != nil {
					return err
				}
				if len(names) == 0 {
					_, err = fmt.Fprintln(cmd.OutOrStdout(), "no server waits for this")
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "accepted; these go on when they connect again: %s\n", strings.Join(names, ", "))
				return err
			})
		},
	}
}

func stopGatewayCommand() *cobra.Command {
	return &cobra.Command{
		Use: "stop-gateway", Short: "Stop the gateway of this machine, which otherwise outlives everything: its sites go down", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(config.This())
			if err != nil {
				return err
			}
			pid, err := agent.StopGateway(cmd.Context(), cfg.Gateway.Dir)
			if err != nil {
				return err
			}
			if pid == 0 {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), "no gateway runs")
			} else {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "gateway %d stopped\n", pid)
			}
			return err
		},
	}
}

// writePrivate writes a file that is whole or not there, readable by its owner only.
func writePrivate(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".pandu-*") // made with 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.WriteString(text + "\n")
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return nil
}

type adminRooms struct {
	identity *identity.Service
	servers  *servers.Service
}

// withRooms runs fn with the rooms that commands need, on the database of the settings.
func withRooms(ctx context.Context, fn func(ctx context.Context, r adminRooms) error) error {
	cfg, err := config.Load(config.This())
	if err != nil {
		return err
	}
	log := NewLog(os.Stderr, cfg.Log)
	db, done, err := OpenDatabase(ctx, cfg, log)
	if err != nil {
		return err
	}
	p := &Process{cfg: cfg, log: log, db: db}
	key, err := p.readMasterKey()
	if err != nil {
		return errors.Join(err, done())
	}
	var r adminRooms
	r.identity, err = identity.New(identity.Deps{
		DB: db, Audit: audit.New(db), Log: log, MasterKey: key, PublicURL: cfg.PublicURL,
		Registration: identity.Registration(cfg.Registration), Now: time.Now,
	})
	if err == nil {
		err = r.identity.Prepare(ctx)
	}
	if err != nil {
		return errors.Join(err, done())
	}
	r.servers = servers.New(servers.Deps{DB: db, Log: log, Authority: r.identity.CA})
	return errors.Join(fn(ctx, r), done())
}
