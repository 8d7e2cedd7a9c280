package compose

// The keys of the compose specification and what becomes of each. A key that is not here is unknown and refused.

const (
	noHost     = "it would give the container a part of the server that is not its own"
	noLimits   = "Pandu sets the limits of the kernel itself"
	noFiles    = "files outside this one are not read; write what it holds into this file"
	noOwnDNS   = "names are answered by Pandu; services reach each other by their names"
	noHooks    = "commands around start and stop are not run; use the image's entrypoint"
	noSecrets  = "secrets and configs are not read from files; set them as variables and refer to them under environment"
	noCPUWays  = "set deploy.resources.limits.cpus instead"
	noProvider = "it would run a program of the server"
	ownRollout = "Pandu starts new containers before it stops old ones by its own rules"
	noRouteOpt = "Pandu makes the network of an environment itself"
)

func rootRules() rules {
	return rules{
		"version":  {notes: "the format is always the newest"},
		"name":     {notes: "the name is that of the project"},
		"services": {judge: (*walker).servicesKey},
		"volumes":  {judge: (*walker).volumesKey},
		"networks": {judge: (*walker).networksKey},
		"include":  {lacks: noFiles},
		"secrets":  {lacks: noSecrets},
		"configs":  {lacks: noSecrets},
		"models":   {lacks: "run the model as a service"},
		"x-pandu":  {lacks: "write it under the service that it is about"},
		"jobs":     {lacks: "write a service that another waits for with service_completed_successfully"},
	}
}

func serviceRules() rules {
	r := rules{
		"build": {judge: (*walker).buildKey}, "image": {judge: (*walker).imageKey},
		"command": {judge: (*walker).commandKey}, "entrypoint": {judge: (*walker).commandKey},
		"environment": {judge: (*walker).environmentKey}, "x-pandu": {judge: (*walker).panduKey},
		"ports": {judge: (*walker).portsKey}, "expose": {judge: (*walker).exposeKey},
		"depends_on": {judge: (*walker).dependsKey}, "healthcheck": {judge: (*walker).healthKey},
		"networks": {judge: (*walker).serviceNetworksKey}, "volumes": {judge: (*walker).mountsKey},
		"deploy": {judge: (*walker).deployKey}, "profiles": {judge: (*walker).profilesKey},
		"logging": {judge: (*walker).loggingKey},
		"scale":   {}, "mem_limit": {}, "cpus": {}, "pids_limit": {}, "restart": {}, "user": {}, "working_dir": {},
		"stop_signal": {}, "stop_grace_period": {}, "read_only": {},
	}
	for key, why := range dangerous() {
		r[key] = rule{forbids: why}
	}
	for key, why := range missing() {
		r[key] = rule{lacks: why}
	}
	for key, why := range idle() {
		r[key] = rule{notes: why}
	}
	for key, values := range map[string][]string{
		"privileged": {"false"}, "use_api_socket": {"false"}, "oom_kill_disable": {"false"}, "oom_score_adj": {"0"},
		"security_opt": {"no-new-privileges:true", "no-new-privileges=true", "no-new-privileges"},
		"cgroup":       {"private"}, "ipc": {"private"},
	} {
		with := r[key]
		with.allowed = values
		r[key] = with
	}
	return r
}

func dangerous() map[string]string {
	return map[string]string{
		"privileged":          "it would give the container the whole server",
		"cap_add":             "containers run with few capabilities, and no more can be had",
		"devices":             noHost,
		"device_cgroup_rules": noHost,
		"gpus":                noHost,
		"runtime":             "the runtime is that of the server",
		"pid":                 "it would show the container processes that are not its own",
		"ipc":                 "it would share memory with processes that are not its own",
		"uts":                 noHost,
		"userns_mode":         "it would undo the separation of users",
		"cgroup":              noHost,
		"cgroup_parent":       "it would escape the limits",
		"network_mode":        "containers stay in their environment's own network; remove the key and use service names",
		"security_opt":        "it would weaken the isolation of the container",
		"sysctls":             noLimits,
		"oom_kill_disable":    noLimits,
		"oom_score_adj":       noLimits,
		"volumes_from":        "it would mount the volumes of another container; name the volumes instead",
		"use_api_socket":      "it would give the container the Docker Engine of the server",
		"provider":            noProvider,
		"credential_spec":     noHost,
		"isolation":           "the isolation is Pandu's own",
		"storage_opt":         noLimits,
		"blkio_config":        noHost,
		"group_add":           "groups of the server could come with it; use user, or add groups in the Dockerfile",
		"external_links":      "containers of others cannot be reached",
		"mac_address":         noRouteOpt,
		"annotations":         "annotations steer the runtime",
		"volume_driver":       "volumes are kept by Pandu",
	}
}

