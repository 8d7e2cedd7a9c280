package identity_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/fault"
	"pandu/modules/manager/identity"
)

// invite makes an invitation and returns its secret.
func (c *client) invite(email string, role identity.Role) string {
	c.h.t.Helper()
	made := into[identity.Invited](c.post("/invitations", map[string]any{"email": email, "role": role}).want(http.StatusCreated))
	key, ok := strings.CutPrefix(made.Link, publicURL+"/invitation#")
	if !ok {
		c.h.t.Fatalf("link %q", made.Link)
	}
	return key
}

// join registers somebody with an invitation of c's organization.
func (c *client) join(email string, role identity.Role) *client {
	c.h.t.Helper()
	body := account(email)
	body["invitation"] = c.invite(email, role)
	joined := c.h.anonymous()
	joined.post("/auth/register", body).want(http.StatusCreated)
	return joined
}

func TestInvitations(t *testing.T) {
	h := settled(t, func(d *identity.Deps) { d.Registration = identity.Invite })
	c := h.admin()
	key := c.invite("ann@example.org", identity.Member)
	wrong := account("bob@example.org")
	wrong["invitation"] = key
	h.anonymous().post("/auth/register", wrong).refused(http.StatusForbidden, "invitation_other_address")
	if n := h.count("select count(*) from identity.users"); n != 1 {
		t.Fatal("a refused registration left a user")
	}
	right := account("ANN@example.org")
	right["invitation"] = key
	codes := together(4, func(int) int { return h.anonymous().post("/auth/register", right).status })
	if codes[http.StatusCreated] != 1 {
		t.Fatalf("one invitation, answers %v", codes)
	}
	ann := h.login("ann@example.org", adminPassword)
	if me := into[identity.Me](ann.get("/me").want(http.StatusOK)); me.Role != identity.Member || me.Organization != "default" {
		t.Fatalf("joined as %+v", me)
	}
	again := account("ann2@example.org")
	again["invitation"] = key
	h.anonymous().post("/auth/register", again).refused(http.StatusNotFound, "invitation_not_found")
	ann.post("/invitations", map[string]any{"email": "x@example.org", "role": "viewer"}).refused(http.StatusForbidden, "permission_missing")

	revoked := into[identity.Invited](c.post("/invitations", map[string]any{"email": "eve@example.org", "role": "admin"}).want(http.StatusCreated))
	c.do(http.MethodDelete, "/invitations/"+revoked.ID.String(), nil).want(http.StatusNoContent)
	eve := account("eve@example.org")
	_, eve["invitation"], _ = strings.Cut(revoked.Link, "#")
	h.anonymous().post("/auth/register", eve).refused(http.StatusNotFound, "invitation_not_found")

	late := c.invite("late@example.org", identity.Viewer)
	h.exec("update identity.invitations set expires_at = now() - interval '1 second'")
	body := account("late@example.org")
	body["invitation"] = late
	h.anonymous().post("/auth/register", body).refused(http.StatusNotFound, "invitation_not_found")
}

func TestAcceptWithAnAccount(t *testing.T) {
	h := settled(t)
	ann := h.register("ann@example.org")
	key := h.admin().invite("ann@example.org", identity.Viewer)
	h.register("bob@example.org").post("/invitations/accept", map[string]string{"secret": key}).
		refused(http.StatusForbidden, "invitation_other_address")
	org := into[identity.Organization](ann.post("/invitations/accept", map[string]string{"secret": key}).want(http.StatusOK))
	if org.Slug != "default" || org.Role != identity.Viewer {
		t.Fatalf("joined %+v", org)
	}
	if me := into[identity.Me](ann.get("/me").want(http.StatusOK)); len(me.Organizations) != 2 || me.Organization == "default" {
		t.Fatalf("member of %+v", me)
	}
	ann.post("/invitations/accept", map[string]string{"secret": key}).refused(http.StatusNotFound, "invitation_not_found")
}

func TestRanks(t *testing.T) {
	h := settled(t)
	owner := h.admin()
	admin := owner.join("admin@example.org", identity.Admin)
	member := owner.join("member@example.org", identity.Member)
	ownerID, adminID, memberID := owner.actor().UserID, admin.actor().UserID, member.actor().UserID

	admin.post("/invitations", map[string]any{"email": "x@example.org", "role": "owner"}).refused(http.StatusForbidden, "role_above_own")
	admin.do(http.MethodPatch, "/members/"+adminID.String(), map[string]string{"role": "owner"}).refused(http.StatusForbidden, "role_above_own")
	admin.do(http.MethodPatch, "/members/"+ownerID.String(), map[string]string{"role": "viewer"}).refused(http.StatusForbidden, "role_above_own")
	admin.do(http.MethodDelete, "/members/"+ownerID.String(), nil).refused(http.StatusForbidden, "role_above_own")
	member.do(http.MethodDelete, "/members/"+adminID.String(), nil).refused(http.StatusForbidden, "permission_missing")
	owner.do(http.MethodPatch, "/members/"+ownerID.String(), map[string]string{"role": "admin"}).refused(http.StatusConflict, "last_owner")
	owner.do(http.MethodDelete, "/members/"+ownerID.String(), nil).refused(http.StatusConflict, "last_owner")

	admin.do(http.MethodPatch, "/members/"+memberID.String(), map[string]string{"role": "viewer"}).want(http.StatusOK)
	member.get("/members").want(http.StatusOK)
	member.get("/tokens").refused(http.StatusForbidden, "permission_missing")
	member.do(http.MethodDelete, "/members/"+memberID.String(), nil).want(http.StatusNoContent)
	member.get("/members").refused(http.StatusNotFound, "organization_not_found")
	outsider := h.register("outsider@example.org")
	owner.do(http.MethodDelete, "/members/"+outsider.actor().UserID.String(), nil).refused(http.StatusNotFound, "member_not_found")
}

