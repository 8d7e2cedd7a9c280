package identity_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"pandu/modules/manager/identity"
)

func TestAPITokenLifecycle(t *testing.T) {
	h := settled(t)
	c := h.admin()
	made := into[identity.NewToken](c.post("/tokens", map[string]any{"name": "ci", "scopes": []string{"projects.read", "projects.read"}}).want(http.StatusCreated))
	if !strings.HasPrefix(made.Secret, "pandu_"+made.Prefix+"_") || len(made.Secret) != 74 || !slices.Equal(made.Scopes, []string{"projects.read"}) {
		t.Fatalf("token %+v", made)
	}
	if n := h.count("select count(*) from identity.tokens where secret_hash = $1", []byte(made.Secret)); n != 0 {
		t.Fatal("the token is stored in clear")
	}
	ci := &client{h: h, bearer: made.Secret, header: http.Header{}}
	me := into[identity.Me](ci.get("/me").want(http.StatusOK))
	if me.Kind != identity.KindToken || me.Operator || !slices.Equal(me.Permissions, []identity.Permission{identity.ProjectsRead}) {
		t.Fatalf("token may %+v", me)
	}
	ci.get("/members").refused(http.StatusForbidden, "permission_missing")
	ci.get("/system/events").refused(http.StatusForbidden, "operator_only")
	page := into[identity.Page[identity.Token]](c.get("/tokens").want(http.StatusOK))
	if len(page.Items) != 1 || page.Items[0].LastUsedAt == nil || strings.Contains(string(c.get("/tokens").body), made.Secret) {
		t.Fatalf("listed as %+v", page)
	}
	mistyped := &client{h: h, bearer: made.Secret[:70] + "aaaa", header: http.Header{}}
	mistyped.get("/me").refused(http.StatusUnauthorized, "sign_in_required")
	c.do(http.MethodDelete, "/tokens/"+made.ID.String(), nil).want(http.StatusNoContent)
	ci.get("/me").refused(http.StatusUnauthorized, "sign_in_required")
	c.do(http.MethodDelete, "/tokens/"+made.ID.String(), nil).refused(http.StatusNotFound, "token_not_found")
	if got := h.actions(c)[:2]; !slices.Equal(got, []string{"token.revoke", "token.create"}) {
		t.Fatalf("events %v", got)
	}
}

func TestTokenScopes(t *testing.T) {
	h := settled(t)
	c := h.admin()
	token := func(from *client, scopes ...string) *client {
		made := into[identity.NewToken](from.post("/tokens", map[string]any{"name": "t", "scopes": scopes}).want(http.StatusCreated))
		return &client{h: h, bearer: made.Secret, header: http.Header{}}
	}
	c.post("/tokens", map[string]any{"name": "t", "scopes": []string{"projects.destroy"}}).refused(http.StatusUnprocessableEntity, "scope_unknown")

	all := token(c, "*")
	all.get("/members").want(http.StatusOK)
	all.get("/system/events").refused(http.StatusForbidden, "operator_only")
	operator := token(c, "*", "system.read")
	operator.get("/system/events").want(http.StatusOK)

	narrow := token(c, "tokens.manage", "projects.read")
	narrow.post("/tokens", map[string]any{"name": "t", "scopes": []string{"members.manage"}}).refused(http.StatusForbidden, "scope_beyond_own")
	narrow.post("/tokens", map[string]any{"name": "t", "scopes": []string{"*"}}).refused(http.StatusForbidden, "scope_beyond_own")
	token(narrow, "projects.read").get("/me").want(http.StatusOK)

	other := h.register("other@example.org")
	other.post("/tokens", map[string]any{"name": "t", "scopes": []string{"system.read"}}).refused(http.StatusForbidden, "scope_beyond_own")
}

func TestTokenEndsWithItsTimeAndItsPerson(t *testing.T) {
	for name, change := range map[string]string{
		"expired":  "update identity.tokens set expires_at = now() - interval '1 second'",
		"left":     "delete from identity.members",
		"disabled": "update identity.users set disabled_at = now()",
	} {
		h := settled(t)
		made := into[identity.NewToken](h.admin().post("/tokens", map[string]any{"name": "t", "scopes": []string{"*"}, "days": 1}).want(http.StatusCreated))
		h.exec(change)
		c := &client{h: h, bearer: made.Secret, header: http.Header{}}
		if a := c.get("/me"); a.status != http.StatusUnauthorized {
			t.Errorf("%s: status %d", name, a.status)
		}
	}
}

