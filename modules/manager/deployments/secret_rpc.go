package deployments

import (
	"context"
	"fmt"

	"connectrpc.com/connect"
	"github.com/google/uuid"

	"pandu/modules/agent/agentv1"
	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/projects"
	"pandu/modules/manager/servers"
	"pandu/modules/spec"
)

// secretDoor serves agentv1.SecretService: a server gets the variables of what it shall run or builds now.
type secretDoor struct{ *Service }

// Variables hands out the variables of one instance or one build attempt that the calling server holds.
func (d secretDoor) Variables(ctx context.Context, req *connect.Request[agentv1.VariablesRequest]) (*connect.Response[agentv1.VariablesResponse], error) {
	server, err := servers.Caller(ctx)
	if err != nil {
		return nil, fault.RPC(err)
	}
	var values projects.Values
	if req.Msg.GetBuildAttemptId() != "" {
		values, err = d.ofAttempt(ctx, server, req.Msg.GetBuildAttemptId())
	} else {
		values, err = d.ofInstance(ctx, server, req.Msg.GetInstanceId())
	}
	if err != nil {
		return nil, fault.RPC(err)
	}
	return connect.NewResponse(&agentv1.VariablesResponse{Variables: values}), nil
}

var errNotYours = fault.New(fault.NotFound, "not_held", "This server does not hold this.")

func (d secretDoor) ofInstance(ctx context.Context, server uuid.UUID, text string) (projects.Values, error) {
	id, err := uuid.Parse(text)
	if err != nil {
		return nil, errNotYours
	}
	row, err := pg.One[struct {
		Organization uuid.UUID      `db:"organization_id"`
		Environment  uuid.UUID      `db:"environment_id"`
		Version      int64          `db:"variables_version"`
		Spec         spec.Container `db:"spec"`
	}](ctx, d.DB.Pool, selectHeldInstance, pg.Args{"id": id, "server": server})
	if pg.None(err) {
		return nil, errNotYours
	}
	if err != nil {
		return nil, fmt.Errorf("read instance: %w", err)
	}
	actor := identity.System(row.Organization, "instance")
	values, err := d.Projects.Open(ctx, d.DB.Pool, actor, row.Environment, row.Version, false)
	if err != nil {
		return nil, err
	}
	return values.Received(row.Spec), nil
}

func (d secretDoor) ofAttempt(ctx context.Context, server uuid.UUID, text string) (projects.Values, error) {
	id, err := uuid.Parse(text)
	if err != nil {
		return nil, errNotYours
	}
	row, err := pg.One[struct {
		Organization uuid.UUID `db:"organization_id"`
		Environment  uuid.UUID `db:"environment_id"`
	}](ctx, d.DB.Pool, selectHeldAttempt, pg.Args{"attempt": id, "server": server})
	if pg.None(err) {
		return nil, errNotYours
	}
	if err != nil {
		return nil, fmt.Errorf("read attempt: %w", err)
	}
	_, e, err := d.Projects.Load(ctx, d.DB.Pool, row.Environment)
	if err != nil {
		return nil, err
	}
	return d.Projects.Open(ctx, d.DB.Pool, identity.System(row.Organization, "build"), e.ID, e.VariablesVersion, true)
}

const selectHeldInstance = `
	select organization_id, environment_id, variables_version, spec from deployments.instances
	where id = @id and server_id = @server and desired = 'running'`

const selectHeldAttempt = `
	select d.organization_id, d.environment_id
	from deployments.builds b
	join deployments.deployments d on d.id = b.deployment_id
	where b.attempt_id = @attempt and b.server_id = @server and b.state = 'progress'`
