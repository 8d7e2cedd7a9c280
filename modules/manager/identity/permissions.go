package identity

import (
	"slices"
)

// Permission is what a door asks for: noun.verb. The nouns are those of the API.
type Permission string

// The permissions of an organization's members.
const (
	ProjectsRead       Permission = "projects.read"
	ProjectsCreate     Permission = "projects.create"
	ProjectsUpdate     Permission = "projects.update"
	ProjectsDelete     Permission = "projects.delete"
	ServicesUpdate     Permission = "services.update" // start, stop, restart, scale, limits, health check
	VariablesRead      Permission = "variables.read"  // names, never values
	VariablesWrite     Permission = "variables.write"
	UploadsRead        Permission = "uploads.read"
	UploadsCreate      Permission = "uploads.create"
	UploadsDelete      Permission = "uploads.delete"
	DeploymentsRead    Permission = "deployments.read"
	DeploymentsCreate  Permission = "deployments.create"
	DeploymentsCancel  Permission = "deployments.cancel"
	LogsRead           Permission = "logs.read"
	DomainsRead        Permission = "domains.read"
	DomainsUpdate      Permission = "domains.update"
	VolumesRead        Permission = "volumes.read"
	VolumesDelete      Permission = "volumes.delete"
	LinksRead          Permission = "links.read"
	LinksUpdate        Permission = "links.update"
	OrganizationRead   Permission = "organization.read"
	OrganizationManage Permission = "organization.manage"
	MembersRead        Permission = "members.read"
	MembersManage      Permission = "members.manage"
	TokensManage       Permission = "tokens.manage"
	EventsRead         Permission = "events.read"
	BillingRead        Permission = "billing.read"
	BillingManage      Permission = "billing.manage"
)

// The permissions of the platform's operators.
const (
	ServersRead   Permission = "servers.read"
	ServersManage Permission = "servers.manage"
	SystemRead    Permission = "system.read"
	SystemManage  Permission = "system.manage"
)

// Role is what a member is in an organization.
type Role string

// The roles.
const (
	Owner   Role = "owner"
	Admin   Role = "admin"
	Member  Role = "member"
	Viewer  Role = "viewer"
	Billing Role = "billing"
)

// operatorPermissions is what a platform operator may do beside the role in an organization.
var operatorPermissions = []Permission{ServersRead, ServersManage, SystemRead, SystemManage}

// rolePermissions is the one table of who may do what.
var rolePermissions = map[Role][]Permission{
	Owner: {
		ProjectsRead, ProjectsCreate, ProjectsUpdate, ProjectsDelete, ServicesUpdate, VariablesRead, VariablesWrite,
		UploadsRead, UploadsCreate, UploadsDelete, DeploymentsRead, DeploymentsCreate, DeploymentsCancel, LogsRead,
		DomainsRead, DomainsUpdate, VolumesRead, VolumesDelete, LinksRead, LinksUpdate,
		OrganizationRead, OrganizationManage, MembersRead, MembersManage, TokensManage, EventsRead, BillingRead, BillingManage,
	},
	Admin: {
		ProjectsRead, ProjectsCreate, ProjectsUpdate, ProjectsDelete, ServicesUpdate, VariablesRead, VariablesWrite,
		UploadsRead, UploadsCreate, UploadsDelete, DeploymentsRead, DeploymentsCreate, DeploymentsCancel, LogsRead,
		DomainsRead, DomainsUpdate, VolumesRead, VolumesDelete, LinksRead, LinksUpdate,
		OrganizationRead, OrganizationManage, MembersRead, MembersManage, TokensManage, EventsRead, BillingRead,
	},
	Member: {
		ProjectsRead, ProjectsCreate, ProjectsUpdate, ServicesUpdate, VariablesRead, VariablesWrite,
		UploadsRead, UploadsCreate, UploadsDelete, DeploymentsRead, DeploymentsCreate, DeploymentsCancel, LogsRead,
		DomainsRead, DomainsUpdate, VolumesRead, LinksRead, LinksUpdate,
		OrganizationRead, MembersRead, TokensManage,
	},
	Viewer: {
		ProjectsRead, VariablesRead, UploadsRead, DeploymentsRead, LogsRead, DomainsRead, VolumesRead, LinksRead,
		OrganizationRead, MembersRead,
	},
	Billing: {ProjectsRead, LinksRead, OrganizationRead, MembersRead, BillingRead, BillingManage},
}

// ranks orders the roles for granting: one may give, change and take only roles of one's own rank or below.
var ranks = map[Role]int{Owner: 3, Admin: 2, Member: 1, Viewer: 0, Billing: 0}

// Known reports whether the role exists.
func (r Role) Known() bool { _, ok := ranks[r]; return ok }

// MayGrant reports whether a member of role r may give or take the role other.
func (r Role) MayGrant(other Role) bool {
	return r.Known() && other.Known() && ranks[r] >= ranks[other]
}

// Known reports whether the permission exists.
func (p Permission) Known() bool {
	return p.operator() || slices.Contains(rolePermissions[Owner], p)
}

func (p Permission) operator() bool { return slices.Contains(operatorPermissions, p) }

// AllScopes is the scope of a token that stands for everything its role may do, except the operator's permissions,
// which a token has only when they are named.
const AllScopes = "*"

// permissionSet is an immutable set.
type permissionSet map[Permission]struct{}

// standing is what decides the permissions of somebody without scopes.
type standing struct {
	role     Role
	operator bool
}

// unscoped are the permissions of every standing, made once: most requests come from sessions.
var unscoped = func() map[standing]permissionSet {
	all := map[standing]permissionSet{}
	for _, operator := range []bool{false, true} {
		all[standing{"", operator}] = permissionsOf("", operator, nil)
		for role := range rolePermissions {
			all[standing{role, operator}] = permissionsOf(role, operator, nil)
		}
	}
	return all
}()

// permissionsOf is what an actor may do: what the role allows, the operator's permissions for an operator, all of it
// narrowed by scopes; nil scopes do not narrow (a browser session).
func permissionsOf(role Role, operator bool, scopes []string) permissionSet {
	set := permissionSet{}
	for _, p := range rolePermissions[role] {
		if scopes == nil || slices.Contains(scopes, AllScopes) || slices.Contains(scopes, string(p)) {
			set[p] = struct{}{}
		}
	}
	for _, p := range operatorPermissions {
		if operator && (scopes == nil || slices.Contains(scopes, string(p))) {
			set[p] = struct{}{}
		}
	}
	return set
}
