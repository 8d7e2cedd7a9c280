package identity

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
	"pandu/modules/manager/audit"
)

// errLogin says neither whether the account exists nor what was wrong.
var errLogin = fault.New(fault.Unauthorized, "login_failed", "The e-mail address or the password is wrong.")

// Login starts a session. It does the same work whether the account exists or not, and answers the same.
func (s *Service) Login(ctx context.Context, email, password string, from origin) (SignedIn, error) {
	email, err := cleanEmail(email)
	if err != nil || len(password) > maxPassword {
		return SignedIn{}, errLogin
	}
	user, err := pg.One[userRow](ctx, s.db.Pool, selectUserByEmail, pg.Args{"email": email})
	if pg.None(err) {
		user, err = userRow{PasswordHash: s.dummyHash}, nil
	}
	if err != nil {
		return SignedIn{}, fmt.Errorf("read user: %w", err)
	}
	buckets, err := s.buckets(ctx, user.ID, email, from.Address)
	if err != nil {
		return SignedIn{}, err
	}
	if err := s.try(ctx, buckets); err != nil {
		return SignedIn{}, err
	}
	match, outdated, err := s.check(ctx, user.PasswordHash, password)
	if err != nil {
		return SignedIn{}, err
	}
	if !match || user.ID == uuid.Nil {
		return SignedIn{}, errLogin
	}
	if err := s.succeeded(ctx, buckets); err != nil {
		return SignedIn{}, err
	}
	return s.begin(ctx, user, password, outdated, from)
}

// begin starts the session of somebody whose password was right, and renews an outdated hash of it.
func (s *Service) begin(ctx context.Context, user userRow, password string, outdated bool, from origin) (SignedIn, error) {
	renewed := ""
	if outdated {
		var err error
		if renewed, err = s.hash(ctx, password); err != nil {
			return SignedIn{}, err
		}
	}
	var in SignedIn
	err := s.db.InTx(ctx, func(tx pgx.Tx) error {
		if renewed != "" {
			if _, err := pg.Exec(ctx, tx, updatePassword, pg.Args{"id": user.ID, "hash": renewed, "bump": 0}); err != nil {
				return fmt.Errorf("renew password hash: %w", err)
			}
		}
		var err error
		in, err = signIn(ctx, tx, user, from)
		return err
	})
	return in, err
}

// Logout ends the session that the actor came with, and the JWTs made from it.
func (s *Service) Logout(ctx context.Context, a Actor) error {
	if a.session == uuid.Nil {
		return fault.New(fault.Conflict, "no_session", "You are not signed in with a browser session. Revoke an API token instead.")
	}
	err := s.db.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := pg.Exec(ctx, tx, endSession, pg.Args{"id": a.session}); err != nil {
			return fmt.Errorf("end session: %w", err)
		}
		return audit.Record(ctx, tx, a.platform().Event("session.end", "session", a.session, a.Label, nil))
	})
	s.known.forget(a.session)
	return err
}

// ChangePassword ends every session of the user and starts a new one for whoever changed it. API tokens stay.
func (s *Service) ChangePassword(ctx context.Context, a Actor, current, wanted string, from origin) (SignedIn, error) {
	if a.Kind != KindUser {
		return SignedIn{}, errUsersOnly
	}
	if err := judgePassword(wanted); err != nil {
		return SignedIn{}, err
	}
	user, err := pg.One[userRow](ctx, s.db.Pool, selectUser, pg.Args{"id": a.UserID})
	if err != nil {
		return SignedIn{}, fmt.Errorf("read user: %w", err)
	}
	if err := s.confirm(ctx, user, current, from); err != nil {
		return SignedIn{}, err
	}
	hash, err := s.hash(ctx, wanted)
	if err != nil {
		return SignedIn{}, err
	}
	var in SignedIn
	err = s.db.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := pg.Exec(ctx, tx, updatePassword, pg.Args{"id": user.ID, "hash": hash, "bump": 1}); err != nil {
			return fmt.Errorf("change password: %w", err)
		}
		if err := audit.Record(ctx, tx, a.platform().Event("user.password", "user", user.ID, user.Email, nil)); err != nil {
			return err
		}
		in, err = signIn(ctx, tx, user, from)
		return err
	})
	s.known.forget(user.ID)
	return in, err
}

// confirm asks a user who is signed in for the password again, counted like signing in.
func (s *Service) confirm(ctx context.Context, user userRow, password string, from origin) error {
	buckets, err := s.buckets(ctx, user.ID, user.Email, from.Address)
	if err != nil {
		return err
	}
	if err := s.try(ctx, buckets); err != nil {
		return err
	}
	match, _, err := s.check(ctx, user.PasswordHash, password)
	if err != nil {
		return err
	}
	if !match {
		return fault.New(fault.Denied, "password_wrong", "The current password is wrong.").At("body.current", "wrong")
	}
	return s.succeeded(ctx, buckets)
}

var errUsersOnly = fault.New(fault.Denied, "users_only", "Only a person who is signed in may do this, not an API token.")
