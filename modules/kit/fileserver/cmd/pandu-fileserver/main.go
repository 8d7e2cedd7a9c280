// Command pandu-fileserver serves a folder of pages on $PORT. It is the program in the images of static sites.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"pandu/modules/kit/fileserver"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := fileserver.Main(ctx, os.Args[1:], os.Getenv("PORT")); err != nil {
		fmt.Fprintln(os.Stderr, "pandu-fileserver:", err)
		stop()
		os.Exit(1)
	}
}
