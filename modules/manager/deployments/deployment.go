package deployments

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/jobs"
	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
	"pandu/modules/manager/audit"
	"pandu/modules/manager/identity"
	"pandu/modules/manager/projects"
	"pandu/modules/spec"
)

// Deployment is the act of making a release live in an environment.
type Deployment struct {
	ID             uuid.UUID   `db:"id"`
	OrganizationID uuid.UUID   `db:"organization_id"`
	ProjectID      uuid.UUID   `db:"project_id"`
	EnvironmentID  uuid.UUID   `db:"environment_id"`
	Number         int64       `db:"number"`
	Kind           Kind        `db:"kind"`
	State          State       `db:"state"`
	SourceID       *uuid.UUID  `db:"source_id"`
	ReleaseID      *uuid.UUID  `db:"release_id"`
	Undo           Undo        `db:"undo"`
	Notes          []spec.Note `db:"notes"`
	Error          *Error      `db:"error"`
	CreatedBy      string      `db:"created_by"`
	CreatedAt      time.Time   `db:"created_at"`
	DeadlineAt     time.Time   `db:"deadline_at"`
	FinishedAt     *time.Time  `db:"finished_at"`
}

// Undo is what a deployment sets back when it fails or is cancelled.
type Undo struct {
	Wanted   projects.Wanted `json:"wanted,omitempty"`
	Replicas map[string]*int `json:"replicas,omitempty"` // null: as the source says
}

// Request is what to deploy: exactly one of the three.
type Request struct {
	UploadID  *uuid.UUID
	Image     string
	ReleaseID *uuid.UUID // go back to this release
}

// Create starts a deployment of a new source or a past release. One that is under way is superseded.
func (s *Service) Create(ctx context.Context, actor identity.Actor, p projects.Project, e projects.Environment, r Request) (Deployment, error) {
	if r.ReleaseID != nil {
		return s.Rollback(ctx, actor, p, e, *r.ReleaseID)
	}
	var src Source
	var err error
	switch {
	case r.UploadID != nil && r.Image == "":
		src, err = s.uploadSource(ctx, actor, p.ID, *r.UploadID)
	case r.Image != "" && r.UploadID == nil:
		src, err = imageSource(p.ID, r.Image)
	default:
		err = fault.New(fault.Invalid, "source_missing", "Say what to deploy: exactly one of upload_id, image and release_id.")
	}
	if err != nil {
		return Deployment{}, err
	}
	var d Deployment
	err = s.DB.InTx(ctx, func(tx pgx.Tx) error {
		if err := s.insertSource(ctx, tx, actor, src); err != nil {
			return err
		}
		d, err = s.deploySource(ctx, tx, actor, p, e, src)
		return err
	})
	return d, err
}

func (s *Service) deploySource(ctx context.Context, tx pgx.Tx, actor identity.Actor, p projects.Project, e projects.Environment, src Source) (Deployment, error) {
	undo := Undo{}
	if e.Wanted == projects.Stopped {
		undo.Wanted = projects.Stopped
	}
	// What is stopped stays so until there is something new to start: see releaseBuilt.
	d, err := s.insert(ctx, tx, actor, p, e, draft{kind: KindDeploy, state: Queued, source: &src.ID, undo: undo, notes: src.Application.Notes})
	if err != nil {
		return d, err
	}
	return d, s.insertBuilds(ctx, tx, actor, d, src)
}

// Rollback makes a past release live again.
func (s *Service) Rollback(ctx context.Context, actor identity.Actor, p projects.Project, e projects.Environment, release uuid.UUID) (Deployment, error) {
	var d Deployment
	err := s.DB.InTx(ctx, func(tx pgx.Tx) error {
		r, err := s.release(ctx, tx, actor, e.ID, release)
		if err != nil {
			return err
		}
		d, err = s.insert(ctx, tx, actor, p, e, draft{kind: KindRollback, state: Releasing, source: &r.SourceID, release: &r.ID})
		if err != nil {
			return err
		}
		if err := s.claimHostnames(ctx, tx, actor, p, e, r); err != nil {
			return err
		}
		return s.aim(ctx, tx, e.ID, r.ID)
	})
	return d, err
}

// draft is a deployment about to be inserted.
type draft struct {
	kind    Kind
	state   State
	source  *uuid.UUID
	release *uuid.UUID
	undo    Undo
	notes   []spec.Note
}

