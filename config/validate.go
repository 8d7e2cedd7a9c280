package config

import (
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"pandu/modules/kit/secret"
)

// minPassword is the fewest characters of the first administrator's password.
const minPassword = 12

var dnsName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// validate checks every setting and how they fit together. Each line of its error says what to do.
func (c *Config) validate() error {
	return errors.Join(
		c.validateData(), c.validateNames(), c.validateAdmin(), c.validateListen(), c.validateAgent(),
		oneOf("registration", c.Registration, "open", "invite", "closed"),
		oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error"),
		oneOf("log.format", c.Log.Format, "auto", "text", "json"),
		between("drain.delay", c.Drain.Delay, 0, time.Minute),
		between("drain.timeout", c.Drain.Timeout, time.Second, 10*time.Minute),
	)
}

func (c *Config) validateData() error {
	var errs []error
	if c.DataDir == "" {
		errs = append(errs, errors.New("data_dir: this user has no home directory: set PANDU_DATA_DIR"))
	} else if !filepath.IsAbs(c.DataDir) {
		errs = append(errs, fmt.Errorf("data_dir: %q is not an absolute path", c.DataDir))
	}
	if url := c.DatabaseURL.Reveal(); url != "" {
		if _, err := pgxpool.ParseConfig(url); err != nil {
			// The driver's error may quote parts of the text, and the password with it.
			errs = append(errs, errors.New("database_url: not a PostgreSQL address: write postgres://user:password@host:5432/name, with special characters of the password percent-encoded"))
		}
	}
	if key := c.MasterKey.Reveal(); key != "" {
		if _, err := secret.ParseKey(key); err != nil {
			errs = append(errs, fmt.Errorf("master_key: %w", err))
		}
	}
	return errors.Join(errs...)
}

// validateNames keeps the panel's cookies away from tenants' sites: a site must never be a parent, a child or a
// sibling by the same name of the panel's host.
func (c *Config) validateNames() error {
	var errs []error
	u, err := url.Parse(c.PublicURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		errs = append(errs, fmt.Errorf("public_url: %q is not of the form https://panel.example.com", c.PublicURL))
	}
	if !dnsName.MatchString(c.AppsDomain) || len(c.AppsDomain) > 190 {
		errs = append(errs, fmt.Errorf("apps_domain: %q is not a domain in lower case such as apps.example.com", c.AppsDomain))
	}
	host := strings.ToLower(strings.TrimSuffix(hostOf(c.PublicURL), "."))
	if c.AppsDomain != "localhost" && overlap(host, c.AppsDomain) {
		errs = append(errs, fmt.Errorf("public_url and apps_domain: %s and %s contain each other, so a site could take the panel's cookies: "+
			"give the sites a domain of their own, for example sites-%s", host, c.AppsDomain, strings.TrimPrefix(host, "www.")))
	}
	return errors.Join(errs...)
}

func overlap(a, b string) bool {
	return a == b || strings.HasSuffix(a, "."+b) || strings.HasSuffix(b, "."+a)
}

func (c *Config) validateAdmin() error {
	if (c.Admin.Email == "") != c.Admin.Password.IsZero() {
		return errors.New("admin: set both PANDU_ADMIN_EMAIL and PANDU_ADMIN_PASSWORD, or none")
	}
	if c.Admin.Email == "" {
		return nil
	}
	var errs []error
	if a, err := mail.ParseAddress(c.Admin.Email); err != nil || a.Address != c.Admin.Email {
		errs = append(errs, fmt.Errorf("admin.email: %q is not an e-mail address", c.Admin.Email))
	}
	if len([]rune(c.Admin.Password.Reveal())) < minPassword {
		errs = append(errs, fmt.Errorf("admin.password: at least %d characters", minPassword))
	}
	return errors.Join(errs...)
}

