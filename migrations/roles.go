package migrations

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// The roles, none of which can log in. Owner owns every table and migrates; pools take Manager or Creator.
const (
	Owner   = "pandu_owner"
	Manager = "pandu_manager"
	Creator = "pandu_creator"
)

// grants are made by the owner for itself, before there is anything to grant: whatever it creates later is covered.
const grants = `
alter default privileges grant usage on schemas to pandu_manager, pandu_creator;
alter default privileges grant select, insert, update, delete on tables to pandu_manager, pandu_creator;
alter default privileges grant usage, select, update on sequences to pandu_manager, pandu_creator;
alter default privileges grant execute on functions to pandu_manager, pandu_creator;
`

// prepareRoles makes the roles where the login may and returns the one to migrate as; "" means the login itself.
// A login without CREATEROLE is common at hosting providers and works: then one role does everything.
func prepareRoles(ctx context.Context, conn *pgx.Conn, log *slog.Logger) (string, error) {
	var err error
	for range 5 {
		err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return makeRoles(ctx, tx) })
		if !raced(err) {
			break
		}
	}
	var pe *pgconn.PgError
	if errors.As(err, &pe) && pe.Code == "42501" { // insufficient_privilege
		owner, mixed := ownerOf(ctx, conn)
		if mixed {
			return "", fmt.Errorf("the tables belong to %s and this login may not act as it: grant %s to the login in DATABASE_URL: %w", owner, owner, err)
		}
		log.Info("database login may not create roles, migrating and working as the login itself", "reason", pe.Message)
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("prepare database roles: %w", err)
	}
	return Owner, nil
}

// ownerOf tells whether the schema app exists already and belongs to the owner role.
func ownerOf(ctx context.Context, conn *pgx.Conn) (string, bool) {
	var owner string
	err := conn.QueryRow(ctx, "select nspowner::regrole::text from pg_namespace where nspname = 'app'").Scan(&owner)
	return owner, err == nil && owner == Owner
}

func makeRoles(ctx context.Context, tx pgx.Tx) error {
	for _, role := range []string{Owner, Manager, Creator} {
		if err := makeRole(ctx, tx, role); err != nil {
			return err
		}
	}
	// The schema may be the login's own, from a time when it was not allowed to create roles: then it stays so.
	const prepare = `
do $$ begin
	if exists (select from pg_namespace where nspname = 'app' and not pg_has_role('pandu_owner', nspowner, 'member')) then
		raise insufficient_privilege using message = 'the schema app belongs to another role';
	end if;
	if not has_database_privilege('pandu_owner', current_database(), 'CREATE') then
		execute format('grant create on database %I to pandu_owner', current_database());
		if not has_database_privilege('pandu_owner', current_database(), 'CREATE') then
			raise insufficient_privilege using message = 'may not grant CREATE on the database';
		end if;
	end if;
end $$`
	if _, err := tx.Exec(ctx, prepare); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "set local role pandu_owner;"+grants)
	return err
}

// makeRole creates the role and makes the login a member of it, each only when it is not so yet: roles belong to the
// whole server, so another database of it may have made them.
func makeRole(ctx context.Context, tx pgx.Tx, role string) error {
	var exists, member bool
	const look = "select exists (select from pg_roles where rolname = $1)"
	if err := tx.QueryRow(ctx, look, role).Scan(&exists); err != nil {
		return err
	}
	if !exists {
		if _, err := tx.Exec(ctx, "create role "+role+" nologin"); err != nil {
			return err
		}
	}
	// Since 16 a membership may come without the right to SET ROLE; before that there was no such word.
	const may = "select pg_has_role(current_user, $1, case when current_setting('server_version_num')::int >= 160000 then 'set' else 'member' end)"
	if err := tx.QueryRow(ctx, may, role).Scan(&member); err != nil || member {
		return err
	}
	_, err := tx.Exec(ctx, "grant "+role+" to current_user")
	return err
}

// raced: two databases of one server make the same role at once (duplicate_object, unique_violation), or touch the
// same catalogue row (internal_error "tuple concurrently updated", which has no code of its own).
func raced(err error) bool {
	var pe *pgconn.PgError
	if !errors.As(err, &pe) {
		return false
	}
	return pe.Code == "42710" || pe.Code == "23505" || (pe.Code == "XX000" && pe.Message == "tuple concurrently updated")
}