func missing() map[string]string {
	return map[string]string{
		"env_file":           "set the variables in the environment and refer to them under environment, as in - NAME",
		"label_file":         noFiles,
		"extends":            noFiles,
		"secrets":            noSecrets,
		"configs":            noSecrets,
		"models":             "run the model as a service",
		"post_start":         noHooks,
		"pre_stop":           noHooks,
		"pre_start":          noHooks,
		"ulimits":            noLimits,
		"shm_size":           noLimits,
		"tmpfs":              "write temporary files to /tmp of the container",
		"platform":           "images are built and run for the server's own platform",
		"links":              "services reach each other by their names; remove the key",
		"net":                noRouteOpt,
		"dns":                noOwnDNS,
		"dns_opt":            noOwnDNS,
		"dns_search":         noOwnDNS,
		"extra_hosts":        noOwnDNS,
		"domainname":         noOwnDNS,
		"memswap_limit":      noLimits,
		"mem_swappiness":     noLimits,
		"cpu_count":          noCPUWays,
		"cpu_percent":        noCPUWays,
		"cpu_shares":         noCPUWays,
		"cpu_quota":          noCPUWays,
		"cpu_period":         noCPUWays,
		"cpu_rt_period":      noCPUWays,
		"cpu_rt_runtime":     noCPUWays,
		"cpuset":             noCPUWays,
		"umask":              "set it in the image",
		"dockerfile":         "write it under build",
		"log_driver":         "Pandu collects the logs itself",
		"log_opt":            "Pandu collects the logs itself",
		"pull_refresh_after": "images are fetched once per deployment",
	}
}

func idle() map[string]string {
	return map[string]string{
		"container_name":  "containers are named by Pandu, and reached by the service's name",
		"labels":          "labels are Pandu's own; hostnames are set in the project",
		"hostname":        "a container's hostname is its own; reach it by the service's name",
		"stdin_open":      "nobody is at the keyboard",
		"tty":             "nobody is at the terminal",
		"attach":          "logs are always collected",
		"init":            "processes are reaped by the container's first process",
		"pull_policy":     "an image is fetched once per deployment and pinned",
		"cap_drop":        "capabilities are dropped anyway",
		"mem_reservation": "only limits count",
		"develop":         "files are not watched on a server",
	}
}

func buildRules() rules {
	return rules{
		"context": {}, "dockerfile": {}, "target": {}, "args": {judge: (*walker).argsKey},
		"privileged":          {forbids: "a build must not get the whole server", allowed: []string{"false"}},
		"entitlements":        {forbids: "a build must not get more rights"},
		"ssh":                 {forbids: "keys of the server cannot be used in a build"},
		"network":             {forbids: "a build has its own network", allowed: []string{"default"}},
		"extra_hosts":         {forbids: "names are answered by Pandu"},
		"additional_contexts": {forbids: "a build sees its own context only"},
		"cache_to":            {forbids: "a build must not write elsewhere"},
		"isolation":           {forbids: "the isolation is Pandu's own"},
		"secrets":             {lacks: "variables for the build are set in the environment"},
		"dockerfile_inline":   {lacks: "put it into a file named Dockerfile"},
		"shm_size":            {lacks: noLimits},
		"ulimits":             {lacks: noLimits},
		"platforms":           {lacks: "images are built for the server's own platform"},
		"cache_from":          {notes: "the cache is kept by Pandu"},
		"labels":              {notes: "labels are Pandu's own"},
		"no_cache":            {notes: "a build without cache is asked for with the deployment"},
		"no_cache_filter":     {notes: "a build without cache is asked for with the deployment"},
		"pull":                {notes: "base images are kept up to date by Pandu"},
		"tags":                {notes: "images are named by Pandu"},
		"provenance":          {notes: "attestations are not made"},
		"sbom":                {notes: "attestations are not made"},
	}
}