// insert adds a deployment in tx with its first moment and event, superseding the one under way.
func (s *Service) insert(ctx context.Context, tx pgx.Tx, actor identity.Actor, p projects.Project, e projects.Environment, d draft) (Deployment, error) {
	if e.Wanted == projects.Deleted {
		return Deployment{}, fault.New(fault.Conflict, "environment_deleting", "This environment is being deleted.")
	}
	if err := s.Servers.Lock(ctx, tx, e.ID); err != nil {
		return Deployment{}, err
	}
	number, err := pg.Value[int64](ctx, tx, nextDeployment, pg.Args{"environment": e.ID, "organization": actor.OrganizationID})
	if err != nil {
		return Deployment{}, fmt.Errorf("number deployment: %w", err)
	}
	if err := s.supersede(ctx, tx, actor, e.ID, number); err != nil {
		return Deployment{}, err
	}
	undo, err := json.Marshal(d.undo)
	if err != nil {
		return Deployment{}, fmt.Errorf("render undo: %w", err)
	}
	notes, err := json.Marshal(orNoNotes(d.notes))
	if err != nil {
		return Deployment{}, fmt.Errorf("render notes: %w", err)
	}
	row, err := pg.One[Deployment](ctx, tx, insertDeployment, pg.Args{
		"id": pg.NewID(), "organization": actor.OrganizationID, "project": p.ID, "environment": e.ID, "number": number, "kind": d.kind,
		"state": d.state, "source": d.source, "release": d.release, "undo": undo, "notes": notes, "by": actor.Label, "limit": limitOf(d.state),
	})
	if err != nil {
		return row, fmt.Errorf("insert deployment: %w", err)
	}
	if err := s.moment(ctx, tx, row, d.state, nil); err != nil {
		return row, err
	}
	label := fmt.Sprintf("%s #%d", p.Slug, row.Number)
	return row, audit.Record(ctx, tx, actor.Event("deployment.create", "deployment", row.ID, label, map[string]string{"kind": string(d.kind)}))
}

func orNoNotes(notes []spec.Note) []spec.Note {
	if notes == nil {
		return []spec.Note{}
	}
	return notes
}

func limitOf(state State) time.Duration {
	switch state {
	case Queued:
		return queuedLimit
	case Building:
		return buildingLimit
	default:
		return releasingLimit
	}
}

func (s *Service) supersede(ctx context.Context, tx pgx.Tx, actor identity.Actor, environment uuid.UUID, by int64) error {
	old, err := s.active(ctx, tx, actor, environment)
	if err != nil || old == nil {
		return err
	}
	why := &Error{Code: "superseded", Message: fmt.Sprintf("Deployment #%d took its place.", by), Parameters: map[string]string{"number": fmt.Sprint(by)}}
	if err := s.finish(ctx, tx, *old, Superseded, why); err != nil || old.State != Releasing {
		return err
	}
	// Its release must not go on becoming live by itself: until the next one is there, what is live is the target.
	if _, err := pg.Exec(ctx, tx, retreatHead, pg.Args{"environment": environment}); err != nil {
		return fmt.Errorf("go back to the live release: %w", err)
	}
	return s.Servers.Want(ctx, tx, environment)
}

// active is the deployment under way in an environment, locked for tx; nil when there is none.
func (s *Service) active(ctx context.Context, tx pgx.Tx, actor identity.Actor, environment uuid.UUID) (*Deployment, error) {
	d, err := pg.One[Deployment](ctx, tx, selectActive, pg.Args{"organization": actor.OrganizationID, "environment": environment})
	if pg.None(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read active deployment: %w", err)
	}
	return &d, nil
}

// lockActive is active with the environment held first.
func (s *Service) lockActive(ctx context.Context, tx pgx.Tx, actor identity.Actor, environment uuid.UUID) (*Deployment, error) {
	if err := s.Servers.Lock(ctx, tx, environment); err != nil {
		return nil, err
	}
	return s.active(ctx, tx, actor, environment)
}

// aim makes tx's environment work towards a release.
func (s *Service) aim(ctx context.Context, tx pgx.Tx, environment, release uuid.UUID) error {
	if _, err := pg.Exec(ctx, tx, aimHead, pg.Args{"environment": environment, "release": release}); err != nil {
		return fmt.Errorf("set target: %w", err)
	}
	return s.Servers.Want(ctx, tx, environment)
}

