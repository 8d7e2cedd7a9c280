package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"time"
)

const (
	cookieSecure = "__Host-pandu" // under https
	cookiePlain  = "pandu"        // on plain http, where browsers refuse the other

	sessionIdle     = 7 * 24 * time.Hour
	sessionAbsolute = 30 * 24 * time.Hour
)

func (s *Service) cookieName() string {
	if s.secure() {
		return cookieSecure
	}
	return cookiePlain
}

// cookie is the session as the browser keeps it: for this host only, never for scripts, not on requests that other
// sites make except for following a link here.
func (s *Service) cookie(secret string) *http.Cookie {
	return &http.Cookie{
		Name: s.cookieName(), Value: secret, Path: "/", HttpOnly: true, Secure: s.secure(),
		SameSite: http.SameSiteLaxMode, MaxAge: int(sessionAbsolute / time.Second),
	}
}

// noCookie makes the browser drop the session.
func (s *Service) noCookie() *http.Cookie {
	c := s.cookie("")
	c.MaxAge = -1
	return c
}

// newBearer makes 256 random bits as text.
func newBearer() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// hashBearer is what is stored of a random secret. It needs no salt and no slowness: nobody guesses 256 bits.
func hashBearer(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}
