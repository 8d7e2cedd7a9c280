package fault_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"connectrpc.com/connect"

	"pandu/modules/kit/fault"
)

func TestEveryDoorOfAKind(t *testing.T) {
	for kind, want := range map[fault.Kind]struct {
		name   string
		status int
		rpc    connect.Code
		again  bool
	}{
		fault.Internal:     {"internal", http.StatusInternalServerError, connect.CodeInternal, true},
		fault.Invalid:      {"invalid", http.StatusUnprocessableEntity, connect.CodeInvalidArgument, false},
		fault.Denied:       {"denied", http.StatusForbidden, connect.CodePermissionDenied, false},
		fault.Unauthorized: {"unauthorized", http.StatusUnauthorized, connect.CodeUnauthenticated, false},
		fault.NotFound:     {"not_found", http.StatusNotFound, connect.CodeNotFound, false},
		fault.Conflict:     {"conflict", http.StatusConflict, connect.CodeFailedPrecondition, false},
		fault.Limit:        {"limit", http.StatusTooManyRequests, connect.CodeResourceExhausted, true},
		fault.TooLarge:     {"too_large", http.StatusRequestEntityTooLarge, connect.CodeInvalidArgument, false},
		fault.Unavailable:  {"unavailable", http.StatusServiceUnavailable, connect.CodeUnavailable, true},
		fault.Timeout:      {"timeout", http.StatusGatewayTimeout, connect.CodeDeadlineExceeded, true},
	} {
		err := fmt.Errorf("do it: %w", fault.New(kind, "code", "A sentence."))
		if kind.String() != want.name || kind.Status() != want.status || connect.CodeOf(fault.RPC(err)) != want.rpc || fault.Passing(err) != want.again {
			t.Errorf("%s: status %d, rpc %v, passing %v", kind, kind.Status(), connect.CodeOf(fault.RPC(err)), fault.Passing(err))
		}
	}
}

func TestTheCauseIsForTheLogOnly(t *testing.T) {
	cause := errors.New("password of the database")
	err := fault.From(fmt.Errorf("read: %w", cause))
	if err.Kind != fault.Internal || !errors.Is(err, cause) {
		t.Errorf("%+v", err)
	}
	var rpc *connect.Error
	if !errors.As(fault.RPC(err), &rpc) || rpc.Message() != err.Message {
		t.Errorf("the wire says %q", rpc.Message())
	}
	if fault.RPC(nil) != nil || fault.From(nil) != nil {
		t.Error("nothing became something")
	}
}

func TestRefiningCopies(t *testing.T) {
	base := fault.New(fault.Limit, "full", "It is full.")
	one, two := base.With("n", "1").At("here", "why"), base.With("n", "2").After(time.Second)
	if base.Parameters != nil || base.Details != nil || base.RetryAfter != 0 {
		t.Errorf("the base changed: %+v", base)
	}
	if one.Parameters["n"] != "1" || two.Parameters["n"] != "2" || len(one.Details) != 1 || len(two.Details) != 0 || two.RetryAfter != time.Second {
		t.Errorf("%+v %+v", one, two)
	}
	if !errors.Is(fmt.Errorf("wrapped: %w", one), base) || errors.Is(one, fault.New(fault.Limit, "other", "")) {
		t.Error("faults are not compared by kind and code")
	}
}
