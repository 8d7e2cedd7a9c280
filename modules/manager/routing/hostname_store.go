package routing

const insertHostname = `
	insert into routing.hostnames (id, organization_id, environment_id, hostname, service, kind)
	values (@id, @organization, @environment, @hostname, @service, @kind)
	on conflict (hostname) do update set service = excluded.service
	where hostnames.organization_id = excluded.organization_id and hostnames.environment_id = excluded.environment_id
	  and hostnames.kind = excluded.kind
	returning id, environment_id, hostname, service, kind, created_at`

const countDomains = `
	select count(*)::int from routing.hostnames
	where organization_id = @organization and environment_id = @environment`

const deleteHostname = `
	delete from routing.hostnames
	where organization_id = @organization and environment_id = @environment and id = @id and kind = 'custom'
	returning hostname`

const releaseHostnames = `
	delete from routing.hostnames
	where organization_id = @organization and environment_id = @environment`

const releaseAuto = `
	delete from routing.hostnames
	where organization_id = @organization and environment_id = @environment and kind = 'auto' and service <> all(@keep)`

const selectHostnames = `
	select id, environment_id, hostname, service, kind, created_at from routing.hostnames
	where organization_id = @organization and environment_id = any(@environments)
	order by kind, created_at, hostname`

const existsHostname = `
	select exists (select from routing.hostnames where hostname = @hostname)`

const lockPorts = `
	select pg_advisory_xact_lock(hashtextextended('ports of ' || @group::uuid::text, 0))`

// The smallest free port of the group, or the one that the environment has. The caller holds lockPorts.
const allocatePort = `
	with mine as (
	    select port from routing.ports where organization_id = @organization and environment_id = @environment
	), taken as (
	    insert into routing.ports (group_id, port, organization_id, environment_id)
	    select @group, p, @organization, @environment
	    from generate_series(@first::int, @last::int) p
	    where not exists (select from mine)
	      and not exists (select from routing.ports t where t.group_id = @group and t.port = p)
	    order by p limit 1
	    returning port
	)
	select port from mine union all select port from taken`

const selectPort = `
	select port from routing.ports
	where organization_id = @organization and environment_id = @environment`

const deletePort = `
	delete from routing.ports
	where organization_id = @organization and environment_id = @environment`
