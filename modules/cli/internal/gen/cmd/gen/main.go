// Command gen writes the command line's client from the API's description: gen OPENAPI.json CLIENT.go.
package main

import (
	"fmt"
	"os"

	"pandu/modules/cli/internal/gen"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: gen OPENAPI.json CLIENT.go")
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	source, err := gen.Generate(text)
	if err != nil {
		return err
	}
	return os.WriteFile(args[1], source, 0o644) //nolint:gosec // source code, for everybody to read
}
