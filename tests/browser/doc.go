// Package browser drives the dashboard of a real panel in Chromium, as a person would: the set-up door with its one-time
// link, then everything from "register" to "sign out" with real archives, builds and containers.
//
// The flows are the scripts beside the tests (playwright-core from ui/node_modules). This package builds the binary with
// the dashboard as the tree has it, runs it on ports and an engine of its own, and stops and starts it when a flow asks.
// Nothing of a page is looked up by a style or an id of the markup, only by what a person sees or hears.
package browser
