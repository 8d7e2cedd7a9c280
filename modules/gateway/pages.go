package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

// page is what a visitor sees instead of the site. No page names anything of the inside.
type page int

const (
	stoppedPage page = iota
	startingPage
	notReadyPage
	timeoutPage
	brokenPage
)

func (p page) content() (status int, title, text string) {
	switch p {
	case stoppedPage:
		return http.StatusServiceUnavailable, "This site is stopped", "Its owner has stopped it. It can be started again at any time."
	case startingPage:
		return http.StatusServiceUnavailable, "This site is starting", "It is being set up for the first time. Try again in a moment."
	case notReadyPage:
		return http.StatusServiceUnavailable, "This site is not ready", "It cannot answer at the moment. Try again in a moment."
	case timeoutPage:
		return http.StatusGatewayTimeout, "This site takes too long", "It did not answer in time. Try again later."
	default:
		return http.StatusBadGateway, "This site does not answer", "It broke the connection without an answer. Try again in a moment."
	}
}

const pageFormat = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>%[1]s</title>
<style>body{font:1rem/1.5 system-ui,sans-serif;margin:20vh auto;max-width:32rem;padding:0 1rem;color-scheme:light dark}</style>
</head><body><h1>%[1]s</h1><p>%[2]s</p></body></html>
`

// showPage answers with HTML where the client asks for it, else with one line of text.
func showPage(w http.ResponseWriter, r *http.Request, p page) {
	status, title, text := p.content()
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		refuse(w, status, title+". "+text)
		return
	}
	begin(w, "text/html; charset=utf-8", status)
	fmt.Fprintf(w, pageFormat, title, text)
}

// refuse answers with one line of text.
func refuse(w http.ResponseWriter, status int, text string) {
	begin(w, "text/plain; charset=utf-8", status)
	_, _ = io.WriteString(w, text+"\n") // a client that left is no error of ours
}

func begin(w http.ResponseWriter, kind string, status int) {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
}
