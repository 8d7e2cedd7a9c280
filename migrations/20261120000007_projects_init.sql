-- +goose Up

create table projects.projects (
    id              uuid primary key,
    organization_id uuid not null references identity.organizations (id),
    slug            text not null,
    name            text not null,
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now(),
    deleting_at     timestamptz,
    deleted_at      timestamptz,
    unique (organization_id, id)
);
create unique index projects_slug on projects.projects (organization_id, slug) where deleted_at is null;

create table projects.environments (
    id                uuid primary key,
    organization_id   uuid not null,
    project_id        uuid not null,
    slug              text not null,
    wanted            text not null default 'running' check (wanted in ('running', 'stopped', 'deleted')),
    keep_volumes      boolean not null default true, -- what happens to volumes when wanted is deleted
    group_id          uuid not null references servers.groups (id),
    variables_version bigint not null default 0,
    created_at        timestamptz not null default now(),
    deleted_at        timestamptz,
    unique (organization_id, id),
    foreign key (organization_id, project_id) references projects.projects (organization_id, id)
);
create unique index environments_slug on projects.environments (project_id, slug) where deleted_at is null;

-- What a person set for a service, over what its source says. Null: as the source says.
create table projects.services (
    organization_id uuid not null,
    environment_id  uuid not null,
    name            text not null,
    replicas        integer check (replicas between 0 and 100),
    memory          bigint,
    milli_cpu       bigint,
    port            integer check (port between 1 and 65535),
    health          jsonb,
    public          boolean,
    nonce           text not null default '',
    updated_at      timestamptz not null default now(),
    primary key (environment_id, name),
    foreign key (organization_id, environment_id) references projects.environments (organization_id, id)
);

-- A variable's value from one version of the environment's set to another. Releases name a version, so a rollback has the old values.
create table projects.variables (
    id              uuid primary key,
    organization_id uuid not null,
    environment_id  uuid not null,
    name            text not null,
    build           boolean not null default false, -- handed to builds, too
    sealed          bytea not null,
    version_from    bigint not null,
    version_to      bigint, -- the first version without it
    created_at      timestamptz not null default now(),
    foreign key (organization_id, environment_id) references projects.environments (organization_id, id)
);
create unique index variables_current on projects.variables (environment_id, name) where version_to is null;