// enter moves a deployment in tx into a state that is not final.
func (s *Service) enter(ctx context.Context, tx pgx.Tx, d Deployment, state State, release *uuid.UUID) error {
	_, err := pg.Exec(ctx, tx, enterState, pg.Args{"id": d.ID, "state": state, "release": release, "limit": limitOf(state)})
	if err != nil {
		return fmt.Errorf("enter state %s: %w", state, err)
	}
	return s.moment(ctx, tx, d, state, nil)
}

// finish ends a deployment in tx. What its failure sets back is set back by the planner's Apply, or by nobody when it
// was superseded.
func (s *Service) finish(ctx context.Context, tx pgx.Tx, d Deployment, state State, why *Error) error {
	var body []byte
	if why != nil {
		var err error
		if body, err = json.Marshal(why); err != nil {
			return fmt.Errorf("render reason: %w", err)
		}
	}
	if _, err := pg.Exec(ctx, tx, finishDeployment, pg.Args{"id": d.ID, "state": state, "error": body}); err != nil {
		return fmt.Errorf("finish deployment: %w", err)
	}
	if err := s.cancelBuilds(ctx, tx, d.ID); err != nil {
		return err
	}
	return s.moment(ctx, tx, d, state, why)
}

func (s *Service) moment(ctx context.Context, tx pgx.Tx, d Deployment, state State, why *Error) error {
	args := pg.Args{"deployment": d.ID, "state": state, "code": "", "message": "", "parameters": map[string]string{}}
	if why != nil {
		args["code"], args["message"] = why.Code, why.Message
		if why.Parameters != nil {
			args["parameters"] = why.Parameters
		}
	}
	if _, err := pg.Exec(ctx, tx, insertTransition, args); err != nil {
		return fmt.Errorf("insert transition: %w", err)
	}
	return pg.Notify(ctx, tx, NoticeDeployment, d.OrganizationID, d.ID)
}

// Cancel ends a deployment that is not live yet. Whatever it has started is taken back by the planner.
func (s *Service) Cancel(ctx context.Context, actor identity.Actor, id uuid.UUID) (Deployment, error) {
	var d Deployment
	err := s.DB.InTx(ctx, func(tx pgx.Tx) (err error) {
		if d, err = s.lock(ctx, tx, actor, id); err != nil {
			return err
		}
		if d.State.Final() {
			return fault.Newf(fault.Conflict, "deployment_finished", "This deployment is %s already.", d.State).With("state", string(d.State))
		}
		why := &Error{Code: "cancelled", Message: "Cancelled by " + actor.Label + ".", Parameters: map[string]string{"by": actor.Label}}
		if err := s.retreat(ctx, tx, actor, d, Cancelled, why); err != nil {
			return err
		}
		d.State = Cancelled
		return audit.Record(ctx, tx, actor.Event("deployment.cancel", "deployment", d.ID, fmt.Sprintf("#%d", d.Number), nil))
	})
	return d, err
}

// retreat ends a deployment in tx without success: the environment goes back to what was live, and to the counts and
// the will it had before.
func (s *Service) retreat(ctx context.Context, tx pgx.Tx, actor identity.Actor, d Deployment, state State, why *Error) error {
	if err := s.finish(ctx, tx, d, state, why); err != nil {
		return err
	}
	if _, err := pg.Exec(ctx, tx, retreatHead, pg.Args{"environment": d.EnvironmentID}); err != nil {
		return fmt.Errorf("go back to the live release: %w", err)
	}
	_, e, err := s.Projects.Load(ctx, tx, d.EnvironmentID)
	if err != nil {
		return err
	}
	if d.Undo.Wanted != "" {
		if err := s.Projects.SetWanted(ctx, tx, actor, e, d.Undo.Wanted); err != nil {
			return err
		}
	}
	if err := s.undoReplicas(ctx, tx, actor, e.ID, d.Undo.Replicas); err != nil {
		return err
	}
	return s.Servers.Want(ctx, tx, d.EnvironmentID)
}

func (s *Service) undoReplicas(ctx context.Context, tx pgx.Tx, actor identity.Actor, environment uuid.UUID, counts map[string]*int) error {
	if len(counts) == 0 {
		return nil
	}
	all, err := s.Projects.Overrides(ctx, tx, actor, environment)
	if err != nil {
		return err
	}
	for service, count := range counts {
		o := all[service]
		o.Replicas = count
		if err := s.Projects.SetOverride(ctx, tx, actor, environment, service, o); err != nil {
			return err
		}
	}
	return nil
}

