package identity_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pandu/modules/kit/secret"
	"pandu/modules/manager/identity"
)

func TestSetUpOnce(t *testing.T) {
	h := newHouse(t)
	link, pending, err := h.service.SetupLink(context.Background())
	must(t, err)
	key, ok := strings.CutPrefix(link, publicURL+"/setup#")
	if !pending || !ok || len(key) != 43 {
		t.Fatalf("set-up link %q, pending %v", link, pending)
	}
	if again, _, _ := h.another().SetupLink(context.Background()); again != link {
		t.Fatalf("another process prints %q, not %q", again, link)
	}
	h.anonymous().post("/auth/register", account("early@example.org")).refused(http.StatusConflict, "setup_pending")
	wrong := account("a@example.org")
	wrong["secret"] = strings.Repeat("x", 43)
	h.anonymous().post("/auth/setup", wrong).refused(http.StatusForbidden, "setup_secret")

	right := account("a@example.org")
	right["secret"] = key
	c := h.anonymous()
	c.post("/auth/setup", right).want(http.StatusCreated)
	me := into[identity.Me](c.get("/me").want(http.StatusOK))
	if !me.Operator || me.Role != identity.Owner || me.Organization != "default" {
		t.Fatalf("first administrator is %+v", me)
	}
	if got := h.actions(c); !slices.Contains(got, "setup.complete") || !slices.Contains(got, "organization.create") {
		t.Fatalf("events %v", got)
	}
	h.anonymous().post("/auth/setup", right).refused(http.StatusConflict, "setup_closed")
	if link, pending, err := h.service.SetupLink(context.Background()); pending || link != "" || err != nil {
		t.Fatalf("link after set-up: %q, %v, %v", link, pending, err)
	}
	must(t, h.service.EnsureAdministrator(context.Background(), "b@example.org", adminPassword))
	h.anonymous().post("/auth/login", map[string]string{"email": "b@example.org", "password": adminPassword}).
		refused(http.StatusUnauthorized, "login_failed")
}

func TestTwoSetUpsAtOnce(t *testing.T) {
	h := newHouse(t)
	link, _, err := h.service.SetupLink(context.Background())
	must(t, err)
	_, key, _ := strings.Cut(link, "#")
	codes := together(8, func(i int) int {
		body := account(string(rune('a'+i)) + "@example.org")
		body["secret"] = key
		return h.anonymous().post("/auth/setup", body).status
	})
	if codes[http.StatusCreated] != 1 || codes[http.StatusConflict] != 7 {
		t.Fatalf("answers %v", codes)
	}
}

func TestTwoRegistrationsOfOneAddress(t *testing.T) {
	h := settled(t)
	codes := together(6, func(int) int { return h.anonymous().post("/auth/register", account("same@example.org")).status })
	if codes[http.StatusCreated] != 1 || codes[http.StatusConflict] != 5 {
		t.Fatalf("answers %v", codes)
	}
}

func TestRegistrationModes(t *testing.T) {
	for mode, code := range map[identity.Registration]string{
		identity.Invite: "registration_invite", identity.Closed: "registration_closed",
	} {
		h := settled(t, func(d *identity.Deps) { d.Registration = mode })
		h.anonymous().post("/auth/register", account("x@example.org")).refused(http.StatusForbidden, code)
		state := into[map[string]any](h.anonymous().get("/auth/setup").want(http.StatusOK))
		if state["registration"] != string(mode) || state["pending"] != false {
			t.Fatalf("state %v", state)
		}
	}
	h := settled(t, func(d *identity.Deps) { d.Registration = identity.Closed })
	invited := account("x@example.org")
	invited["invitation"] = "anything"
	h.anonymous().post("/auth/register", invited).refused(http.StatusForbidden, "registration_closed")
}

func TestRegisterRefusesBadInput(t *testing.T) {
	h := settled(t)
	for code, body := range map[string]map[string]string{
		"email_invalid":      account("Somebody <a@example.org>"),
		"password_too_short": {"email": "a@example.org", "password": "short"},
		"email_taken":        account(strings.ToUpper(adminEmail)),
		"validation_failed":  {"email": "a@example.org", "password": adminPassword, "role": "owner"},
	} {
		a := h.anonymous().post("/auth/register", body)
		p := into[identity.Problem](a)
		if a.status < 400 || a.status >= 500 || p.Code != code {
			t.Errorf("%s: status %d, %s", code, a.status, a.body)
		}
	}
	a := h.anonymous().post("/auth/register", map[string]any{"email": 7, "password": "do not echo this"})
	a.refused(http.StatusUnprocessableEntity, "validation_failed")
	if strings.Contains(string(a.body), "do not echo this") {
		t.Fatalf("the answer repeats the input: %s", a.body)
	}
}

