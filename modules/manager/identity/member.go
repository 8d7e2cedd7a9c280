package identity

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
	"pandu/modules/manager/audit"
)

// OrganizationMember is a person in an organization.
type OrganizationMember struct {
	UserID    uuid.UUID `json:"user_id" db:"user_id"`
	Email     string    `json:"email" db:"email"`
	Name      string    `json:"name" db:"name"`
	Role      Role      `json:"role" db:"role" enum:"owner,admin,member,viewer,billing"`
	CreatedAt time.Time `json:"created_at" db:"created_at"`
}

var (
	errMember    = fault.New(fault.NotFound, "member_not_found", "There is no such member.")
	errLastOwner = fault.New(fault.Conflict, "last_owner", "An organization needs an owner. Make somebody else an owner first.")
)

// Members lists the people of the actor's organization, the newest first.
func (s *Service) Members(ctx context.Context, a Actor, page PageInput) (Page[OrganizationMember], error) {
	if err := a.Require(MembersRead); err != nil {
		return Page[OrganizationMember]{}, err
	}
	return list(ctx, s, a, page, selectMembers, func(m OrganizationMember) Cursor { return Cursor{m.CreatedAt, m.UserID} })
}

// ChangeRole gives a member another role.
func (s *Service) ChangeRole(ctx context.Context, a Actor, user uuid.UUID, role Role) (OrganizationMember, error) {
	if err := a.Require(MembersManage); err != nil {
		return OrganizationMember{}, err
	}
	var now OrganizationMember
	err := s.db.InTx(ctx, func(tx pgx.Tx) error {
		before, err := s.lockMember(ctx, tx, a, user)
		if err != nil {
			return err
		}
		if !a.mayGrant(role) || !a.mayGrant(before.Role) {
			return errRank
		}
		if before.Role == Owner && role != Owner {
			if err := needOwnerBeside(ctx, tx, a, user); err != nil {
				return err
			}
		}
		if _, err := pg.Exec(ctx, tx, updateMember, pg.Args{"organization": a.OrganizationID, "user": user, "role": role}); err != nil {
			return fmt.Errorf("change role: %w", err)
		}
		now = before
		now.Role = role
		detail := map[string]string{"from": string(before.Role), "to": string(role)}
		return audit.Record(ctx, tx, a.Event("member.role", "user", user, before.Email, detail))
	})
	s.known.forget(user)
	return now, err
}

// RemoveMember takes a person, and the person's tokens, out of the organization. Everybody may leave.
func (s *Service) RemoveMember(ctx context.Context, a Actor, user uuid.UUID) error {
	leaving := a.Kind == KindUser && user == a.UserID
	if !leaving {
		if err := a.Require(MembersManage); err != nil {
			return err
		}
	}
	err := s.db.InTx(ctx, func(tx pgx.Tx) error {
		before, err := s.lockMember(ctx, tx, a, user)
		if err != nil {
			return err
		}
		if !leaving && !a.mayGrant(before.Role) {
			return errRank
		}
		if before.Role == Owner {
			if err := needOwnerBeside(ctx, tx, a, user); err != nil {
				return err
			}
		}
		if _, err := pg.Exec(ctx, tx, deleteMember, pg.Args{"organization": a.OrganizationID, "user": user}); err != nil {
			return fmt.Errorf("remove member: %w", err)
		}
		if err := s.Release(ctx, tx, a.OrganizationID, LimitMembers, 1); err != nil {
			return err
		}
		return audit.Record(ctx, tx, a.Event("member.remove", "user", user, before.Email, map[string]string{"role": string(before.Role)}))
	})
	s.known.forgetAll() // also the tokens that went with the membership
	return err
}

const lockOrganization = `select id from identity.organizations where id = @organization for update`

const selectMember = `
	select m.user_id, u.email, u.name, m.role, m.created_at
	from identity.members m join identity.users u on u.id = m.user_id
	where m.organization_id = @organization and m.user_id = @user`

const selectMembers = `
	select m.user_id, u.email, u.name, m.role, m.created_at
	from identity.members m join identity.users u on u.id = m.user_id
	where m.organization_id = @organization
	  and (@before_time::timestamptz is null or (m.created_at, m.user_id) < (@before_time, @before_id::uuid))
	order by m.created_at desc, m.user_id desc limit @limit`

const updateMember = `update identity.members set role = @role where organization_id = @organization and user_id = @user`

const deleteMember = `delete from identity.members where organization_id = @organization and user_id = @user`

const otherOwners = `
	select count(*) from identity.members where organization_id = @organization and user_id <> @user and role = 'owner'`

// lockMember reads a member under a lock on the organization, so that two changes cannot take the last two owners.
func (s *Service) lockMember(ctx context.Context, tx pgx.Tx, a Actor, user uuid.UUID) (OrganizationMember, error) {
	args := pg.Args{"organization": a.OrganizationID, "user": user}
	if _, err := pg.Value[uuid.UUID](ctx, tx, lockOrganization, args); err != nil {
		return OrganizationMember{}, fmt.Errorf("lock organization: %w", err)
	}
	m, err := pg.One[OrganizationMember](ctx, tx, selectMember, args)
	if pg.None(err) {
		return OrganizationMember{}, errMember
	}
	if err != nil {
		return OrganizationMember{}, fmt.Errorf("read member: %w", err)
	}
	return m, nil
}

func needOwnerBeside(ctx context.Context, tx pgx.Tx, a Actor, user uuid.UUID) error {
	others, err := pg.Value[int64](ctx, tx, otherOwners, pg.Args{"organization": a.OrganizationID, "user": user})
	if err != nil {
		return fmt.Errorf("count owners: %w", err)
	}
	if others == 0 {
		return errLastOwner
	}
	return nil
}
