package identity

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"pandu/modules/kit/pg"
)

const (
	jwtLife     = 10 * time.Minute
	jwtIssuer   = "pandu"
	jwtAudience = "pandu-api"
	jwtType     = "at+jwt" // RFC 9068: an access token, nothing else of ours
)

// claims name the session or the API token that a JWT stands for: it is looked up on use, so that ending it ends the JWT.
type claims struct {
	jwt.RegisteredClaims
	Session uuid.UUID `json:"sid,omitzero"`
	Token   uuid.UUID `json:"tid,omitzero"`
}

var errJWT = errors.New("token is not one of ours")

// issueJWT signs a token for the session or API token that the actor came with.
func (s *Service) issueJWT(ctx context.Context, a Actor) (text string, expires time.Time, err error) {
	k, err := s.currentKey(ctx, s.db.Pool, slot{uuid.Nil, purposeJWT})
	if err != nil {
		return "", time.Time{}, err
	}
	now := s.now()
	expires = now.Add(jwtLife)
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: jwtIssuer, Audience: jwt.ClaimStrings{jwtAudience}, Subject: a.ID.String(), ID: pg.NewID().String(),
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(expires),
		},
		Session: a.session, Token: a.token,
	})
	t.Header["typ"], t.Header["kid"] = jwtType, k.ID.String()
	if text, err = t.SignedString(ed25519.NewKeyFromSeed(k.secret)); err != nil {
		return "", time.Time{}, fmt.Errorf("sign token: %w", err)
	}
	return text, expires, nil
}

func (s *Service) loadJWT(ctx context.Context, text string) (*principal, error) {
	c, err := s.verifyJWT(ctx, text)
	if err != nil {
		return nil, errSignIn.Because(err)
	}
	var who *principal
	if c.Session != uuid.Nil {
		who, err = s.findSession(ctx, pg.Args{"hash": nil, "id": c.Session})
	} else {
		who, err = s.findToken(ctx, pg.Args{"prefix": nil, "id": c.Token})
	}
	if err != nil {
		return nil, err
	}
	who.until = c.ExpiresAt.Time
	return who, nil
}

// verifyJWT checks signature, algorithm, type, issuer, audience and time. The key is one of ours by its id, never one
// that the token brings along.
func (s *Service) verifyJWT(ctx context.Context, text string) (claims, error) {
	var c claims
	_, err := jwt.ParseWithClaims(text, &c, func(t *jwt.Token) (any, error) { return s.jwtKey(ctx, t) },
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithIssuer(jwtIssuer), jwt.WithAudience(jwtAudience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(5*time.Second), jwt.WithTimeFunc(s.now), jwt.WithStrictDecoding())
	if err != nil {
		return claims{}, err
	}
	if (c.Session == uuid.Nil) == (c.Token == uuid.Nil) || c.ExpiresAt.Sub(c.IssuedAt.Time) > jwtLife {
		return claims{}, errJWT
	}
	return c, nil
}

func (s *Service) jwtKey(ctx context.Context, t *jwt.Token) (any, error) {
	kid, _ := t.Header["kid"].(string)
	id, err := uuid.Parse(kid)
	if err != nil || len(kid) != 36 || t.Header["typ"] != jwtType {
		return nil, errJWT
	}
	k, err := s.keyByID(ctx, s.db.Pool, uuid.Nil, id)
	if err != nil {
		return nil, err
	}
	if k.purpose != purposeJWT || (k.retired != nil && s.now().Sub(*k.retired) > jwtLife) {
		return nil, errJWT
	}
	return ed25519.PublicKey(k.public), nil
}
