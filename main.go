// Command pandu turns servers you own into your own cloud. One binary plays every role; WORKER_MODE chooses.
package main

import (
	"os"
	"runtime/debug"

	"pandu/app"
	"pandu/config"
	"pandu/modules/cli"
	"pandu/ui"
)

// version is set by the build: -ldflags "-X main.version=v1.2.3".
var version string

func main() {
	environment, hostname := config.Client()
	client := cli.Commands(cli.Environment{Get: environment, Hostname: hostname, Version: built()})
	os.Exit(app.Execute(app.Command(built(), ui.Handler(), client...)))
}

// built is the version of this binary: what the build said, else what the toolchain knows.
func built() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}
