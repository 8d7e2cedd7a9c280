package servers

import "github.com/google/uuid"

type entryRow struct {
	Key       string    `db:"key"`
	Revision  int64     `db:"revision"`
	Body      []byte    `db:"body"`
	Tombstone bool      `db:"tombstone"`
	Cause     string    `db:"cause"`
	Owner     uuid.UUID `db:"owner"`
}

const selectEntries = `
	select key, revision, body, tombstone, cause, owner
	from servers.entries
	where server_id = @server and stream = @stream and key = any(@keys)`

const selectEntriesAfter = `
	select key, revision, body, tombstone, cause, owner
	from servers.entries
	where server_id = @server and stream = @stream and revision > @after
	order by revision, key`

// The row's lock is held until commit, so revisions become visible in their order.
const raiseRevision = `
	insert into servers.streams (server_id, stream, revision) values (@server, @stream, 1)
	on conflict (server_id, stream) do update set revision = streams.revision + 1
	returning revision`

const upsertEntry = `
	insert into servers.entries (server_id, stream, key, revision, body, tombstone, cause, owner, organization_id)
	values (@server, @stream, @key, @revision, @body, @tombstone, @cause, @owner, @organization)
	on conflict (server_id, stream, key) do update
	set revision = excluded.revision, body = excluded.body, tombstone = excluded.tombstone, cause = excluded.cause,
	    owner = excluded.owner, organization_id = excluded.organization_id`

const forgetEntries = `
	delete from servers.entries
	where server_id = @server and stream = @stream and key = any(@keys) and tombstone`

const forgetObservations = `
	delete from servers.observations
	where server_id = @server and key = any(@keys)
	  and @stream = 1`

const selectStreams = `
	select stream, revision, acked
	from servers.streams
	where server_id = @server`

const selectStreamRevision = `
	select coalesce((select revision from servers.streams where server_id = @server and stream = @stream), 0)`

const ackStream = `
	update servers.streams set acked = @revision
	where server_id = @server and stream = @stream and acked < @revision and revision >= @revision`

const ownersAcked = `
	select distinct owner
	from servers.entries e
	join servers.streams s on s.server_id = e.server_id and s.stream = e.stream
	where e.server_id = @server and e.stream = @stream and e.revision > s.acked and e.revision <= @revision`

const selectHeld = `
	select key, tombstone from servers.entries
	where owner = @owner and stream = 1 and key not like 'instance/%'`
