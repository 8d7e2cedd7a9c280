-- +goose Up
create schema storage;

-- Archives that people uploaded. The bytes are the object uploads/<organization>/<id>.
create table storage.uploads (
    organization_id uuid not null references identity.organizations (id),
    id              uuid not null,
    project_id      uuid not null,
    filename        text not null,
    digest          text not null check (digest ~ '^sha256:[0-9a-f]{64}$'),
    size            bigint not null check (size >= 0),
    format          text not null,
    entries         integer not null,
    unpacked        bigint not null,
    created_by      text not null,
    created_at      timestamptz not null default now(),
    primary key (organization_id, id)
);
create index uploads_page on storage.uploads (organization_id, project_id, created_at desc, id desc);
create index uploads_digest on storage.uploads (organization_id, digest);

-- Image repositories of the registry and what they hold. last_seen_at is renewed by push and by asking for it; what is
-- referenced by no release and was not seen for a day may be collected.
create table storage.repositories (
    name         text primary key,
    created_at   timestamptz not null default now(),
    last_seen_at timestamptz not null default now()
);

create table storage.blobs (
    digest       text primary key,
    size         bigint not null default 0,
    created_at   timestamptz not null default now(),
    last_seen_at timestamptz not null default now()
);
create index blobs_last_seen on storage.blobs (last_seen_at);

create table storage.repository_blobs (
    repository   text not null references storage.repositories (name) on delete cascade,
    digest       text not null references storage.blobs (digest) on delete cascade,
    manifest     boolean not null,
    last_seen_at timestamptz not null default now(),
    primary key (repository, digest)
);
create index repository_blobs_digest on storage.repository_blobs (digest);

-- Which directory holds the files of this installation.
create table storage.directory (
    singleton  boolean primary key default true check (singleton),
    id         uuid not null,
    shared     boolean not null,
    claimed_by text not null,
    claimed_at timestamptz not null default now()
);
