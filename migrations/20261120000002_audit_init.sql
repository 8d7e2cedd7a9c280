-- +goose Up
create schema audit;

-- One line per change, written in the transaction of the change. organization_id is the nil id for the platform.
-- There is no foreign key to anything: the log outlives what it tells of.
create table audit.events (
    id              uuid primary key,
    organization_id uuid not null,
    actor_kind      text not null,
    actor_id        uuid not null,
    actor_label     text not null,
    action          text not null,
    object_kind     text not null,
    object_id       uuid not null,
    object_label    text not null,
    detail          jsonb not null,
    request_id      text not null,
    address         text not null,
    created_at      timestamptz not null default now(),
    transaction_id  xid8 not null default pg_current_xact_id(),
    sequence        bigint,
    hash            bytea,
    check ((sequence is null) = (hash is null))
);
create index events_page on audit.events (organization_id, created_at desc, id desc);
create index events_object on audit.events (organization_id, object_id, created_at desc, id desc);
create index events_request on audit.events (request_id) where request_id <> '';
create index events_unsealed on audit.events (transaction_id, id) where hash is null;
create unique index events_chain on audit.events (organization_id, sequence) where sequence is not null;

-- The head of each organization's chain.
create table audit.chains (
    organization_id uuid primary key,
    sequence        bigint not null,
    hash            bytea not null,
    sealed_at       timestamptz not null default now()
);

-- An event may be sealed once; nothing else about it ever changes.
-- +goose StatementBegin
create function audit.append_only() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' and old.hash is null and new.hash is not null
       and (to_jsonb(new) - 'sequence' - 'hash') = (to_jsonb(old) - 'sequence' - 'hash') then
        return new;
    end if;
    raise exception 'audit.events is append-only' using errcode = 'restrict_violation';
end $$;
-- +goose StatementEnd
create trigger append_only before update or delete on audit.events for each row execute function audit.append_only();
create trigger append_only_truncate before truncate on audit.events for each statement execute function audit.append_only();
