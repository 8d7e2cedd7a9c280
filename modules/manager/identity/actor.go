package identity

import (
	"maps"
	"slices"

	"github.com/google/uuid"

	"pandu/modules/kit/fault"
	"pandu/modules/manager/audit"
)

// Kind says what sort of actor acts.
type Kind string

// The kinds of actor. Anonymous acts only behind public doors.
const (
	KindAnonymous Kind = ""
	KindUser      Kind = "user"
	KindToken     Kind = "token"
	KindSystem    Kind = "system"
)

// Actor is who asks, in which organization, with which rights. Every method that touches a tenant's data takes one
// right after ctx and puts OrganizationID into every WHERE. The zero Actor may do nothing.
type Actor struct {
	Kind           Kind
	ID             uuid.UUID // of the user or the token
	UserID         uuid.UUID // the person behind it; Nil for system work and for tokens without a person
	OrganizationID uuid.UUID // Nil: none, or system work for the whole platform
	Role           Role
	Operator       bool   // may use the operator's doors
	Label          string // e-mail address, token name, reason
	RequestID      string
	Address        string // of the client

	permissions permissionSet
	session     uuid.UUID // of a browser, also behind a JWT
	token       uuid.UUID // API token, also behind a JWT
}

// System is the actor of the platform's own work in one organization (uuid.Nil: all of them). The reason appears in
// the log of changes.
func System(organization uuid.UUID, reason string) Actor {
	return Actor{Kind: KindSystem, OrganizationID: organization, Operator: true, Label: reason}
}

// Can reports whether the actor has the permission in its organization.
func (a Actor) Can(p Permission) bool {
	if a.Kind == KindSystem {
		return true
	}
	_, ok := a.permissions[p]
	return ok
}

// Require is nil or a fault of kind Denied. Whether the object exists at all is the store's question: what one may
// not see is NotFound there.
func (a Actor) Require(p Permission) error {
	if a.Can(p) {
		return nil
	}
	return fault.New(fault.Denied, "permission_missing", "You may not do this here. Ask an owner of the organization for the permission.").
		With("permission", string(p))
}

// Permissions lists what the actor may do, sorted.
func (a Actor) Permissions() []Permission { return slices.Sorted(maps.Keys(a.permissions)) }

// Event makes the event of a change by this actor in its organization.
func (a Actor) Event(action, objectKind string, objectID uuid.UUID, objectLabel string, detail map[string]string) audit.Event {
	return audit.Event{
		OrganizationID: a.OrganizationID, ActorKind: string(a.Kind), ActorID: a.ID, ActorLabel: a.Label,
		Action: action, ObjectKind: objectKind, ObjectID: objectID, ObjectLabel: objectLabel, Detail: detail,
		RequestID: a.RequestID, Address: a.Address,
	}
}

// platform is the same actor acting on what belongs to no organization, for the event.
func (a Actor) platform() Actor {
	a.OrganizationID = uuid.Nil
	return a
}
