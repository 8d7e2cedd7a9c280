-- +goose Up

create table deployments.sources (
    id              uuid primary key,
    organization_id uuid not null,
    project_id      uuid not null,
    kind            text not null check (kind in ('upload', 'image')),
    upload_id       uuid,
    digest          text not null default '',
    label           text not null,
    detected        text not null,
    application     jsonb not null,
    problems        jsonb not null default '[]', -- why it cannot be deployed
    created_at      timestamptz not null default now(),
    unique (organization_id, id),
    foreign key (organization_id, project_id) references projects.projects (organization_id, id)
);

create unique index sources_upload on deployments.sources (upload_id) where upload_id is not null;

create table deployments.releases (
    id                uuid primary key,
    organization_id   uuid not null,
    environment_id    uuid not null,
    number            bigint not null,
    source_id         uuid not null,
    application       jsonb not null, -- every service with its image
    variables_version bigint not null,
    created_at        timestamptz not null default now(),
    unique (organization_id, id),
    unique (environment_id, number),
    foreign key (organization_id, environment_id) references projects.environments (organization_id, id),
    foreign key (organization_id, source_id) references deployments.sources (organization_id, id)
);

-- Where an environment stands. target is what the planner works towards, serving what the routes name, live what passed.
create table deployments.heads (
    environment_id  uuid primary key,
    organization_id uuid not null,
    server_id       uuid references servers.servers (id),
    live_id         uuid,
    serving_id      uuid,
    target_id       uuid,
    numbers         bigint not null default 0, -- last deployment number
    releases        bigint not null default 0, -- last release number
    foreign key (organization_id, environment_id) references projects.environments (organization_id, id),
    foreign key (organization_id, live_id) references deployments.releases (organization_id, id),
    foreign key (organization_id, serving_id) references deployments.releases (organization_id, id),
    foreign key (organization_id, target_id) references deployments.releases (organization_id, id)
);

create table deployments.deployments (
    id              uuid primary key,
    organization_id uuid not null,
    project_id      uuid not null,
    environment_id  uuid not null,
    number          bigint not null,
    kind            text not null,
    state           text not null check (state in ('queued', 'building', 'releasing', 'live', 'failed', 'cancelled', 'superseded')),
    source_id       uuid,
    release_id      uuid,
    undo            jsonb not null default '{}', -- what a failure sets back: {"wanted": "stopped"}, {"replicas": {"web": 1}}
    notes           jsonb not null default '[]',
    error           jsonb,
    created_by      text not null,
    created_at      timestamptz not null default now(),
    deadline_at     timestamptz not null, -- of the present state
    finished_at     timestamptz,
    unique (organization_id, id),
    unique (environment_id, number),
    foreign key (organization_id, environment_id) references projects.environments (organization_id, id),
    foreign key (organization_id, source_id) references deployments.sources (organization_id, id),
    foreign key (organization_id, release_id) references deployments.releases (organization_id, id)
);
create unique index deployments_active on deployments.deployments (environment_id) where state in ('queued', 'building', 'releasing');

create table deployments.transitions (
    deployment_id uuid not null references deployments.deployments (id),
    number        integer not null,
    state         text not null,
    code          text not null default '',
    message       text not null default '',
    parameters    jsonb not null default '{}',
    at            timestamptz not null default clock_timestamp(),
    primary key (deployment_id, number)
);

-- One image to make. The current attempt is the only one whose result counts.
create table deployments.builds (
    id              uuid primary key,
    organization_id uuid not null,
    deployment_id   uuid not null,
    services        text[] not null,
    spec            jsonb not null,
    repository      text not null,
    state           text not null check (state in ('pending', 'progress', 'ready', 'failed', 'cancelled')),
    phase           text not null default '',
    attempt         integer not null default 0,
    attempt_id      uuid,
    server_id       uuid references servers.servers (id),
    lease_until     timestamptz,
    try_at          timestamptz not null default now(),
    image           jsonb,
    config          jsonb,
    error           jsonb,
    log_id          uuid, -- of the stored log: its attempt
    created_at      timestamptz not null default now(),
    started_at      timestamptz,
    finished_at     timestamptz,
    unique (organization_id, id),
    foreign key (organization_id, deployment_id) references deployments.deployments (organization_id, id)
);
create index builds_deployment on deployments.builds (deployment_id);
create index builds_open on deployments.builds (server_id) where state in ('pending', 'progress');
create unique index builds_attempt on deployments.builds (attempt_id) where attempt_id is not null;

create table deployments.instances (
    id                uuid primary key,
    organization_id   uuid not null,
    environment_id    uuid not null,
    release_id        uuid not null,
    service           text not null,
    index             integer not null,
    task_key          text, -- of a task: what asked for it
    spec              jsonb not null,
    spec_hash         text not null,
    variables_version bigint not null,
    server_id         uuid not null references servers.servers (id),
    desired           text not null default 'running' check (desired in ('running', 'gone')),
    cause             text not null default '',
    created_at        timestamptz not null default now(),
    ready_at          timestamptz, -- first passed its gate
    completed_at      timestamptz, -- a task that ended well
    gone_at           timestamptz,
    foreign key (organization_id, environment_id) references projects.environments (organization_id, id),
    foreign key (organization_id, release_id) references deployments.releases (organization_id, id)
);
create index instances_environment on deployments.instances (environment_id) where gone_at is null;
create unique index instances_task on deployments.instances (environment_id, task_key) where task_key is not null and desired = 'running';

create table deployments.volumes (
    id              uuid primary key,
    organization_id uuid not null,
    environment_id  uuid not null,
    name            text not null,
    server_id       uuid references servers.servers (id), -- null until it is placed
    created_at      timestamptz not null default now(),
    deleted_at      timestamptz,
    foreign key (organization_id, environment_id) references projects.environments (organization_id, id)
);
create unique index volumes_name on deployments.volumes (environment_id, name) where deleted_at is null;