func TestTwoOwnersCannotBothLeave(t *testing.T) {
	h := settled(t)
	first := h.admin()
	second := first.join("second@example.org", identity.Owner)
	both := []*client{first, second}
	ids := []string{first.actor().UserID.String(), second.actor().UserID.String()}
	codes := together(2, func(i int) int { return both[i].do(http.MethodDelete, "/members/"+ids[i], nil).status })
	if codes[http.StatusNoContent] != 1 || codes[http.StatusConflict] != 1 {
		t.Fatalf("answers %v", codes)
	}
}

func TestOrganizations(t *testing.T) {
	h := settled(t)
	c := h.register("ann@example.org")
	made := into[identity.Organization](c.post("/organizations", map[string]string{"slug": "ann-co", "name": " Ann  & Co \u202e "}).want(http.StatusCreated))
	if made.Role != identity.Owner || made.Name != "Ann & Co" {
		t.Fatalf("made %+v", made)
	}
	c.post("/organizations", map[string]string{"slug": "ann-co"}).refused(http.StatusConflict, "organization_slug_taken")
	for _, slug := range []string{"", "-a", "a-", "A", "a b", "ä", strings.Repeat("a", 41)} {
		if a := c.post("/organizations", map[string]string{"slug": slug}); a.status != http.StatusUnprocessableEntity {
			t.Errorf("slug %q: status %d", slug, a.status)
		}
	}
	c.organization = made.ID.String()
	renamed := into[identity.Organization](c.do(http.MethodPatch, "/organization", map[string]string{"slug": "ann-inc"}).want(http.StatusOK))
	if renamed.Slug != "ann-inc" || renamed.Name != "Ann & Co" {
		t.Fatalf("renamed to %+v", renamed)
	}
	c.organization = "ann-inc"
	if got := h.actions(c); !slices.Equal(got, []string{"organization.update", "organization.create"}) {
		t.Fatalf("events %v", got)
	}
	c.organization = "default"
	c.get("/events").refused(http.StatusNotFound, "organization_not_found")
	h.admin().do(http.MethodPatch, "/organization", map[string]string{"slug": "other"}).refused(http.StatusConflict, "organization_default")

	closed := settled(t, func(d *identity.Deps) { d.Registration = identity.Invite })
	ann := closed.admin().join("ann@example.org", identity.Owner)
	ann.post("/organizations", map[string]string{"slug": "own"}).refused(http.StatusForbidden, "operator_only")
	closed.admin().post("/organizations", map[string]string{"slug": "own"}).want(http.StatusCreated)
}

func TestEventsArePaged(t *testing.T) {
	h := settled(t)
	c := h.admin()
	for i := range 7 {
		c.post("/tokens", map[string]any{"name": fmt.Sprint(i), "scopes": []string{"*"}}).want(http.StatusCreated)
	}
	seen := map[string]bool{}
	cursor, pages := "", 0
	for {
		page := into[identity.Page[map[string]any]](c.get("/events?limit=3&action=token.&cursor=" + cursor).want(http.StatusOK))
		for _, e := range page.Items {
			seen[e["object_label"].(string)] = true
		}
		pages++
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	if len(seen) != 7 || pages != 3 {
		t.Fatalf("%d pages with %v", pages, seen)
	}
	c.get("/events?cursor=nonsense").refused(http.StatusUnprocessableEntity, "cursor_invalid")
	c.get("/events?limit=1000").refused(http.StatusUnprocessableEntity, "validation_failed")
}

func TestLimits(t *testing.T) {
	h := settled(t)
	ctx, org := context.Background(), h.admin().actor().OrganizationID
	reserve := func(n int64) error {
		return h.db.InTx(ctx, func(tx pgx.Tx) error { return h.service.Reserve(ctx, tx, org, identity.LimitProjects, n) })
	}
	must(t, reserve(3)) // no limit: counted all the same
	limit := int64(5)
	must(t, h.db.InTx(ctx, func(tx pgx.Tx) error { return h.service.SetLimit(ctx, tx, org, identity.LimitProjects, &limit) }))
	got := together(8, func(int) int { return int(fault.KindOf(firstOf(reserve(1)))) })
	if got[int(fault.Limit)] != 6 || got[-1] != 2 {
		t.Fatalf("eight took two places: %v", got)
	}
	must(t, h.db.InTx(ctx, func(tx pgx.Tx) error { return h.service.Release(ctx, tx, org, identity.LimitProjects, 4) }))
	must(t, reserve(4))
	must(t, h.db.InTx(ctx, func(tx pgx.Tx) error { return h.service.Release(ctx, tx, org, identity.LimitProjects, 100) }))
	must(t, reserve(5))
	if err := reserve(1); fault.KindOf(err) != fault.Limit {
		t.Fatalf("beyond the limit: %v", err)
	}
	page := into[identity.Page[identity.Limit]](h.admin().get("/organization/limits").want(http.StatusOK))
	for _, l := range page.Items {
		if l.Resource == identity.LimitProjects && (l.Used != 5 || *l.Limit != 5) {
			t.Fatalf("shown as %+v", l)
		}
	}
}

// firstOf makes success a kind of its own.
func firstOf(err error) error {
	if err == nil {
		return &fault.Error{Kind: -1}
	}
	return err
}