func deployRules() rules {
	return rules{
		"replicas":        {},
		"resources":       {judge: nested(resourcesRules)},
		"restart_policy":  {judge: nested(restartRules)},
		"mode":            {lacks: "say how many replicas there shall be", allowed: []string{"replicated"}},
		"placement":       {lacks: "the group of servers is chosen in the project"},
		"endpoint_mode":   {notes: "requests are balanced by the gateway"},
		"labels":          {notes: "labels are Pandu's own"},
		"update_config":   {notes: ownRollout},
		"rollback_config": {notes: ownRollout},
	}
}

func resourcesRules() rules {
	return rules{
		"limits": {judge: nested(func() rules {
			return rules{"cpus": {}, "memory": {}, "pids": {}, "devices": {forbids: noHost}, "generic_resources": {forbids: noHost}}
		})},
		"reservations": {judge: nested(func() rules {
			return rules{"cpus": {notes: "only limits count"}, "memory": {notes: "only limits count"}, "pids": {notes: "only limits count"}, "devices": {forbids: noHost}, "generic_resources": {forbids: noHost}}
		})},
	}
}

func restartRules() rules {
	const paced = "restarts are paced by Pandu"
	return rules{"condition": {}, "delay": {notes: paced}, "max_attempts": {notes: paced}, "window": {notes: paced}}
}

func healthRules() rules {
	return rules{
		"test": {judge: (*walker).testKey}, "interval": {}, "timeout": {}, "retries": {}, "start_period": {}, "disable": {},
		"start_interval": {notes: "the interval counts from the start"},
	}
}

func volumeRules() rules {
	return rules{
		"name":        {notes: "volumes are named after the environment"},
		"labels":      {notes: "labels are Pandu's own"},
		"driver":      {forbids: "volumes are kept on the server's own disk", allowed: []string{"local"}},
		"driver_opts": {forbids: "with options a volume can be any folder of the server"},
		"external":    {forbids: "volumes of others cannot be mounted", allowed: []string{"false"}},
	}
}

func networkRules() rules {
	return rules{
		"name":        {notes: noRouteOpt},
		"labels":      {notes: noRouteOpt},
		"attachable":  {notes: noRouteOpt},
		"enable_ipv4": {notes: noRouteOpt},
		"enable_ipv6": {notes: noRouteOpt},
		"driver":      {forbids: "the network is a bridge of the environment's own", allowed: []string{"bridge", "default"}},
		"driver_opts": {forbids: noRouteOpt},
		"external":    {forbids: "networks of others cannot be joined", allowed: []string{"false"}},
		"internal":    {lacks: "all services of an environment share one network, which reaches the internet", allowed: []string{"false"}},
		"ipam":        {lacks: noRouteOpt},
	}
}

func serviceNetworkRules() rules {
	const why = "services are reached by their names"
	return rules{
		"aliases": {lacks: why}, "ipv4_address": {lacks: noRouteOpt}, "ipv6_address": {lacks: noRouteOpt}, "link_local_ips": {lacks: noRouteOpt},
		"mac_address": {forbids: noRouteOpt}, "driver_opts": {forbids: noRouteOpt}, "interface_name": {lacks: noRouteOpt},
		"priority": {notes: noRouteOpt}, "gw_priority": {notes: noRouteOpt},
	}
}

func portRules() rules {
	const why = "visitors come through the gateway"
	return rules{
		"target": {}, "protocol": {}, "published": {}, "app_protocol": {notes: why}, "name": {notes: why},
		"mode": {notes: why}, "host_ip": {notes: why},
	}
}

func mountRules() rules {
	return rules{
		"type": {}, "source": {}, "target": {}, "read_only": {}, "consistency": {notes: "it means nothing on a server"},
		"volume": {judge: nested(func() rules {
			return rules{"nocopy": {lacks: "an empty volume is filled from the image"}, "subpath": {lacks: "mount the whole volume"}, "labels": {notes: "labels are Pandu's own"}}
		})},
		"bind":  {notes: "only named volumes are mounted"},
		"tmpfs": {notes: "only named volumes are mounted"}, "image": {notes: "only named volumes are mounted"},
	}
}

func dependencyRules() rules {
	return rules{"condition": {}, "restart": {notes: "a service is restarted on its own"}, "required": {notes: "every service of the file is there"}}
}

func panduRules() rules { return rules{"public": {}, "port": {}} }

// nested judges a mapping inside a mapping.
func nested(known func() rules) func(*walker, string, *value) any {
	return func(w *walker, path string, v *value) any {
		if kept := w.mapping(path, v, known()); len(kept) > 0 {
			return kept
		}
		return nil
	}
}
