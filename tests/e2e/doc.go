// Package e2e holds the scenarios that a person would try by hand: the real binary in real processes, a real Docker
// Engine, a real PostgreSQL, a real gateway, driven over the HTTP API and looked at as a visitor does.
//
// The package has tests only. Everything a test starts lives below one temporary directory and ends with it: what a
// killed run left is ended by the next one. The engine is always its own, because some scenarios restart it.
package e2e
