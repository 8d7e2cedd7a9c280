-- +goose Up

-- Every room owns the schema of its name. app and river exist already: the runner keeps its own books in them; audit,
-- identity and storage make theirs themselves.
create schema if not exists servers;
create schema if not exists routing;
create schema if not exists projects;
create schema if not exists deployments;

-- One row per live process that uses this database. beat_at is database time: nobody compares two machines' clocks.
-- Unlogged rows would vanish when Postgres crashes; they are few, so they are ordinary ones.
create table app.processes (
    id           uuid        primary key,
    hostname     text        not null,
    version      text        not null,
    mode         text        not null,
    requests     boolean     not null,
    queues       text[]      not null default '{}',
    peer_address text        not null default '',
    started_at   timestamptz not null default now(),
    beat_at      timestamptz not null default now()
);

create index processes_beat_at on app.processes (beat_at);

-- What was answered to a POST that carried an Idempotency-Key. status is null while the first request is still running.
create table app.idempotent_requests (
    actor        text        not null,
    key          text        not null check (length(key) between 1 and 255),
    request_hash bytea       not null,
    status       integer,
    response     bytea,
    created_at   timestamptz not null default now(),
    primary key (actor, key)
);

create index idempotent_requests_created_at on app.idempotent_requests (created_at);
