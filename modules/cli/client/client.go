// Package client speaks Pandu's API for the command line: typed calls made from the API's description, event streams that
// resume, and uploads.
//
// It waits and tries again only where that can do no harm, sends its token to the address it was made for and nowhere
// else, and follows no redirect. It prints nothing and reads no settings.
package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strconv"
	"strings"
	"time"
)

//go:generate go run pandu/modules/cli/internal/gen/cmd/gen ../../../docs/openapi.json client_gen.go

// Prefix is where the API lies below the panel's address.
const Prefix = "/api/v1"

const (
	callTimeout = 30 * time.Second // one attempt of a call with JSON
	dialTimeout = 10 * time.Second
)

// Options are what a client is made of.
type Options struct {
	URL          string // of the panel: http or https, a host, perhaps a port and a path
	Token        string // API token; empty: none, only for what needs none
	Organization string // id or slug; empty: the caller's only or oldest
	UserAgent    string
	Once         bool                                             // try once only: somebody waits and nothing is lost
	Wait         func(ctx context.Context, d time.Duration) error // before another attempt; nil: by the clock
	Waiting      func(d time.Duration, why error)                 // told before each wait; nil: nobody
}

// Client is one caller at one panel. It may be used by several goroutines.
type Client struct {
	base *url.URL
	http *http.Client
	o    Options
}

// New makes a client. Its error says what is wrong with the address.
func New(o Options) (*Client, error) {
	base, err := ParseURL(o.URL)
	if err != nil {
		return nil, err
	}
	if o.Wait == nil {
		o.Wait = sleep
	}
	if o.Waiting == nil {
		o.Waiting = func(time.Duration, error) {}
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, fmt.Errorf("make cookie jar: %w", err)
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext, TLSHandshakeTimeout: dialTimeout,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true, MaxIdleConns: 8, IdleConnTimeout: time.Minute,
	}
	return &Client{base: base, o: o, http: &http.Client{
		Transport: transport, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// ParseURL judges the address of a panel: an absolute http or https URL without user, query and fragment. A missing
// scheme is https, except for this machine.
func ParseURL(text string) (*url.URL, error) {
	text = strings.TrimSpace(text)
	if text != "" && !strings.Contains(text, "://") {
		scheme := "https://"
		if host, _, _ := strings.Cut(text, ":"); host == "localhost" || host == "127.0.0.1" {
			scheme = "http://"
		}
		text = scheme + text
	}
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("%q is no address of a panel: it looks like https://panel.example.com", text)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("the address of a panel has no user, query or fragment: %s", u.Redacted())
	}
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), Prefix)
	return u, nil
}

// URL is the panel's address.
func (c *Client) URL() string { return c.base.String() }

// request is one call before it is sent.
type request struct {
	method, path string
	query        url.Values
	body         any  // sent as JSON; nil: none
	keyed        bool // honours Idempotency-Key
}

// build makes the HTTP request of one attempt.
func (c *Client) build(ctx context.Context, r request) (*http.Request, error) {
	address := c.base.String() + Prefix + r.path
	if len(r.query) > 0 {
		address += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, address, nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Accept", "application/json, application/problem+json")
	if c.o.UserAgent != "" {
		req.Header.Set("User-Agent", c.o.UserAgent)
	}
	if c.o.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.o.Token)
	}
	if c.o.Organization != "" {
		req.Header.Set("Pandu-Organization", c.o.Organization)
	}
	return req, nil
}

// segment is a value as one part of a path.
func segment(value string) string {
	if value == "." || value == ".." { // a client would resolve them
		return strings.ReplaceAll(value, ".", "%2E")
	}
	return url.PathEscape(value)
}

func setText(v url.Values, name, value string) {
	if value != "" {
		v.Set(name, value)
	}
}

func setNumber(v url.Values, name string, value *int64) {
	if value != nil {
		v.Set(name, strconv.FormatInt(*value, 10))
	}
}

func setFlag(v url.Values, name string, value *bool) {
	if value != nil {
		v.Set(name, strconv.FormatBool(*value))
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