// What this process remembers of a credential ends within 30 s also when another process revoked it.
func TestRevocationElsewhereWorksWithin30Seconds(t *testing.T) {
	h := settled(t)
	c := h.admin()
	c.get("/me").want(http.StatusOK)
	bearer := &client{h: h, bearer: exchange(c), header: http.Header{}}
	bearer.get("/me").want(http.StatusOK)
	h.exec("update identity.sessions set ended_at = now()")
	c.get("/me").want(http.StatusOK) // remembered: the test would prove nothing if this asked the database
	h.clock.Advance(29 * time.Second)
	c.get("/me").refused(http.StatusUnauthorized, "sign_in_required")
	bearer.get("/me").refused(http.StatusUnauthorized, "sign_in_required")
}

// A right that was given elsewhere a moment ago must not be refused from memory.
func TestNewRightWorksAtOnce(t *testing.T) {
	h := settled(t)
	c := h.register("new@example.org")
	c.get("/me").want(http.StatusOK)
	h.exec("insert into identity.members select o.id, u.id, 'viewer' from identity.organizations o, identity.users u where o.slug = 'default' and u.email = 'new@example.org'")
	c.organization = "default"
	c.get("/members").want(http.StatusOK)
	c.get("/invitations").refused(http.StatusForbidden, "permission_missing")
}

func TestBootstrapToken(t *testing.T) {
	h := newHouse(t)
	first, err := h.service.EnsureBootstrapToken(context.Background())
	must(t, err)
	c := &client{h: h, bearer: first, header: http.Header{}}
	me := into[identity.Me](c.get("/me").want(http.StatusOK))
	if me.Organization != "default" || me.User != nil || !slices.Contains(me.Permissions, identity.DeploymentsCreate) ||
		slices.Contains(me.Permissions, identity.MembersManage) || slices.Contains(me.Permissions, identity.TokensManage) {
		t.Fatalf("bootstrap token may %+v", me)
	}
	second, err := h.service.EnsureBootstrapToken(context.Background())
	must(t, err)
	c.get("/me").refused(http.StatusUnauthorized, "sign_in_required")
	(&client{h: h, bearer: second, header: http.Header{}}).get("/me").want(http.StatusOK)
	// The administrator who comes later finds the same organization.
	must(t, h.service.EnsureAdministrator(context.Background(), adminEmail, adminPassword))
	if got := into[identity.Me](h.admin().get("/me").want(http.StatusOK)); got.Organization != "default" {
		t.Fatalf("administrator is in %q", got.Organization)
	}
}

func exchange(c *client) string {
	c.h.t.Helper()
	reply := into[map[string]string](c.post("/auth/token", nil).want(http.StatusOK))
	if reply["token_type"] != "Bearer" || reply["token"] == "" {
		c.h.t.Fatalf("exchanged for %v", reply)
	}
	return reply["token"]
}

func TestJWT(t *testing.T) {
	h := settled(t)
	c := h.admin()
	text := exchange(c)
	bearer := &client{h: h, bearer: text, header: http.Header{}}
	me := into[identity.Me](bearer.get("/me").want(http.StatusOK))
	if me.User == nil || me.User.Email != adminEmail || !me.Operator {
		t.Fatalf("behind the JWT is %+v", me)
	}
	bearer.header.Set("Origin", "https://elsewhere.example") // no cookie, so no cross-site danger
	bearer.post("/auth/token", nil).want(http.StatusOK)
	h.clock.Advance(11 * time.Minute)
	bearer.get("/me").refused(http.StatusUnauthorized, "sign_in_required")

	made := into[identity.NewToken](c.post("/tokens", map[string]any{"name": "ci", "scopes": []string{"projects.read"}}).want(http.StatusCreated))
	ofToken := &client{h: h, bearer: exchange(&client{h: h, bearer: made.Secret, header: http.Header{}}), header: http.Header{}}
	if me := into[identity.Me](ofToken.get("/me").want(http.StatusOK)); len(me.Permissions) != 1 || me.Kind != identity.KindToken {
		t.Fatalf("behind the token's JWT is %+v", me)
	}
	c.do(http.MethodDelete, "/tokens/"+made.ID.String(), nil).want(http.StatusNoContent)
	ofToken.get("/me").refused(http.StatusUnauthorized, "sign_in_required")
}

