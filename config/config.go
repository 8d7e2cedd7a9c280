// Package config is the only place that reads settings: defaults, then a file, then the environment.
//
// Every setting is a field of Config with a key (data_dir, panel.listen), an environment variable (PANDU_DATA_DIR,
// PANDU_PANEL_LISTEN) and a variant that names a file holding the value (PANDU_DATA_DIR_FILE). What it does not know it
// refuses. It never decides anything from the settings and never opens what they name.
package config

import (
	"net/netip"
	"path/filepath"
	"time"

	"pandu/modules/kit/secret"
)

// Config is every setting, read once at start and never changed. Load fills what was left empty.
type Config struct {
	WorkerMode  string        `mapstructure:"worker_mode" env:"WORKER_MODE" help:"What this process does: empty for everything, ! for requests, * for all jobs, names of queues, - for nothing, or agent, gateway, supervisor. Combine with commas."`
	DatabaseURL secret.String `mapstructure:"database_url" env:"DATABASE_URL" help:"The PostgreSQL database (15 or newer), as postgres://user:password@host:5432/name. With an empty worker mode and no database, Pandu runs a private PostgreSQL in its data directory."`
	DataDir     string        `mapstructure:"data_dir" help:"Where everything local is kept. Empty: /var/lib/pandu for root, else pandu in the user's data directory."`
	DataShared  bool          `mapstructure:"data_dir_shared" help:"Set to true when the data directory is on storage that all processes share (NFS and the like)."`
	MasterKey   secret.String `mapstructure:"master_key" help:"32 random bytes in base64 or hexadecimal that wrap every key kept in the database. Needed with a database of your own; the same in every process. Make one with: openssl rand -base64 32"`

	PublicURL    string `mapstructure:"public_url" help:"How people reach the panel; links in mails and redirects are built from it. Empty: http://localhost with the panel's port."`
	AppsDomain   string `mapstructure:"apps_domain" help:"Sites are served at NAME.THIS. A wildcard DNS record must point at the gateways. Must not contain the panel's host or be contained in it."`
	Registration string `mapstructure:"registration" help:"Who may register: open, invite or closed."`
	PeerAddress  string `mapstructure:"peer_address" help:"host:port at which other Pandu processes reach this one's server for agents. Empty: this host's name with the port of agents.listen."`

	Admin   Admin   `mapstructure:"admin"`
	Log     Log     `mapstructure:"log"`
	Panel   Panel   `mapstructure:"panel"`
	Agents  Agents  `mapstructure:"agents"`
	Ops     Ops     `mapstructure:"ops"`
	Agent   Agent   `mapstructure:"agent"`
	Gateway Gateway `mapstructure:"gateway"`
	Drain   Drain   `mapstructure:"drain"`

	sources map[string]string // where the value of each key came from
}

// Admin is the first administrator, made at the first start instead of printing a set-up link.
type Admin struct {
	Email    string        `mapstructure:"email" help:"The first administrator's e-mail address. Empty: the first start prints a set-up link that works once."`
	Password secret.String `mapstructure:"password" help:"The first administrator's password, at least 12 characters. Used only while there is no administrator."`
}

// Log says how much is logged and how.
type Log struct {
	Level  string `mapstructure:"level" help:"debug, info, warn or error."`
	Format string `mapstructure:"format" help:"text for people, json for machines, auto for text on a terminal and json elsewhere."`
}

// Panel is the server for people and the API.
type Panel struct {
	Listen         string         `mapstructure:"listen" help:"Address of dashboard and API."`
	TrustedProxies []netip.Prefix `mapstructure:"trusted_proxies" help:"Networks of reverse proxies in front of the panel, whose X-Forwarded-For is believed. Nobody else's is."`
}

// Agents is the server for agents.
type Agents struct {
	Listen  string `mapstructure:"listen" help:"Address that agents and supervisors connect to, with mutual TLS. Load balancers must pass TCP through."`
	Address string `mapstructure:"address" help:"host:port that agents are told to connect to. Empty: the host of public_url with the port of agents.listen."`
}

// Ops is the server for operators.
type Ops struct {
	Listen string `mapstructure:"listen" empty:"none" help:"Address of /livez, /readyz, /metrics, /state and /debug/pprof. There is no login: keep it private. Empty: none."`
}

// Agent is this process as the agent of a server.
type Agent struct {
	Managers         []string      `mapstructure:"managers" help:"host:port of the managers to connect to. Empty in a process that is a manager itself."`
	JoinToken        secret.String `mapstructure:"join_token" help:"The one-time token that joins this server. Needed once."`
	DockerHost       string        `mapstructure:"docker_host" help:"The Docker Engine's socket."`
	SubnetPool       netip.Prefix  `mapstructure:"subnet_pool" help:"Private network from which every environment on this server gets its own subnet."`
	BuildConcurrency int           `mapstructure:"build_concurrency" help:"How many images are built at once on this server."`
}

// Gateway is this process as the gateway of a server.
type Gateway struct {
	Dir            string         `mapstructure:"dir" help:"Where the agent leaves routes and certificates for the gateway. Empty: gateway in the data directory."`
	HTTPListen     string         `mapstructure:"http_listen" help:"Address that visitors reach over HTTP. Empty: :80 for root, else :8081."`
	TrustedProxies []netip.Prefix `mapstructure:"trusted_proxies" help:"Networks of reverse proxies in front of the gateway, whose X-Forwarded-For is believed. Nobody else's is."`
	ProjectPorts   PortRange      `mapstructure:"project_ports" empty:"none" help:"Ports from which a project may get one of its own, for visitors without DNS. Empty: none."`
}

// Drain is how the process ends.
type Drain struct {
	Delay   time.Duration `mapstructure:"delay" help:"How long to go on serving after /readyz has turned to 503, so that load balancers notice."`
	Timeout time.Duration `mapstructure:"timeout" help:"How long requests and jobs in progress may take to finish."`
}

// Default is every setting's default, before what depends on the machine is filled in.
func Default() Config {
	return Config{
		AppsDomain:   "localhost",
		Registration: "invite",
		Log:          Log{Level: "info", Format: "auto"},
		Panel:        Panel{Listen: ":8080", TrustedProxies: []netip.Prefix{}},
		Agents:       Agents{Listen: ":8443"},
		Ops:          Ops{Listen: "127.0.0.1:9090"},
		Agent: Agent{
			Managers:         []string{},
			DockerHost:       "unix:///var/run/docker.sock",
			SubnetPool:       netip.MustParsePrefix("10.213.0.0/16"),
			BuildConcurrency: 2,
		},
		Gateway: Gateway{TrustedProxies: []netip.Prefix{}, ProjectPorts: PortRange{20000, 20999}},
		Drain:   Drain{Timeout: 30 * time.Second},
	}
}

// resolve fills what was left empty and has a value that depends on the machine or on another setting.
func (c *Config) resolve(m Machine) {
	fill := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	fill(&c.DataDir, m.dataDir())
	fill(&c.Gateway.Dir, filepath.Join(c.DataDir, "gateway"))
	fill(&c.Gateway.HTTPListen, map[bool]string{true: ":80", false: ":8081"}[m.Root])
	fill(&c.PublicURL, "http://localhost:"+portOf(c.Panel.Listen))
	fill(&c.Agents.Address, hostPort(hostOf(c.PublicURL), portOf(c.Agents.Listen)))
	fill(&c.PeerAddress, hostPort(m.Hostname, portOf(c.Agents.Listen)))
}
