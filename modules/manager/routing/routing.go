// Package routing keeps which hostname and which port belongs to which environment.
//
// A hostname is one row in the whole platform: whoever claims it first has it, under any race. Automatic hostnames
// (NAME.APPS-DOMAIN) are claimed like any other. It never handles addresses of instances: routes name services and
// instances, and the agent knows where those are. Tables: routing.*.
package routing

import (
	"pandu/modules/kit/pg"
)

// Deps is what the room needs from outside.
type Deps struct {
	DB         *pg.DB
	AppsDomain string // automatic hostnames end in it; localhost by default
	PanelHost  string // the dashboard's own host, which nobody may claim; may be empty
	Ports      PortRange
	Secure     bool // visitors come by https
	Port       int  // where visitors come in, for URLs; 0: the scheme's own
}

// PortRange is where ports of their own come from, both ends included.
type PortRange struct{ First, Last int }

// Service is the room.
type Service struct{ Deps }

// New makes the room.
func New(deps Deps) *Service { return &Service{deps} }
