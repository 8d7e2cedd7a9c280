package deployments

const ownerOfBuild = `
	select d.environment_id from deployments.builds b
	join deployments.deployments d on d.id = b.deployment_id
	where b.id = @id`

const ownerOfAttempt = `
	select d.environment_id from deployments.builds b
	join deployments.deployments d on d.id = b.deployment_id
	where b.attempt_id = @attempt and b.server_id = @server`

const lockBuild = `
	select id, organization_id, deployment_id, services, spec, repository, state, phase, attempt, attempt_id, server_id, lease_until,
	       try_at, image, config, error, log_id, created_at, started_at, finished_at,
	       coalesce(lease_until < now(), false) as lease_over, extract(epoch from now() - greatest(created_at, lease_until))::float8 as age
	from deployments.builds
	where id = @id
	for update`

const lockAttempt = `
	select id, organization_id, deployment_id, services, spec, repository, state, phase, attempt, attempt_id, server_id, lease_until,
	       try_at, image, config, error, log_id, created_at, started_at, finished_at,
	       coalesce(lease_until < now(), false) as lease_over, extract(epoch from now() - greatest(created_at, lease_until))::float8 as age
	from deployments.builds
	where attempt_id = @attempt and server_id = @server
	for update`

const selectAttempt = `
	select id, organization_id, deployment_id, services, spec, repository, state, phase, attempt, attempt_id, server_id, lease_until,
	       try_at, image, config, error, log_id, created_at, started_at, finished_at,
	       coalesce(lease_until < now(), false) as lease_over, extract(epoch from now() - greatest(created_at, lease_until))::float8 as age
	from deployments.builds
	where attempt_id = @attempt and server_id = @server and state = 'progress'`

const selectBuilds = `
	select id, organization_id, deployment_id, services, spec, repository, state, phase, attempt, attempt_id, server_id, lease_until,
	       try_at, image, config, error, log_id, created_at, started_at, finished_at,
	       coalesce(lease_until < now(), false) as lease_over, extract(epoch from now() - greatest(created_at, lease_until))::float8 as age
	from deployments.builds
	where deployment_id = @deployment
	order by created_at, id`

const selectAssigned = `
	select id, organization_id, deployment_id, services, spec, repository, state, phase, attempt, attempt_id, server_id, lease_until,
	       try_at, image, config, error, log_id, created_at, started_at, finished_at,
	       coalesce(lease_until < now(), false) as lease_over, extract(epoch from now() - greatest(created_at, lease_until))::float8 as age
	from deployments.builds
	where server_id = @server and state = 'progress'
	order by created_at, id`

const assignBuild = `
	update deployments.builds
	set state = 'progress', phase = '', attempt = attempt + 1, attempt_id = @attempt, server_id = @server,
	    lease_until = now() + @lease::interval, started_at = coalesce(started_at, now())
	where id = @id`

const postponeBuild = `
	update deployments.builds
	set state = 'pending', phase = '', attempt_id = null, lease_until = now(), try_at = now() + @wait::interval
	where id = @id`

const failBuild = `
	update deployments.builds set state = 'failed', error = @error, lease_until = null, finished_at = now()
	where id = @id`

const finishBuild = `
	update deployments.builds set state = 'ready', phase = '', image = @image, config = @config, lease_until = null, finished_at = now()
	where id = @id`

const cancelBuilds = `
	update deployments.builds set state = 'cancelled', lease_until = null, finished_at = now()
	where deployment_id = @deployment and state in ('pending', 'progress')
	returning server_id`

const dueBuilds = `
	update deployments.builds b set try_at = now() + interval '2 seconds'
	from (
	    select id from deployments.builds
	    where (state = 'pending' and try_at < now()) or (state = 'progress' and lease_until < now() and try_at < now())
	    order by id limit 200 for update skip locked
	) due
	where b.id = due.id
	returning b.id`

const renewLease = `
	update deployments.builds set lease_until = now() + @lease::interval, phase = @phase
	where attempt_id = @attempt and server_id = @server and state = 'progress'
	returning deployment_id`

const setBuildLog = `
	update deployments.builds set log_id = @attempt
	where attempt_id = @attempt and server_id = @server`

const selectAttemptOrganization = `
	select organization_id from deployments.builds
	where attempt_id = @attempt and server_id = @server`

const repositoryHeld = `
	select exists (
	    select from deployments.builds
	    where server_id = @server and state = 'progress' and repository = @repository)`

const imageWanted = `
	select exists (
	    select from deployments.instances
	    where server_id = @server and desired = 'running' and spec->'image'->>'repository' = @repository
	) or exists (
	    select from deployments.builds
	    where server_id = @server and state = 'progress' and repository = @repository)`
