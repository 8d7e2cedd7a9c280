package deployments

const nextDeployment = `
	insert into deployments.heads (environment_id, organization_id, numbers) values (@environment, @organization, 1)
	on conflict (environment_id) do update set numbers = heads.numbers + 1
	returning numbers`

const insertDeployment = `
	insert into deployments.deployments (id, organization_id, project_id, environment_id, number, kind, state, source_id, release_id,
	                                     undo, notes, created_by, deadline_at)
	values (@id, @organization, @project, @environment, @number, @kind, @state, @source, @release, @undo, @notes, @by, now() + @limit::interval)
	returning id, organization_id, project_id, environment_id, number, kind, state, source_id, release_id, undo, notes, error,
	          created_by, created_at, deadline_at, finished_at`

const selectActive = `
	select id, organization_id, project_id, environment_id, number, kind, state, source_id, release_id, undo, notes, error,
	       created_by, created_at, deadline_at, finished_at
	from deployments.deployments
	where organization_id = @organization and environment_id = @environment and state in ('queued', 'building', 'releasing')
	for update`

const selectDeployment = `
	select id, organization_id, project_id, environment_id, number, kind, state, source_id, release_id, undo, notes, error,
	       created_by, created_at, deadline_at, finished_at
	from deployments.deployments
	where organization_id = @organization and id = @id`

const lockDeployment = `
	select id, organization_id, project_id, environment_id, number, kind, state, source_id, release_id, undo, notes, error,
	       created_by, created_at, deadline_at, finished_at
	from deployments.deployments
	where organization_id = @organization and id = @id
	for update`

const selectDeployments = `
	select id, organization_id, project_id, environment_id, number, kind, state, source_id, release_id, undo, notes, error,
	       created_by, created_at, deadline_at, finished_at
	from deployments.deployments
	where organization_id = @organization and environment_id = @environment
	  and (@before_time::timestamptz is null or (created_at, id) < (@before_time, @before_id))
	order by created_at desc, id desc
	limit @limit`

const selectNewest = `
	select distinct on (environment_id)
	       id, organization_id, project_id, environment_id, number, kind, state, source_id, release_id, undo, notes, error,
	       created_by, created_at, deadline_at, finished_at
	from deployments.deployments
	where organization_id = @organization and environment_id = any(@environments)
	order by environment_id, number desc`

const enterState = `
	update deployments.deployments
	set state = @state, release_id = coalesce(@release, release_id), deadline_at = now() + @limit::interval
	where id = @id`

const finishDeployment = `
	update deployments.deployments set state = @state, error = @error, finished_at = now()
	where id = @id and state in ('queued', 'building', 'releasing')`

const insertTransition = `
	insert into deployments.transitions (deployment_id, number, state, code, message, parameters)
	select @deployment, coalesce(max(number), 0) + 1, @state, @code, @message, @parameters
	from deployments.transitions where deployment_id = @deployment`

const selectTransitions = `
	select state, code, message, parameters, at from deployments.transitions
	where deployment_id = @deployment
	order by number`

const aimHead = `
	update deployments.heads set target_id = @release
	where environment_id = @environment`

const retreatHead = `
	update deployments.heads set target_id = live_id, serving_id = live_id
	where environment_id = @environment`

const insertBuild = `
	insert into deployments.builds (id, organization_id, deployment_id, services, spec, repository, state)
	values (@id, @organization, @deployment, @services, @spec, @repository, 'pending')`