// Retry deploys again what a failed or cancelled deployment was about.
func (s *Service) Retry(ctx context.Context, actor identity.Actor, id uuid.UUID) (Deployment, error) {
	var next Deployment
	err := s.DB.InTx(ctx, func(tx pgx.Tx) error {
		d, err := s.deployment(ctx, tx, actor, id, false)
		if err != nil {
			return err
		}
		if !d.State.Final() || d.SourceID == nil {
			return fault.New(fault.Conflict, "not_retryable", "Only a deployment that has ended can be tried again.")
		}
		p, e, err := s.Projects.Load(ctx, tx, d.EnvironmentID)
		if err != nil {
			return err
		}
		if d.ReleaseID != nil {
			next, err = s.insert(ctx, tx, actor, p, e, draft{kind: d.Kind, state: Releasing, source: d.SourceID, release: d.ReleaseID, undo: Undo{Wanted: d.Undo.Wanted}, notes: d.Notes})
			if err != nil {
				return err
			}
			if d.Undo.Wanted != "" {
				if err := s.Projects.SetWanted(ctx, tx, actor, e, projects.Running); err != nil {
					return err
				}
			}
			r, err := s.release(ctx, tx, actor, e.ID, *d.ReleaseID)
			if err != nil {
				return err
			}
			if err := s.claimHostnames(ctx, tx, actor, p, e, r); err != nil {
				return err
			}
			return s.aim(ctx, tx, e.ID, r.ID)
		}
		src, err := s.source(ctx, tx, actor, *d.SourceID)
		if err != nil {
			return err
		}
		next, err = s.deploySource(ctx, tx, actor, p, e, src)
		return err
	})
	return next, err
}

// lock reads a deployment for a change of it in tx, with its environment held first.
func (s *Service) lock(ctx context.Context, tx pgx.Tx, actor identity.Actor, id uuid.UUID) (Deployment, error) {
	d, err := s.deployment(ctx, tx, actor, id, false)
	if err != nil {
		return d, err
	}
	if err := s.Servers.Lock(ctx, tx, d.EnvironmentID); err != nil {
		return d, err
	}
	return s.deployment(ctx, tx, actor, id, true)
}

func (s *Service) deployment(ctx context.Context, q pg.Querier, actor identity.Actor, id uuid.UUID, lock bool) (Deployment, error) {
	statement := selectDeployment
	if lock {
		statement = lockDeployment
	}
	d, err := pg.One[Deployment](ctx, q, statement, pg.Args{"organization": actor.OrganizationID, "id": id})
	if pg.None(err) {
		return d, fault.New(fault.NotFound, "deployment_not_found", "There is no such deployment here.")
	}
	if err != nil {
		return d, fmt.Errorf("read deployment: %w", err)
	}
	return d, nil
}

// insertBuilds adds in tx one build for every distinct image of a source, and an order for each.
func (s *Service) insertBuilds(ctx context.Context, tx pgx.Tx, actor identity.Actor, d Deployment, src Source) error {
	services := map[string][]string{}
	specs := map[string]*spec.Build{}
	var order []string
	for _, svc := range src.Application.Services {
		if svc.Build == nil {
			return fmt.Errorf("service %s of source %s has no build", svc.Name, src.ID)
		}
		body, err := json.Marshal(svc.Build)
		if err != nil {
			return fmt.Errorf("render build: %w", err)
		}
		key := string(body)
		if specs[key] == nil {
			order = append(order, key)
		}
		specs[key] = svc.Build
		services[key] = append(services[key], svc.Name)
	}
	for _, key := range order {
		id := pg.NewID()
		_, err := pg.Exec(ctx, tx, insertBuild, pg.Args{
			"id": id, "organization": actor.OrganizationID, "deployment": d.ID, "services": services[key], "spec": []byte(key),
			"repository": Repository(d.OrganizationID, d.ProjectID),
		})
		if err != nil {
			return fmt.Errorf("insert build: %w", err)
		}
		if err := s.Orders.Insert(ctx, tx, jobs.Build{BuildID: id}); err != nil {
			return err
		}
	}
	return nil
}

// Repository is where a project's images are in the panel's registry.
func Repository(organization, project uuid.UUID) string {
	return organization.String() + "/" + project.String()
}
