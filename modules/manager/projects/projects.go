// Package projects keeps what a tenant hosts: projects, their environments, what people set for services, variables.
//
// It says what is wanted (names, counts, values, running or stopped), never what runs, and starts nothing: the room
// above plans. A change that the plan must see raises the environment's reconcile row in the same transaction.
// Variables are sealed with the organization's key and never leave through the API. Tables: projects.*.
package projects

import (
	"pandu/modules/kit/pg"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/routing"
	"pandu/modules/manager/servers"
)

// Deps is what the room needs from outside.
type Deps struct {
	DB       *pg.DB
	Identity *identity.Service
	Routing  *routing.Service
	Servers  *servers.Service
}

// Service is the room.
type Service struct{ Deps }

// New makes the room.
func New(deps Deps) *Service { return &Service{deps} }

// NoticeProject tells browsers that a project changed.
const NoticeProject = "project"