// forge changes the header and claims of a good token and signs it with a key of its own, or not at all.
func TestForgedJWT(t *testing.T) {
	h := settled(t)
	good := exchange(h.admin())
	parsed, _, err := jwt.NewParser().ParseUnverified(good, jwt.MapClaims{})
	must(t, err)
	_, own, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	forge := func(method jwt.SigningMethod, key any, change func(header map[string]any, claims jwt.MapClaims)) string {
		claims := jwt.MapClaims{}
		for k, v := range parsed.Claims.(jwt.MapClaims) {
			claims[k] = v
		}
		token := jwt.NewWithClaims(method, claims)
		token.Header["typ"], token.Header["kid"] = parsed.Header["typ"], parsed.Header["kid"]
		change(token.Header, claims)
		text, err := token.SignedString(key)
		must(t, err)
		return text
	}
	nothing := func(map[string]any, jwt.MapClaims) {}
	parts := strings.Split(good, ".")
	reHeader := func(header string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + parts[1] + "." + parts[2]
	}
	for name, text := range map[string]string{
		"alg none":             forge(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nothing),
		"hmac with public key": forge(jwt.SigningMethodHS256, []byte("public"), nothing),
		"own key":              forge(jwt.SigningMethodEdDSA, own, nothing),
		"own key, unknown kid": forge(jwt.SigningMethodEdDSA, own, func(h map[string]any, _ jwt.MapClaims) { h["kid"] = uuid.NewString() }),
		"kid is a path":        forge(jwt.SigningMethodEdDSA, own, func(h map[string]any, _ jwt.MapClaims) { h["kid"] = "../../etc/passwd" }),
		"kid is sql":           forge(jwt.SigningMethodEdDSA, own, func(h map[string]any, _ jwt.MapClaims) { h["kid"] = "' or 1=1 --" }),
		"kid is a number":      forge(jwt.SigningMethodEdDSA, own, func(h map[string]any, _ jwt.MapClaims) { h["kid"] = 1 }),
		"jku":                  forge(jwt.SigningMethodEdDSA, own, func(h map[string]any, _ jwt.MapClaims) { h["jku"] = "https://x.example/jwks" }),
		"jwk":                  forge(jwt.SigningMethodEdDSA, own, func(h map[string]any, _ jwt.MapClaims) { h["jwk"] = map[string]string{"kty": "OKP"} }),
		"other header":         reHeader(`{"alg":"EdDSA","typ":"JWT","kid":"` + parsed.Header["kid"].(string) + `"}`),
		"claims altered":       parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"pandu","aud":["pandu-api"],"exp":99999999999,"iat":1}`)) + "." + parts[2],
		"no signature":         parts[0] + "." + parts[1] + ".",
		"signature cut":        good[:len(good)-4],
		"padded":               good + "=",
		"two parts":            parts[0] + "." + parts[1],
		"dots":                 strings.Repeat(".", 4000),
		"huge":                 good + strings.Repeat("A", 5000),
		"empty parts":          "..",
		"garbage":              "garbage",
	} {
		c := &client{h: h, bearer: text, header: http.Header{}}
		if a := c.get("/me"); a.status != http.StatusUnauthorized {
			t.Errorf("%s: status %d: %s", name, a.status, a.body)
		}
	}
	(&client{h: h, bearer: good, header: http.Header{}}).get("/me").want(http.StatusOK)
}

func TestCrossOriginRequestsAreRefused(t *testing.T) {
	h := settled(t)
	for name, test := range map[string]struct {
		header http.Header
		status int
	}{
		"other site":        {http.Header{"Origin": {"https://evil.example"}}, http.StatusForbidden},
		"sibling, by fetch": {http.Header{"Sec-Fetch-Site": {"same-site"}}, http.StatusForbidden},
		"cross, by fetch":   {http.Header{"Sec-Fetch-Site": {"cross-site"}}, http.StatusForbidden},
		"opaque":            {http.Header{"Origin": {"null"}}, http.StatusForbidden},
		"same":              {http.Header{"Sec-Fetch-Site": {"same-origin"}}, http.StatusNoContent},
		"public address":    {http.Header{"Origin": {publicURL}}, http.StatusNoContent},
		"command line":      {http.Header{}, http.StatusNoContent},
	} {
		c := h.admin()
		c.header = test.header
		if a := c.post("/auth/logout", nil); a.status != test.status {
			t.Errorf("%s: status %d, want %d", name, a.status, test.status)
		}
	}
	evil := h.anonymous()
	evil.header.Set("Origin", "https://evil.example")
	evil.post("/auth/login", account(adminEmail)).refused(http.StatusForbidden, "cross_origin")
}
