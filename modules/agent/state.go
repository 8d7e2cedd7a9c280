package agent

import (
	"time"

	"pandu/modules/agent/agentv1"
	"pandu/modules/agent/internal/ledger"
)

// State is this agent's memory, for the ops page.
type State struct {
	ServerID           string                    `json:"server_id"` // empty: not joined
	CertificateUntil   time.Time                 `json:"certificate_until"`
	CertificateExpired bool                      `json:"certificate_expired"`
	IdentityProblem    string                    `json:"identity_problem,omitempty"`
	Connection         string                    `json:"connection"` // connecting, connected, observing, waiting
	ConnectionSince    time.Time                 `json:"connection_since"`
	ConnectionProblem  string                    `json:"connection_problem,omitempty"`
	ConnectionReason   string                    `json:"connection_reason,omitempty"` // of observing
	Manager            string                    `json:"manager"`
	Session            uint64                    `json:"session"` // 0: none
	Streams            map[string]StreamState    `json:"streams"`
	Instances          []*agentv1.InstanceStatus `json:"instances"`
	Keys               []*agentv1.KeyStatus      `json:"keys"`
	Server             *agentv1.ServerInfo       `json:"server"`
	Gateway            *agentv1.GatewayStatus    `json:"gateway"` // nil: none has answered yet
	GatewayProblem     string                    `json:"gateway_problem,omitempty"`
}

// StreamState is where a desired stream stands on this server's disk.
type StreamState struct {
	Epoch    uint64   `json:"epoch"`
	Lineage  string   `json:"lineage"`
	Revision uint64   `json:"revision"`
	Live     int      `json:"live"`
	Unknown  []string `json:"unknown,omitempty"` // held here, missing in the manager's last snapshot; kept running
	Held     uint64   `json:"held,omitempty"`    // a revision that waits for an operator's confirmation
}

// State tells how things stand.
func (a *Agent) State() State {
	who, connection, gateway := a.identity.State(), a.link.State(), a.gateway.State()
	s := State{
		ServerID: who.ServerID, CertificateUntil: who.NotAfter, CertificateExpired: who.Expired, IdentityProblem: who.Problem,
		Connection: string(connection.Phase), ConnectionSince: connection.Since, ConnectionProblem: connection.Problem,
		ConnectionReason: connection.Reason, Manager: connection.Address, Session: connection.Session,
		Streams: map[string]StreamState{
			"instances": streamState(a.ledger.Head(agentv1.Stream_STREAM_INSTANCES)),
			"routes":    streamState(a.ledger.Head(agentv1.Stream_STREAM_ROUTES)),
		},
		Server: a.serverInfo(), Gateway: gateway.Status, GatewayProblem: gateway.Error,
	}
	s.Instances, s.Keys = a.statuses()
	return s
}

func streamState(h ledger.Head) StreamState {
	s := StreamState{Epoch: h.Epoch.GetNumber(), Lineage: h.Epoch.GetLineage(), Revision: h.Revision, Live: h.Live, Unknown: h.Unknown}
	if h.Held != nil {
		s.Held = h.Held.Revision
	}
	return s
}
