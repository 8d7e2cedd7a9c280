-- +goose Up

-- Every hostname is claimed once, by whom it was claimed first.
create table routing.hostnames (
    id              uuid primary key,
    organization_id uuid not null references identity.organizations (id),
    environment_id  uuid not null,
    hostname        text not null,
    service         text not null default '', -- empty: the public one
    kind            text not null check (kind in ('auto', 'custom')),
    created_at      timestamptz not null default now(),
    constraint hostnames_hostname unique (hostname)
);
create index hostnames_environment on routing.hostnames (environment_id);

-- A port of its own, unique in the group of servers where the environment may run.
create table routing.ports (
    group_id        uuid not null,
    port            integer not null check (port between 1 and 65535),
    organization_id uuid not null references identity.organizations (id),
    environment_id  uuid not null,
    created_at      timestamptz not null default now(),
    primary key (group_id, port),
    constraint ports_environment unique (environment_id)
);
