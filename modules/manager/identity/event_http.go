package identity

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"pandu/modules/manager/audit"
)

type eventsInput struct {
	PageInput
	Object uuid.UUID `query:"object" doc:"Only events of this object."`
	Action string    `query:"action" maxLength:"60" doc:"Only this action, or all of a noun with a dot at the end: project."`
}

func (s *Service) declareEvents(d *Doors) {
	Handle(d, Door{
		ID: "list-events", Method: http.MethodGet, Path: "/events", Tag: "events", Permission: EventsRead,
		Summary: "Who changed what in the organization, newest first.",
	}, func(ctx context.Context, a Actor, in *eventsInput) (*Body[Page[audit.Entry]], error) {
		page, err := s.events(ctx, a.OrganizationID, in)
		return Reply(page), err
	})
	Handle(d, Door{
		ID: "list-system-events", Method: http.MethodGet, Path: "/system/events", Tag: "events", Operator: true, Permission: SystemRead,
		Summary: "Who changed what belongs to no organization, newest first.",
	}, func(ctx context.Context, _ Actor, in *eventsInput) (*Body[Page[audit.Entry]], error) {
		page, err := s.events(ctx, uuid.Nil, in)
		return Reply(page), err
	})
}

func (s *Service) events(ctx context.Context, organization uuid.UUID, in *eventsInput) (Page[audit.Entry], error) {
	at, err := in.Position()
	if err != nil {
		return Page[audit.Entry]{}, err
	}
	rows, err := s.audit.List(ctx, organization, audit.Filter{
		ObjectID: in.Object, Action: in.Action, BeforeTime: at.Time, BeforeID: at.ID, Limit: in.Size(),
	})
	if err != nil {
		return Page[audit.Entry]{}, err
	}
	return Cut(in.PageInput, rows, func(e audit.Entry) Cursor { return Cursor{Time: e.CreatedAt, ID: e.ID} }), nil
}
