package identity

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
	"pandu/modules/manager/audit"
)

// DefaultOrganization is the slug of the organization that exists from the start and that the first administrator inherits.
const DefaultOrganization = "default"

type setupRow struct {
	Nonce       []byte     `db:"nonce"`
	SecretHash  []byte     `db:"secret_hash"`
	CompletedAt *time.Time `db:"completed_at"`
}

const insertSetup = `
	insert into identity.setup (nonce, secret_hash) values (@nonce, @hash) on conflict do nothing`

const selectSetup = `select nonce, secret_hash, completed_at from identity.setup`

const lockSetup = `select nonce, secret_hash, completed_at from identity.setup for update`

const completeSetup = `update identity.setup set completed_at = now(), completed_by = @user where completed_at is null`

var errSetupClosed = fault.New(fault.Conflict, "setup_closed", "This installation has its administrator already. Sign in instead.")

// setupSecret is derived from the master key, so that every process can print the same link and the database alone
// cannot open the door.
func (s *Service) setupSecret(nonce []byte) string {
	h := hmac.New(sha256.New, s.keys.setup)
	h.Write(nonce)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// prepareSetup makes the door of the first administrator and the organization default, once.
func (s *Service) prepareSetup(ctx context.Context) error {
	err := s.db.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockKeys); err != nil {
			return err
		}
		nonce := newSecret()
		made, err := pg.Exec(ctx, tx, insertSetup, pg.Args{"nonce": nonce, "hash": hashBearer(s.setupSecret(nonce))})
		if err != nil || made == 0 {
			return err
		}
		_, err = s.insertOrganization(ctx, tx, System(uuid.Nil, "first start"), DefaultOrganization, "Default")
		return err
	})
	if err != nil {
		return fmt.Errorf("prepare set-up: %w", err)
	}
	return nil
}

// SetupLink is the one-time link that makes the first administrator; pending is false, and the link empty, when there
// is one already. Only print it where operators look: whoever has it owns the installation.
func (s *Service) SetupLink(ctx context.Context) (link string, pending bool, err error) {
	row, err := pg.One[setupRow](ctx, s.db.Pool, selectSetup, pg.Args{})
	if err != nil {
		return "", false, fmt.Errorf("read set-up: %w", err)
	}
	if row.CompletedAt != nil {
		return "", false, nil
	}
	return s.publicURL + "/setup#" + s.setupSecret(row.Nonce), true, nil
}

// Account is what somebody who makes an account says of themselves.
type Account struct {
	Email    string `json:"email" maxLength:"254" doc:"To sign in with."`
	Name     string `json:"name,omitempty" maxLength:"100" doc:"As others see it; the first part of the address when empty."`
	Password string `json:"password" maxLength:"256" doc:"At least 10 characters."`
	Locale   string `json:"locale,omitempty" enum:"en,id,ru,zh" doc:"Language of the dashboard."`
}

// SetUp makes the first administrator from the secret of the link: a platform operator who owns the organization
// default. Of two at the same time one wins; afterwards the door is closed.
func (s *Service) SetUp(ctx context.Context, secret string, account Account, from origin) (SignedIn, error) {
	return s.setUp(ctx, account, from, func(row setupRow) error {
		if subtle.ConstantTimeCompare(hashBearer(secret), row.SecretHash) != 1 {
			return fault.New(fault.Denied, "setup_secret", "This set-up link is not the one that was printed. Look at the server's log for it.")
		}
		return nil
	})
}

// EnsureAdministrator makes the first administrator from settings, unless there is one already.
func (s *Service) EnsureAdministrator(ctx context.Context, email, password string) error {
	_, pending, err := s.SetupLink(ctx)
	if err != nil || !pending {
		return err
	}
	_, err = s.setUp(ctx, Account{Email: email, Password: password}, origin{}, func(setupRow) error { return nil })
	if fault.KindOf(err) == fault.Conflict && fault.From(err).Code == errSetupClosed.Code {
		return nil // another process was faster
	}
	return err
}

func (s *Service) setUp(ctx context.Context, account Account, from origin, judge func(setupRow) error) (SignedIn, error) {
	user, err := s.newUser(ctx, account)
	if err != nil {
		return SignedIn{}, err
	}
	user.Operator = true
	var in SignedIn
	err = s.db.InTx(ctx, func(tx pgx.Tx) error {
		row, err := pg.One[setupRow](ctx, tx, lockSetup, pg.Args{})
		if err != nil {
			return err
		}
		if row.CompletedAt != nil {
			return errSetupClosed
		}
		if err := judge(row); err != nil {
			return err
		}
		if err := s.firstAdministrator(ctx, tx, user, from); err != nil {
			return err
		}
		in, err = signIn(ctx, tx, user, from)
		return err
	})
	return in, err
}

// firstAdministrator makes the user, owner of the organization default, and closes the door.
func (s *Service) firstAdministrator(ctx context.Context, tx pgx.Tx, user userRow, from origin) error {
	if err := insertUser(ctx, tx, user); err != nil {
		return err
	}
	org, err := pg.Value[uuid.UUID](ctx, tx, selectOrganizationBySlug, pg.Args{"slug": DefaultOrganization})
	if err != nil {
		return fmt.Errorf("read organization default: %w", err)
	}
	if err := s.insertMember(ctx, tx, org, user.ID, Owner); err != nil {
		return err
	}
	if _, err := pg.Exec(ctx, tx, completeSetup, pg.Args{"user": user.ID}); err != nil {
		return fmt.Errorf("close set-up: %w", err)
	}
	a := user.actor(org, from)
	if err := audit.Record(ctx, tx, a.Event("setup.complete", "user", user.ID, user.Email, nil)); err != nil {
		return err
	}
	return audit.Record(ctx, tx, a.platform().Event("setup.complete", "user", user.ID, user.Email, nil))
}
