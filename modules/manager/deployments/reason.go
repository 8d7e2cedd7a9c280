package deployments

import (
	"pandu/modules/agent/agentv1"
	"pandu/modules/kit/fault"
)

// Reason is an error as people are told: its code, its sentence, never its cause.
func Reason(err error) *Error {
	f := fault.From(err)
	return &Error{Code: f.Code, Message: f.Message, Parameters: f.Parameters}
}

// ReasonOf is why an instance is not well, as its agent said.
func ReasonOf(i Instance) *Error {
	st := i.Status
	code := st.GetReason()
	if code == "" {
		code = "unhealthy"
	}
	message := st.GetMessage()
	if message == "" {
		message = "The instance is not well."
	}
	return &Error{Code: "instance_" + code, Message: message, Parameters: st.GetParameters(), Service: i.Service, LastLines: lastLines(st.GetLastLines())}
}

// stateNames are the words of the API for what an agent observes.
var stateNames = map[agentv1.InstanceState]string{
	agentv1.InstanceState_INSTANCE_STATE_PENDING: "pending", agentv1.InstanceState_INSTANCE_STATE_PULLING: "pulling",
	agentv1.InstanceState_INSTANCE_STATE_STARTING: "starting", agentv1.InstanceState_INSTANCE_STATE_READY: "ready",
	agentv1.InstanceState_INSTANCE_STATE_UNREADY: "unready", agentv1.InstanceState_INSTANCE_STATE_RESTARTING: "restarting",
	agentv1.InstanceState_INSTANCE_STATE_COMPLETED: "completed", agentv1.InstanceState_INSTANCE_STATE_FAILED: "failed",
	agentv1.InstanceState_INSTANCE_STATE_STOPPING: "stopping", agentv1.InstanceState_INSTANCE_STATE_GONE: "gone",
	agentv1.InstanceState_INSTANCE_STATE_DRIFTED: "drifted", agentv1.InstanceState_INSTANCE_STATE_QUARANTINED: "quarantined",
}
