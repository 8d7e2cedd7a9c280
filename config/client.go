package config

import "os"

// Client is what the client commands may know of where they run. They have no settings of the server's.
func Client() (environment func(name string) string, hostname string) {
	name, err := os.Hostname()
	if err != nil {
		name = "this machine"
	}
	return os.Getenv, name
}