func TestSessionLifecycle(t *testing.T) {
	h := settled(t)
	c := h.anonymous()
	a := c.post("/auth/login", map[string]string{"email": " ROOT@example.org ", "password": adminPassword}).want(http.StatusOK)
	cookie := a.header.Get("Set-Cookie")
	for _, part := range []string{"pandu=", "HttpOnly", "SameSite=Lax", "Path=/"} {
		if !strings.Contains(cookie, part) {
			t.Errorf("cookie %q lacks %s", cookie, part)
		}
	}
	if strings.Contains(cookie, "Domain") || strings.Contains(cookie, "Secure") {
		t.Errorf("cookie %q on plain http", cookie)
	}
	c.get("/me").want(http.StatusOK)
	old := *c
	c.post("/auth/logout", nil).want(http.StatusNoContent)
	old.get("/me").refused(http.StatusUnauthorized, "sign_in_required")
	if n := h.count("select count(*) from identity.sessions where secret_hash = $1", []byte(old.cookie)); n != 0 {
		t.Fatal("the session's secret is stored in clear")
	}
}

func TestSecureCookie(t *testing.T) {
	h := settled(t, func(d *identity.Deps) { d.PublicURL = "https://panel.test" })
	a := h.anonymous().post("/auth/login", map[string]string{"email": adminEmail, "password": adminPassword}).want(http.StatusOK)
	cookie := a.header.Get("Set-Cookie")
	if !strings.HasPrefix(cookie, "__Host-pandu=") || !strings.Contains(cookie, "Secure") {
		t.Fatalf("cookie %q under https", cookie)
	}
}

func TestSessionsExpire(t *testing.T) {
	for name, change := range map[string]string{
		"idle":     "update identity.sessions set last_seen_at = now() - interval '8 days'",
		"absolute": "update identity.sessions set created_at = now() - interval '31 days'",
		"epoch":    "update identity.users set session_epoch = session_epoch + 1",
		"disabled": "update identity.users set disabled_at = now()",
	} {
		h := settled(t)
		c := h.admin()
		h.exec(change)
		if a := c.get("/me"); a.status != http.StatusUnauthorized {
			t.Errorf("%s: status %d", name, a.status)
		}
	}
}

func TestChangePasswordEndsOtherSessions(t *testing.T) {
	h := settled(t)
	here, there := h.admin(), h.admin()
	there.get("/me").want(http.StatusOK)
	here.post("/me/password", map[string]string{"current": "wrong", "new": "another good one"}).refused(http.StatusForbidden, "password_wrong")
	here.post("/me/password", map[string]string{"current": adminPassword, "new": "another good one"}).want(http.StatusOK)
	here.get("/me").want(http.StatusOK)
	there.get("/me").refused(http.StatusUnauthorized, "sign_in_required")
	h.login(adminEmail, "another good one")
}

// An account that does not exist must cost the same work as one that does, or its existence can be measured.
func TestLoginTakesAsLongForStrangers(t *testing.T) {
	h := settled(t)
	var known, unknown []time.Duration
	for i := range 24 {
		for email, times := range map[string]*[]time.Duration{adminEmail: &known, "nobody@example.org": &unknown} {
			h.exec("delete from identity.throttles")
			c := h.anonymous()
			c.address = "192.0.2." + string(rune('1'+i%9))
			start := time.Now()
			p := c.post("/auth/login", map[string]string{"email": email, "password": "not the password"}).
				refused(http.StatusUnauthorized, "login_failed")
			*times = append(*times, time.Since(start))
			if p.Detail != "The e-mail address or the password is wrong." {
				t.Fatalf("detail %q", p.Detail)
			}
		}
	}
	slices.Sort(known)
	slices.Sort(unknown)
	ratio := float64(unknown[len(unknown)/2]) / float64(known[len(known)/2])
	if ratio < 0.5 || ratio > 2 {
		t.Fatalf("median %v for a stranger, %v for a known account", unknown[len(unknown)/2], known[len(known)/2])
	}
}

