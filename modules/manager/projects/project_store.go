package projects

const existsSlug = `
	select exists (select from projects.projects where organization_id = @organization and slug = @slug and deleted_at is null)`

const insertProject = `
	insert into projects.projects (id, organization_id, slug, name)
	values (@id, @organization, @slug, @name)
	returning id, organization_id, slug, name, created_at, updated_at, deleting_at`

const insertEnvironment = `
	insert into projects.environments (id, organization_id, project_id, slug, group_id)
	values (@id, @organization, @project, @slug, @group)
	returning id, organization_id, project_id, slug, wanted, keep_volumes, group_id, variables_version, created_at`

const selectProjects = `
	select id, organization_id, slug, name, created_at, updated_at, deleting_at from projects.projects
	where organization_id = @organization and deleted_at is null
	  and (@before_time::timestamptz is null or (created_at, id) < (@before_time, @before_id))
	order by created_at desc, id desc
	limit @limit`

const selectProject = `
	select id, organization_id, slug, name, created_at, updated_at, deleting_at from projects.projects
	where organization_id = @organization and deleted_at is null and (id = @id or slug = @slug)
	order by id = @id desc
	limit 1`

const selectEnvironment = `
	select id, organization_id, project_id, slug, wanted, keep_volumes, group_id, variables_version, created_at
	from projects.environments
	where organization_id = @organization and project_id = @project and deleted_at is null and (id = @id or slug = @slug)
	order by id = @id desc
	limit 1`

const selectEnvironments = `
	select id, organization_id, project_id, slug, wanted, keep_volumes, group_id, variables_version, created_at
	from projects.environments
	where organization_id = @organization and project_id = any(@projects) and deleted_at is null
	order by created_at, id`

const updateProject = `
	update projects.projects set name = @name, slug = @slug, updated_at = now()
	where organization_id = @organization and id = @id
	returning id, organization_id, slug, name, created_at, updated_at, deleting_at`

const updateWanted = `
	update projects.environments set wanted = @wanted
	where organization_id = @organization and id = @id and wanted <> 'deleted'`

const markProjectDeleting = `
	update projects.projects set deleting_at = coalesce(deleting_at, now()), updated_at = now()
	where organization_id = @organization and id = @project`

const markEnvironmentsDeleted = `
	update projects.environments set wanted = 'deleted', keep_volumes = @keep
	where organization_id = @organization and project_id = @project and deleted_at is null
	returning id`

const markEnvironmentGone = `
	update projects.environments set deleted_at = coalesce(deleted_at, now())
	where organization_id = @organization and id = @id`

const deleteVariables = `
	delete from projects.variables
	where organization_id = @organization and environment_id = @id`

const deleteServices = `
	delete from projects.services
	where organization_id = @organization and environment_id = @id`

const noEnvironments = `
	select not exists (
	    select from projects.environments
	    where organization_id = @organization and project_id = @project and deleted_at is null)`

const markProjectGone = `
	update projects.projects set deleted_at = now()
	where organization_id = @organization and id = @project and deleted_at is null`

const loadEnvironment = `
	select id, organization_id, project_id, slug, wanted, keep_volumes, group_id, variables_version, created_at
	from projects.environments
	where id = @id and deleted_at is null`

const loadProject = `
	select id, organization_id, slug, name, created_at, updated_at, deleting_at from projects.projects
	where organization_id = @organization and id = @id`
