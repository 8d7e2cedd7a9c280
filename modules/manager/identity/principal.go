package identity

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"pandu/modules/kit/fault"
)

var uuidNil = uuid.Nil

// principal is who a credential belongs to, before the organization of the request is known. It is immutable.
type principal struct {
	userID   uuid.UUID
	operator bool
	email    string
	session  uuid.UUID // one of session and token is set
	token    uuid.UUID
	label    string        // of the token
	scoped   permissionSet // of a token: what its role and scopes leave; nil for sessions

	memberships []membership // of the user; of a token only the one of its organization
	until       time.Time    // by our clock, when the credential itself ends; zero: later than anything is remembered
}

// membership is one organization of a user, oldest first in lists.
type membership struct {
	OrganizationID uuid.UUID `db:"organization_id"`
	Slug           string    `db:"slug"`
	Name           string    `db:"name"`
	Role           Role      `db:"role"`
}

// actor stands the principal into an organization, by id or slug; "" takes the oldest membership, or none.
func (p *principal) actor(wanted string) (Actor, error) {
	a := Actor{
		Kind: KindUser, ID: p.userID, UserID: p.userID, Label: p.email, session: p.session, token: p.token,
	}
	if p.token != uuid.Nil {
		a.Kind, a.ID, a.Label = KindToken, p.token, p.label
	}
	for _, m := range p.memberships {
		if wanted == "" || wanted == m.Slug || wanted == m.OrganizationID.String() {
			a.OrganizationID, a.Role = m.OrganizationID, m.Role
			break
		}
	}
	if wanted != "" && a.OrganizationID == uuid.Nil {
		return Actor{}, fault.New(fault.NotFound, "organization_not_found", "There is no such organization, or you are not a member of it.").
			With("organization", wanted)
	}
	if a.permissions = p.scoped; p.token == uuid.Nil {
		a.permissions = unscoped[standing{a.Role, p.operator}]
	}
	for _, o := range operatorPermissions {
		a.Operator = a.Operator || a.Can(o)
	}
	return a, nil
}

// credential is what a request carries to say who it is, and how to find that out.
type credential struct {
	kind  string // so that a token in a cookie is not taken for one in the header
	value string
	load  func(ctx context.Context, value string) (*principal, error)
}

// authenticate finds out whose credential a request carries; remembered says that the database was not asked.
func (s *Service) authenticate(r *http.Request) (who *principal, remembered bool, err error) {
	c, err := s.credential(r)
	if err != nil {
		return nil, false, err
	}
	if who, ok := s.known.get(c.kind + c.value); ok {
		return who, true, nil
	}
	who, err = s.load(r.Context(), c)
	return who, false, err
}

// reload asks the database, whatever is remembered.
func (s *Service) reload(r *http.Request) (*principal, error) {
	c, err := s.credential(r)
	if err != nil {
		return nil, err
	}
	return s.load(r.Context(), c)
}

func (s *Service) load(ctx context.Context, c credential) (*principal, error) {
	who, err := c.load(ctx, c.value)
	if err != nil {
		return nil, err
	}
	s.known.put(c.kind+c.value, who, who.until)
	return who, nil
}

// maxCredential bounds what is looked at at all; larger ones are refused before anything is parsed.
const maxCredential = 4096

// credential reads the bearer token (API token or JWT) or, without an Authorization header, the session cookie.
func (s *Service) credential(r *http.Request) (credential, error) {
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, value, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "bearer") || len(value) == 0 || len(value) > maxCredential {
			return credential{}, errSignIn
		}
		if strings.HasPrefix(value, tokenPrefix) {
			return credential{"token ", value, s.loadToken}, nil
		}
		return credential{"jwt ", value, s.loadJWT}, nil
	}
	cookie, err := r.Cookie(s.cookieName())
	if err != nil || cookie.Value == "" || len(cookie.Value) > maxCredential {
		return credential{}, errSignIn
	}
	return credential{"session ", cookie.Value, s.loadSession}, nil
}