func TestLoginIsThrottled(t *testing.T) {
	h := settled(t)
	attacker := h.anonymous()
	attacker.address = "192.0.2.1"
	wrong := map[string]string{"email": adminEmail, "password": "wrong password"}
	for range 8 {
		attacker.post("/auth/login", wrong).refused(http.StatusUnauthorized, "login_failed")
	}
	a := attacker.post("/auth/login", wrong)
	p := a.refused(http.StatusTooManyRequests, "too_many_attempts")
	if a.header.Get("Retry-After") == "" || p.Parameters["minutes"] == "" {
		t.Fatalf("refused without saying when to come back: %v %v", a.header, p)
	}
	attacker.header.Set("X-Forwarded-For", "198.51.100.7")
	attacker.post("/auth/login", wrong).refused(http.StatusTooManyRequests, "too_many_attempts")
	attacker.post("/auth/login", map[string]string{"email": adminEmail, "password": adminPassword}).refused(http.StatusTooManyRequests, "too_many_attempts")

	owner := h.anonymous()
	owner.address = "192.0.2.2"
	owner.post("/auth/login", map[string]string{"email": adminEmail, "password": adminPassword}).want(http.StatusOK)

	// From everywhere at once: the account closes to strangers, not to where its owner signed in before.
	h.exec("update identity.throttles set count = 1000 where bucket like 'account %'")
	h.exec("insert into identity.throttles values ('account " + adminEmail + "', 1000, now() + interval '1 hour') on conflict do nothing")
	stranger := h.anonymous()
	stranger.address = "192.0.2.3"
	stranger.post("/auth/login", wrong).refused(http.StatusTooManyRequests, "too_many_attempts")
	owner.post("/auth/login", map[string]string{"email": adminEmail, "password": adminPassword}).want(http.StatusOK)
}

func TestThrottleWindowEnds(t *testing.T) {
	h := settled(t)
	h.exec("insert into identity.throttles values ('pair " + adminEmail + " 192.0.2.1', 1000, now() - interval '1 second')")
	c := h.anonymous()
	c.address = "192.0.2.1"
	c.post("/auth/login", map[string]string{"email": adminEmail, "password": adminPassword}).want(http.StatusOK)
	must(t, h.service.Sweep(context.Background()))
}

func TestWrongMasterKeyIsRefused(t *testing.T) {
	h := newHouse(t)
	s, err := identity.New(identity.Deps{DB: h.db, Audit: h.audit, MasterKey: secret.NewKey(), PublicURL: publicURL, Now: h.clock.Now})
	must(t, err)
	if err := s.Prepare(context.Background()); err == nil || !strings.Contains(err.Error(), "master key is not the one") {
		t.Fatalf("prepare with another master key: %v", err)
	}
}

func TestPreparedOnceByManyProcesses(t *testing.T) {
	h := newHouse(t)
	h.exec("truncate identity.keys, identity.setup; delete from identity.organizations")
	var wait sync.WaitGroup
	for range 6 {
		wait.Go(func() { h.another() })
	}
	wait.Wait()
	if n := h.count("select count(*) from identity.keys"); n != 7 {
		t.Fatalf("%d keys, want five of the platform and two of the organization default", n)
	}
	first, err := h.another().CA(context.Background())
	must(t, err)
	second, err := h.another().CA(context.Background())
	must(t, err)
	if first.Fingerprint() != second.Fingerprint() {
		t.Fatal("two processes have two authorities")
	}
}

func account(email string) map[string]string {
	return map[string]string{"email": email, "password": adminPassword}
}

// together runs fn n times at once and counts the answers.
func together(n int, fn func(i int) int) map[int]int {
	var mu sync.Mutex
	var wait sync.WaitGroup
	answers := map[int]int{}
	for i := range n {
		wait.Go(func() {
			code := fn(i)
			mu.Lock()
			defer mu.Unlock()
			answers[code]++
		})
	}
	wait.Wait()
	return answers
}

func (h *house) exec(sql string) {
	h.t.Helper()
	_, err := h.db.Pool.Exec(context.Background(), sql)
	must(h.t, err)
}

func (h *house) count(sql string, args ...any) (n int) {
	h.t.Helper()
	must(h.t, h.db.Pool.QueryRow(context.Background(), sql, args...).Scan(&n))
	return n
}
