package app

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"pandu/config"
	"pandu/modules/kit/secret"
	"pandu/modules/manager/deployments"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/projects"
	"pandu/modules/manager/servers"
)

// Described is what the doors say of themselves.
type Described struct {
	OpenAPI []byte   // JSON, OpenAPI 3.1
	Routes  []string // METHOD PATH PERMISSION, for routes.golden
}

// Describe declares every door without anything behind it and returns what they say of themselves. No database is opened.
func Describe(version string) (Described, error) {
	cfg := config.Default()
	cfg.PublicURL = "http://localhost:8080"
	p := &Process{cfg: &cfg, version: version, log: slog.New(slog.DiscardHandler)}
	var err error
	p.rooms.identity, err = identity.New(identity.Deps{MasterKey: secret.NewKey(), PublicURL: cfg.PublicURL, Log: p.log})
	if err != nil {
		return Described{}, err
	}
	p.rooms.servers = servers.New(servers.Deps{})
	p.rooms.projects = projects.New(projects.Deps{})
	p.rooms.deployments = deployments.New(deployments.Deps{})
	doors, err := p.declare(NewPanel(&cfg, p.log))
	if err != nil {
		return Described{}, err
	}
	text, _, err := doors.OpenAPI()
	return Described{OpenAPI: text, Routes: doors.Golden()}, err
}

func openAPICommand() *cobra.Command {
	var routes bool
	c := &cobra.Command{
		Use: "openapi", Short: "Print the API's OpenAPI text, or every route with who may pass", Args: cobra.NoArgs, Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := Describe("0.0.0") // not this binary's: the text shall not change with every build
			if err != nil {
				return err
			}
			if routes {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), strings.Join(d.Routes, "\n"))
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), string(d.OpenAPI))
			return err
		},
	}
	c.Flags().BoolVar(&routes, "routes", false, "print METHOD PATH PERMISSION lines instead")
	return c
}
