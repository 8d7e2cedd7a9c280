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
    data_id      uuid        not null,
    started_at   timestamptz not null default now(),
    beat_at      timestamptz not null default now()
);

create index processes_beat_at on app.processes (beat_at);

-- A box sealed with the master key, so that a process with another key is refused at its start.
create table app.master_key (
    single boolean primary key default true check (single),
    box    bytea   not null
);