func (c *Config) validateListen() error {
	listen := []struct{ key, address string }{
		{"panel.listen", c.Panel.Listen}, {"agents.listen", c.Agents.Listen}, {"gateway.http_listen", c.Gateway.HTTPListen}, {"ops.listen", c.Ops.Listen},
	}
	var errs []error
	taken := map[string]string{}
	for _, l := range listen {
		if l.key == "ops.listen" && l.address == "" {
			continue
		}
		port, err := checkAddress(l.key, l.address, false)
		errs = append(errs, err)
		if other := taken[port]; err == nil && port != "0" && other != "" {
			errs = append(errs, fmt.Errorf("%s: port %s is taken by %s", l.key, port, other))
		}
		taken[port] = l.key
		if n, err := strconv.Atoi(port); err == nil && !c.Gateway.ProjectPorts.IsZero() && n >= c.Gateway.ProjectPorts.First && n <= c.Gateway.ProjectPorts.Last {
			errs = append(errs, fmt.Errorf("gateway.project_ports: %s holds port %s of %s", c.Gateway.ProjectPorts, port, l.key))
		}
	}
	_, errAgents := checkAddress("agents.address", c.Agents.Address, true)
	_, errPeer := checkAddress("peer_address", c.PeerAddress, true)
	return errors.Join(append(errs, errAgents, errPeer)...)
}

// checkAddress wants host:port; the host may be left out where we listen, and not where others connect to.
func checkAddress(key, address string, dial bool) (port string, err error) {
	host, port, err := net.SplitHostPort(address)
	n, bad := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil || bad != nil || (dial && n == 0):
		return "", fmt.Errorf("%s: %q is not of the form host:port", key, address)
	case dial && host == "":
		return "", fmt.Errorf("%s: %q does not say which host to connect to", key, address)
	}
	return port, nil
}

func (c *Config) validateAgent() error {
	var errs []error
	for _, m := range c.Agent.Managers {
		_, err := checkAddress("agent.managers", m, true)
		errs = append(errs, err)
	}
	if u, err := url.Parse(c.Agent.DockerHost); err != nil || !slices.Contains([]string{"unix", "tcp", "http", "https"}, u.Scheme) {
		errs = append(errs, fmt.Errorf("agent.docker_host: %q is not of the form unix:///var/run/docker.sock", c.Agent.DockerHost))
	}
	pool := c.Agent.SubnetPool
	if !pool.Addr().Is4() || !pool.Addr().IsPrivate() || pool.Bits() > 22 || pool != pool.Masked() {
		errs = append(errs, fmt.Errorf("agent.subnet_pool: %s is not a private IPv4 network of /22 or larger such as 10.213.0.0/16", text(pool)))
	}
	if n := c.Agent.BuildConcurrency; n < 1 || n > 64 {
		errs = append(errs, fmt.Errorf("agent.build_concurrency: %d is not between 1 and 64", n))
	}
	if !filepath.IsAbs(c.Gateway.Dir) && c.DataDir != "" {
		errs = append(errs, fmt.Errorf("gateway.dir: %q is not an absolute path", c.Gateway.Dir))
	}
	return errors.Join(append(errs, validateProxies("panel", c.Panel.TrustedProxies), validateProxies("gateway", c.Gateway.TrustedProxies))...)
}

func validateProxies(section string, list []netip.Prefix) error {
	for _, p := range list {
		if p.Bits() == 0 {
			return fmt.Errorf("%s.trusted_proxies: %s trusts everybody: name the proxies' own networks", section, p)
		}
	}
	return nil
}

func text(p netip.Prefix) string {
	if !p.IsValid() {
		return `""`
	}
	return p.String()
}

func oneOf(key, value string, words ...string) error {
	if slices.Contains(words, value) {
		return nil
	}
	return fmt.Errorf("%s: %q is not one of %s", key, value, strings.Join(words, ", "))
}

func between(key string, value, least, most time.Duration) error {
	if value >= least && value <= most {
		return nil
	}
	return fmt.Errorf("%s: %s is not between %s and %s", key, value, least, most)
}
