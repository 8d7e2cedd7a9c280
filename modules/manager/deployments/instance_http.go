package deployments

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"

	"pandu/modules/kit/pg"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/projects"
	"pandu/modules/manager/servers"
)

// Observed is what an agent said last about an instance.
type Observed struct {
	State      string            `json:"state" enum:"pending,pulling,starting,ready,unready,restarting,completed,failed,stopping,gone,drifted,quarantined"`
	Reason     string            `json:"reason,omitempty"`
	Message    string            `json:"message,omitempty"`
	Parameters map[string]string `json:"parameters,omitempty"`
	ExitCode   int               `json:"exit_code"`
	Restarts   int               `json:"restarts"`
	Healed     int               `json:"healed" doc:"how often it was put back after somebody stopped or removed it"`
	Port       int               `json:"port"`
	LastLines  []string          `json:"last_lines,omitempty"`
}

// InstanceView is one replica: what is wanted, what was observed, and since when that is not known any more.
type InstanceView struct {
	ID            uuid.UUID   `json:"id"`
	Service       string      `json:"service"`
	Index         int         `json:"index"`
	Task          bool        `json:"task"`
	ReleaseNumber int64       `json:"release_number"`
	Desired       string      `json:"desired" enum:"running,gone"`
	Observed      *Observed   `json:"observed"`
	LastSeenAt    *time.Time  `json:"last_seen_at" doc:"until when the observation is known to have been true; null while it is current"`
	Knowledge     string      `json:"knowledge" enum:"current,stale,never"`
	Server        *ServerName `json:"server" doc:"operators only: tenants do not see servers"`
	ContainerID   string      `json:"container_id"`
	Serving       bool        `json:"serving" doc:"visitors are sent to it"`
	CreatedAt     time.Time   `json:"created_at"`
}

// ServerName names a server.
type ServerName struct {
	Name string `json:"name"`
}

// serverName is the server's name for those who may see it.
func serverName(actor identity.Actor, state servers.State) *ServerName {
	if !actor.Operator || state.Name == "" {
		return nil
	}
	return &ServerName{state.Name}
}

// VolumeView is named data of an environment.
type VolumeView struct {
	ID        uuid.UUID   `json:"id"`
	Name      string      `json:"name"`
	Service   string      `json:"service" doc:"who mounts it in the live release"`
	Server    *ServerName `json:"server" doc:"operators only: tenants do not see servers"`
	CreatedAt time.Time   `json:"created_at"`
}

func (s *Service) instanceDoors(d *identity.Doors) {
	identity.Handle(d, identity.Door{
		ID: "list-instances", Method: http.MethodGet, Path: environmentPath + "/instances", Tag: "services", Permission: identity.ProjectsRead,
		Summary: "List the instances of an environment: desired, observed and last seen apart",
	}, s.listInstances)
	identity.Handle(d, identity.Door{
		ID: "list-volumes", Method: http.MethodGet, Path: environmentPath + "/volumes", Tag: "volumes", Permission: identity.VolumesRead,
		Summary: "List the volumes of an environment",
	}, s.listVolumes)
}

func (s *Service) listInstances(ctx context.Context, actor identity.Actor, in *projects.EnvironmentPath) (*identity.Body[identity.Page[InstanceView]], error) {
	_, e, err := s.Projects.FindEnvironment(ctx, s.DB.Pool, actor, in.Project, in.Environment)
	if err != nil {
		return nil, err
	}
	f, err := s.facts(ctx, actor, e)
	if err != nil {
		return nil, err
	}
	numbers, err := s.releaseNumbers(ctx, actor, e.ID)
	if err != nil {
		return nil, err
	}
	out := identity.Page[InstanceView]{Items: []InstanceView{}}
	for _, i := range f.world.Instances {
		v := i.view(f.server)
		v.Server = serverName(actor, f.server)
		v.ReleaseNumber = numbers[i.ReleaseID]
		v.Serving = f.head.ServingID != nil && i.ReadyAt != nil && i.Desired == "running" && v.Observed != nil && v.Observed.State == "ready"
		out.Items = append(out.Items, v)
	}
	return identity.Reply(out), nil
}

func (i Instance) view(server servers.State) InstanceView {
	v := InstanceView{
		ID: i.ID, Service: i.Service, Index: i.Index, Task: i.TaskKey != nil, Desired: i.Desired, Knowledge: "never",
		CreatedAt: i.CreatedAt, ContainerID: clip(i.Status.GetContainerId(), 12),
	}
	if i.Status == nil {
		return v
	}
	st := i.Status
	v.Observed = &Observed{
		State: stateNames[st.GetState()], Reason: st.GetReason(), Message: st.GetMessage(), Parameters: st.GetParameters(), ExitCode: int(st.GetExitCode()),
		Restarts: int(st.GetRestarts()), Healed: int(st.GetHealed()), Port: int(st.GetPort()), LastLines: st.GetLastLines(),
	}
	v.Knowledge = "current"
	if !server.Synced {
		v.Knowledge = "stale"
		v.LastSeenAt = server.SilentSince
		if v.LastSeenAt == nil {
			v.LastSeenAt = &i.ObservedAt
		}
	}
	return v
}

func (s *Service) releaseNumbers(ctx context.Context, actor identity.Actor, environment uuid.UUID) (map[uuid.UUID]int64, error) {
	rows, err := pg.All[struct {
		ID     uuid.UUID `db:"id"`
		Number int64     `db:"number"`
	}](ctx, s.DB.Pool, selectReleaseNumbers, pg.Args{"organization": actor.OrganizationID, "environment": environment})
	if err != nil {
		return nil, fmt.Errorf("read release numbers: %w", err)
	}
	numbers := map[uuid.UUID]int64{}
	for _, row := range rows {
		numbers[row.ID] = row.Number
	}
	return numbers, nil
}

func (s *Service) listVolumes(ctx context.Context, actor identity.Actor, in *projects.EnvironmentPath) (*identity.Body[identity.Page[VolumeView]], error) {
	_, e, err := s.Projects.FindEnvironment(ctx, s.DB.Pool, actor, in.Project, in.Environment)
	if err != nil {
		return nil, err
	}
	volumes, err := s.volumes(ctx, s.DB.Pool, actor, e.ID)
	if err != nil {
		return nil, err
	}
	f, err := s.facts(ctx, actor, e)
	if err != nil {
		return nil, err
	}
	out := identity.Page[VolumeView]{Items: []VolumeView{}}
	for _, vol := range volumes {
		v := VolumeView{ID: vol.ID, Name: vol.Name, Service: mountedBy(f.live, vol.ID), CreatedAt: vol.CreatedAt}
		if vol.ServerID != nil {
			v.Server = serverName(actor, f.server)
		}
		out.Items = append(out.Items, v)
	}
	return identity.Reply(out), nil
}

func mountedBy(r *Release, volume uuid.UUID) string {
	if r == nil {
		return ""
	}
	for _, svc := range r.Application.Services {
		for _, m := range svc.Container.Mounts {
			if m.ID == volume.String() {
				return svc.Name
			}
		}
	}
	return ""
}

// etag is a strong tag of whatever is answered.
func etag(v any) string {
	body, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(body)
	return strconv.Quote(hex.EncodeToString(sum[:12]))
}

const selectReleaseNumbers = `
	select id, number from deployments.releases
	where organization_id = @organization and environment_id = @environment and id in (
	    select release_id from deployments.instances where organization_id = @organization and environment_id = @environment and gone_at is null)`
