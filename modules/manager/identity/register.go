package identity

import (
	"context"
	"crypto/rand"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/fault"
	"pandu/modules/manager/audit"
)

// Register makes an account. With an invitation it joins the inviting organization under the invitation's address;
// without one, and only where registration is open, it gets an organization of its own.
func (s *Service) Register(ctx context.Context, account Account, invitation string, from origin) (SignedIn, error) {
	if invitation == "" && s.registration != Open {
		return SignedIn{}, fault.New(fault.Denied, "registration_"+string(s.registration), "You need an invitation to make an account here. Ask an owner of your organization.")
	}
	if s.registration == Closed {
		return SignedIn{}, fault.New(fault.Denied, "registration_closed", "No new accounts are made here.")
	}
	if err := s.setupIsOver(ctx); err != nil {
		return SignedIn{}, err
	}
	// Registering hashes a password: strangers get as many tries as for signing in, successful or not.
	if err := s.try(ctx, []bucket{{"register " + networkOf(from.Address), triesPerAddress}}); err != nil {
		return SignedIn{}, err
	}
	user, err := s.newUser(ctx, account)
	if err != nil {
		return SignedIn{}, err
	}
	var in SignedIn
	err = s.db.InTx(ctx, func(tx pgx.Tx) error {
		if err := s.register(ctx, tx, user, invitation, from); err != nil {
			return err
		}
		in, err = signIn(ctx, tx, user, from)
		return err
	})
	return in, err
}

func (s *Service) register(ctx context.Context, tx pgx.Tx, user userRow, invitation string, from origin) error {
	if err := insertUser(ctx, tx, user); err != nil {
		return err
	}
	by := user.actor(uuid.Nil, from)
	if err := audit.Record(ctx, tx, by.Event("user.register", "user", user.ID, user.Email, nil)); err != nil {
		return err
	}
	if invitation != "" {
		_, err := s.acceptInvitation(ctx, tx, by, invitation)
		return err
	}
	local, _, _ := strings.Cut(user.Email, "@")
	org, err := s.insertOrganization(ctx, tx, by, ownSlug(local), user.Name)
	if err != nil {
		return err
	}
	return s.insertMember(ctx, tx, org, user.ID, Owner)
}

// setupIsOver refuses accounts before the first administrator is there: nobody should come in by another door.
func (s *Service) setupIsOver(ctx context.Context) error {
	_, pending, err := s.SetupLink(ctx)
	if err != nil {
		return err
	}
	if pending {
		return fault.New(fault.Conflict, "setup_pending", "This installation has no administrator yet. Open the set-up link that it printed when it started.")
	}
	return nil
}

// ownSlug makes the short name of a new person's organization. Five random characters keep it free, and from telling
// whether somebody of that name is here already.
func ownSlug(name string) string {
	b := make([]byte, 4)
	_, _ = rand.Read(b) // never fails
	slug := slugOf(name)
	if len(slug) > 30 {
		slug = strings.TrimRight(slug[:30], "-")
	}
	return strings.TrimLeft(slug+"-"+base32Lower(b)[:5], "-")
}

// slugOf keeps the letters, digits and dashes of a name.
func slugOf(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case (r >= 'a' && r <= 'z') || (r >= '0' && r <= '9'):
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.Trim(b.String(), "-")
}
