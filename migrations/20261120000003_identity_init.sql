-- +goose Up
create schema identity;

create table identity.users (
    id            uuid primary key,
    email         text not null check (email = lower(email) and length(email) between 3 and 254),
    name          text not null check (length(name) between 1 and 100),
    password_hash text not null,
    locale        text not null default '',
    operator      boolean not null default false,
    session_epoch bigint not null default 1,
    disabled_at   timestamptz,
    created_at    timestamptz not null default now()
);
create unique index users_email on identity.users (email);

create table identity.organizations (
    id         uuid primary key,
    slug       text not null check (slug ~ '^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$'),
    name       text not null check (length(name) between 1 and 100),
    created_at timestamptz not null default now()
);
create unique index organizations_slug on identity.organizations (slug);

create table identity.members (
    organization_id uuid not null references identity.organizations (id) on delete cascade,
    user_id         uuid not null references identity.users (id) on delete cascade,
    role            text not null check (role in ('owner', 'admin', 'member', 'viewer', 'billing')),
    created_at      timestamptz not null default now(),
    primary key (organization_id, user_id)
);
create index members_user on identity.members (user_id, created_at, organization_id);

create table identity.invitations (
    organization_id uuid not null references identity.organizations (id) on delete cascade,
    id              uuid not null,
    email           text not null check (email = lower(email)),
    role            text not null check (role in ('owner', 'admin', 'member', 'viewer', 'billing')),
    secret_hash     bytea not null,
    created_by      uuid not null,
    created_at      timestamptz not null default now(),
    expires_at      timestamptz not null,
    accepted_at     timestamptz,
    accepted_by     uuid references identity.users (id) on delete set null,
    revoked_at      timestamptz,
    primary key (organization_id, id)
);
create unique index invitations_secret on identity.invitations (secret_hash);
create index invitations_page on identity.invitations (organization_id, created_at desc, id desc);

-- The one-time set-up of the first administrator. nonce is what the secret of the link is derived from, together with
-- the master key; the row stays when the door has closed.
create table identity.setup (
    singleton    boolean primary key default true check (singleton),
    nonce        bytea not null,
    secret_hash  bytea not null,
    created_at   timestamptz not null default now(),
    completed_at timestamptz,
    completed_by uuid references identity.users (id) on delete set null
);

create table identity.sessions (
    id           uuid primary key,
    user_id      uuid not null references identity.users (id) on delete cascade,
    secret_hash  bytea not null,
    epoch        bigint not null,
    address      text not null,
    agent        text not null,
    created_at   timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    ended_at     timestamptz
);
create unique index sessions_secret on identity.sessions (secret_hash);
create index sessions_user on identity.sessions (user_id, address);
create index sessions_created on identity.sessions (created_at);

-- API tokens. user_id is the person whose role the token has; without one it has its own role.
create table identity.tokens (
    organization_id uuid not null references identity.organizations (id) on delete cascade,
    id              uuid not null,
    user_id         uuid,
    role            text check (role in ('owner', 'admin', 'member', 'viewer', 'billing')),
    name            text not null check (length(name) between 1 and 100),
    prefix          text not null,
    secret_hash     bytea not null,
    scopes          text[] not null check (cardinality(scopes) > 0),
    created_by      uuid not null,
    created_at      timestamptz not null default now(),
    expires_at      timestamptz,
    last_used_at    timestamptz,
    revoked_at      timestamptz,
    primary key (organization_id, id),
    foreign key (organization_id, user_id) references identity.members (organization_id, user_id) on delete cascade,
    check ((user_id is null) <> (role is null))
);
create unique index tokens_prefix on identity.tokens (prefix);
create unique index tokens_bootstrap on identity.tokens (organization_id) where user_id is null and revoked_at is null;
create index tokens_page on identity.tokens (organization_id, created_at desc, id desc);

-- Failed attempts to sign in, per account and per address.
create table identity.throttles (
    bucket     text primary key,
    count      integer not null,
    expires_at timestamptz not null
);
create index throttles_expires on identity.throttles (expires_at);

-- Keys, wrapped by the master key. organization_id is the nil id for the platform's own.
create table identity.keys (
    id              uuid primary key,
    organization_id uuid not null,
    purpose         text not null check (purpose in ('check', 'data', 'digest', 'jwt', 'ca')),
    wrapped         bytea not null,
    public          bytea,
    created_at      timestamptz not null default now(),
    retired_at      timestamptz
);
create unique index keys_current on identity.keys (organization_id, purpose) where retired_at is null;

-- What plans allow and what is used. A null limit does not limit; used is counted always.
create table identity.limits (
    organization_id uuid not null references identity.organizations (id) on delete cascade,
    resource        text not null,
    "limit"         bigint check ("limit" >= 0),
    used            bigint not null default 0 check (used >= 0),
    primary key (organization_id, resource)
);

-- What was answered to a POST that carried an Idempotency-Key. status is null while the first request runs.
create table identity.idempotent_requests (
    actor        text not null,
    key          text not null check (length(key) between 1 and 255),
    request_hash bytea not null,
    request_id   text not null,
    status       integer,
    headers      jsonb not null default '{}',
    response     bytea,
    created_at   timestamptz not null default now(),
    primary key (actor, key)
);
create index idempotent_requests_created on identity.idempotent_requests (created_at);
