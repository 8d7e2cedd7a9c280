package identity

import (
	"context"
	"net/mail"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
)

// userRow is a user as stored.
type userRow struct {
	ID           uuid.UUID `db:"id"`
	Email        string    `db:"email"`
	Name         string    `db:"name"`
	PasswordHash string    `db:"password_hash"`
	Locale       string    `db:"locale"`
	Operator     bool      `db:"operator"`
}

// User is a person as the API shows it to that person.
type User struct {
	ID       uuid.UUID `json:"id"`
	Email    string    `json:"email"`
	Name     string    `json:"name"`
	Locale   string    `json:"locale,omitempty"`
	Operator bool      `json:"operator"`
}

func (u userRow) public() User {
	return User{ID: u.ID, Email: u.Email, Name: u.Name, Locale: u.Locale, Operator: u.Operator}
}

// actor is the user acting on their own account, before there is a session.
func (u userRow) actor(organization uuid.UUID, from origin) Actor {
	return Actor{
		Kind: KindUser, ID: u.ID, UserID: u.ID, OrganizationID: organization, Label: u.Email,
		RequestID: from.RequestID, Address: from.Address,
	}
}

var errEmail = fault.New(fault.Invalid, "email_invalid", "This is not an e-mail address.").At("body.email", "not an address")

// cleanEmail lowers an address and refuses what is none. Only the plain form is accepted, without a display name.
func cleanEmail(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", errEmail
	}
	s = strings.ToLower(strings.TrimSpace(s))
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s || a.Name != "" || len(s) > 254 || strings.ContainsAny(s, "\"\\ \x00") {
		return "", errEmail
	}
	return s, nil
}

// cleanName makes one line of at most 100 characters; fallback when nothing is left.
func cleanName(name, fallback string) string {
	name = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(name, ""), func(r rune) bool {
		return r < ' ' || r == ' ' || r == 0x7f || (r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069)
	}), " ")
	if r := []rune(name); len(r) > 100 {
		name = string(r[:100])
	}
	if name == "" {
		return fallback
	}
	return name
}

// newUser judges an account and hashes its password; nothing is stored yet.
func (s *Service) newUser(ctx context.Context, account Account) (userRow, error) {
	email, err := cleanEmail(account.Email)
	if err != nil {
		return userRow{}, err
	}
	if err := judgePassword(account.Password); err != nil {
		return userRow{}, err
	}
	hash, err := s.hash(ctx, account.Password)
	if err != nil {
		return userRow{}, err
	}
	local, _, _ := strings.Cut(email, "@")
	return userRow{
		ID: pg.NewID(), Email: email, Name: cleanName(account.Name, cleanName(local, "user")), PasswordHash: hash, Locale: account.Locale,
	}, nil
}
