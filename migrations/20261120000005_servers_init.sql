-- +goose Up

-- A line of history. A restored backup does not know the later revisions that agents hold; a new epoch makes a new lineage.
create table servers.epochs (
    number     bigint primary key,
    lineage    uuid not null unique,
    reason     text not null,
    created_at timestamptz not null default now()
);
insert into servers.epochs (number, lineage, reason) values (1, gen_random_uuid(), 'first start');

create table servers.groups (
    id              uuid primary key,
    organization_id uuid references identity.organizations (id), -- null: the platform's own
    name            text not null,
    region          text not null default '',
    everyone        boolean not null default false, -- granted to every organization, without a row each
    created_at      timestamptz not null default now()
);
create unique index groups_platform_name on servers.groups (name) where organization_id is null;
create unique index groups_organization_name on servers.groups (organization_id, name) where organization_id is not null;

create table servers.grants (
    group_id        uuid not null references servers.groups (id),
    organization_id uuid not null references identity.organizations (id),
    created_at      timestamptz not null default now(),
    primary key (group_id, organization_id)
);

create table servers.servers (
    id         uuid primary key,
    group_id   uuid not null references servers.groups (id),
    name       text not null,
    mode       text not null default 'normal' check (mode in ('normal', 'observe', 'drain')),
    mode_reason text not null default '',
    info       jsonb not null default '{}',
    created_at timestamptz not null default now(),
    deleted_at timestamptz
);
create unique index servers_name on servers.servers (group_id, name) where deleted_at is null;

create table servers.join_tokens (
    hash       bytea primary key,
    server_id  uuid not null references servers.servers (id),
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    used_at    timestamptz
);

create table servers.certificates (
    serial     text primary key,
    server_id  uuid not null references servers.servers (id),
    not_after  timestamptz not null,
    created_at timestamptz not null default now(),
    revoked_at timestamptz
);
create index certificates_server on servers.certificates (server_id);

-- One row a server: who holds its session now. Every write about a session states its number.
create table servers.sessions (
    server_id    uuid primary key references servers.servers (id),
    process_id   uuid not null,
    number       bigint not null,
    synced       boolean not null default false,
    connected_at timestamptz not null default now(),
    silent_since timestamptz,
    version      text not null default '',
    capabilities text[] not null default '{}'
);
create index sessions_process on servers.sessions (process_id);

create table servers.streams (
    server_id uuid not null references servers.servers (id),
    stream    smallint not null,
    revision  bigint not null default 0,
    acked     bigint not null default 0,
    primary key (server_id, stream)
);

-- What a server shall hold: a log of entries, compacted to the newest per key. owner is the environment that plans the key.
create table servers.entries (
    server_id  uuid not null references servers.servers (id),
    stream     smallint not null,
    key        text not null,
    revision   bigint not null,
    body       bytea not null,
    tombstone  boolean not null default false,
    cause      text not null default '',
    owner      uuid not null,
    organization_id uuid not null,
    created_at timestamptz not null default now(),
    primary key (server_id, stream, key)
);
create index entries_revision on servers.entries (server_id, stream, revision);
create index entries_owner on servers.entries (owner);

-- What a server reported last about a key. Only transitions are written.
create table servers.observations (
    server_id   uuid not null references servers.servers (id),
    key         text not null,
    owner       uuid,
    session     bigint not null,
    body        bytea not null,
    observed_at timestamptz not null default now(),
    primary key (server_id, key)
);
create index observations_owner on servers.observations (owner);

-- What must be planned again: done < wanted. An order is on its way when ordered_at is recent.
create table servers.reconciles (
    owner      uuid primary key,
    wanted     bigint not null default 0,
    done       bigint not null default 0,
    ordered_at timestamptz,
    planned_at timestamptz
);
create index reconciles_overdue on servers.reconciles (owner) where done < wanted;
