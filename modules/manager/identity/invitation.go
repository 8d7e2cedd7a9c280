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

// invitationLife is how long an invitation may be accepted.
const invitationLife = 7 * 24 * time.Hour

// Invitation is an open invitation as it is listed.
type Invitation struct {
	ID        uuid.UUID `json:"id" db:"id"`
	Email     string    `json:"email" db:"email"`
	Role      Role      `json:"role" db:"role" enum:"owner,admin,member,viewer,billing"`
	CreatedAt time.Time `json:"created_at" db:"created_at"`
	ExpiresAt time.Time `json:"expires_at" db:"expires_at"`
}

// Invited is a new invitation with its link, which is shown once.
type Invited struct {
	Invitation
	Link string `json:"link" doc:"Give it to the person; it works once, for this address, for seven days."`
}

var errInvitation = fault.New(fault.NotFound, "invitation_not_found", "This invitation does not exist, has expired or was used. Ask for a new one.")

// Invite makes an invitation for an address and a role that the actor may grant.
func (s *Service) Invite(ctx context.Context, a Actor, email string, role Role) (Invited, error) {
	if err := a.Require(MembersManage); err != nil {
		return Invited{}, err
	}
	email, err := cleanEmail(email)
	if err != nil {
		return Invited{}, err
	}
	if !a.mayGrant(role) {
		return Invited{}, errRank
	}
	secret := newBearer()
	var made Invitation
	err = s.db.InTx(ctx, func(tx pgx.Tx) error {
		var err error
		if made, err = insertInvitation(ctx, tx, a, email, role, secret); err != nil {
			return err
		}
		return audit.Record(ctx, tx, a.Event("invitation.create", "invitation", made.ID, email, map[string]string{"role": string(role)}))
	})
	if err != nil {
		return Invited{}, err
	}
	return Invited{made, s.publicURL + "/invitation#" + secret}, nil
}

// AcceptInvitation makes a signed-in user a member, if the invitation is for the user's own address.
func (s *Service) AcceptInvitation(ctx context.Context, a Actor, secret string) (Organization, error) {
	if a.Kind != KindUser {
		return Organization{}, errUsersOnly
	}
	var org Organization
	err := s.db.InTx(ctx, func(tx pgx.Tx) error {
		var err error
		org, err = s.acceptInvitation(ctx, tx, a, secret)
		return err
	})
	s.known.forget(a.UserID)
	return org, err
}

// acceptInvitation uses an invitation up; two at once wait for each other on its row, and one finds it used.
func (s *Service) acceptInvitation(ctx context.Context, tx pgx.Tx, by Actor, secret string) (Organization, error) {
	row, err := pg.One[invitationRow](ctx, tx, lockInvitation, pg.Args{"hash": hashBearer(secret)})
	if pg.None(err) {
		return Organization{}, errInvitation
	}
	if err != nil {
		return Organization{}, fmt.Errorf("read invitation: %w", err)
	}
	if row.Email != by.Label {
		return Organization{}, fault.New(fault.Denied, "invitation_other_address", "This invitation is for another e-mail address.")
	}
	if _, err := pg.Exec(ctx, tx, useInvitation, pg.Args{"organization": row.OrganizationID, "id": row.ID, "user": by.UserID}); err != nil {
		return Organization{}, fmt.Errorf("use invitation: %w", err)
	}
	if err := s.insertMember(ctx, tx, row.OrganizationID, by.UserID, row.Role); err != nil {
		return Organization{}, err
	}
	by.OrganizationID = row.OrganizationID
	detail := map[string]string{"role": string(row.Role)}
	if err := audit.Record(ctx, tx, by.Event("member.join", "user", by.UserID, by.Label, detail)); err != nil {
		return Organization{}, err
	}
	return s.readOrganization(ctx, tx, row.OrganizationID, row.Role)
}

// RevokeInvitation makes an invitation worthless.
func (s *Service) RevokeInvitation(ctx context.Context, a Actor, id uuid.UUID) error {
	if err := a.Require(MembersManage); err != nil {
		return err
	}
	return s.db.InTx(ctx, func(tx pgx.Tx) error {
		email, err := pg.Value[string](ctx, tx, revokeInvitation, pg.Args{"organization": a.OrganizationID, "id": id})
		if pg.None(err) {
			return errInvitation
		}
		if err != nil {
			return fmt.Errorf("revoke invitation: %w", err)
		}
		return audit.Record(ctx, tx, a.Event("invitation.revoke", "invitation", id, email, nil))
	})
}

// Invitations lists the open invitations, newest first.
func (s *Service) Invitations(ctx context.Context, a Actor, page PageInput) (Page[Invitation], error) {
	if err := a.Require(MembersRead); err != nil {
		return Page[Invitation]{}, err
	}
	return list(ctx, s, a, page, selectInvitations, func(i Invitation) Cursor { return Cursor{i.CreatedAt, i.ID} })
}
