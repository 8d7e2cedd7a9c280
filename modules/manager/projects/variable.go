package projects

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
	"pandu/modules/manager/audit"
	"pandu/modules/manager/identity"
	"pandu/modules/spec"
)

// Variable is what may be seen of a variable: never its value.
type Variable struct {
	Name      string    `json:"name" db:"name"`
	Build     bool      `json:"build" db:"build" doc:"handed to builds as a secret, too"`
	UpdatedAt time.Time `json:"updated_at" db:"updated_at"`
}

// SetVariable is a variable to be written.
type SetVariable struct {
	Name  string `json:"name" maxLength:"128"`
	Value string `json:"value" maxLength:"65536" doc:"stored sealed; cannot be read back"`
	Build bool   `json:"build,omitempty" doc:"hand it to builds as a secret, too"`
}

// Bounds of one environment's variables.
const (
	maxVariables     = 500
	maxVariableValue = 64 << 10
)

// Variables lists the names of an environment's variables.
func (s *Service) Variables(ctx context.Context, q pg.Querier, actor identity.Actor, environment uuid.UUID) ([]Variable, error) {
	rows, err := pg.All[Variable](ctx, q, selectVariables, pg.Args{"organization": actor.OrganizationID, "environment": environment})
	if err != nil {
		return nil, fmt.Errorf("list variables: %w", err)
	}
	return rows, nil
}

// ChangeVariables writes and removes variables in tx and returns the new version of the environment's set. Past
// releases keep the version that they name.
func (s *Service) ChangeVariables(ctx context.Context, tx pgx.Tx, actor identity.Actor, e Environment, set []SetVariable, unset []string) (int64, error) {
	names, err := checkVariables(set, unset)
	if err != nil {
		return 0, err
	}
	args := pg.Args{"organization": actor.OrganizationID, "environment": e.ID, "names": names}
	version, err := pg.Value[int64](ctx, tx, raiseVariables, args)
	if err != nil {
		return 0, fmt.Errorf("raise version of variables: %w", err)
	}
	args["version"] = version
	if _, err := pg.Exec(ctx, tx, endVariables, args); err != nil {
		return 0, fmt.Errorf("end old values: %w", err)
	}
	for _, v := range set {
		if err := s.insertVariable(ctx, tx, actor, e.ID, version, v); err != nil {
			return 0, err
		}
	}
	count, err := pg.Value[int](ctx, tx, countVariables, args)
	if err != nil {
		return 0, fmt.Errorf("count variables: %w", err)
	}
	if count > maxVariables {
		return 0, fault.Newf(fault.Limit, "too_many_variables", "An environment has at most %d variables.", maxVariables)
	}
	detail := map[string]string{"set": strconv.Itoa(len(set)), "unset": strconv.Itoa(len(unset)), "version": strconv.FormatInt(version, 10)}
	return version, audit.Record(ctx, tx, actor.Event("variables.change", "environment", e.ID, e.Slug, detail))
}

func checkVariables(set []SetVariable, unset []string) ([]string, error) {
	seen := map[string]bool{}
	for i, v := range set {
		if err := spec.VariableName(v.Name); err != nil {
			return nil, err
		}
		if len(v.Value) > maxVariableValue {
			return nil, fault.Newf(fault.TooLarge, "variable_too_large", "The value of %s is larger than 64 KiB. Put it into a file or a volume.", v.Name).With("name", v.Name)
		}
		if seen[v.Name] {
			return nil, fault.Newf(fault.Invalid, "variable_twice", "%s is set twice in one request.", v.Name).With("name", v.Name).At(fmt.Sprintf("body.set[%d].name", i), "set twice")
		}
		seen[v.Name] = true
	}
	for _, name := range unset {
		seen[name] = true
	}
	return slices.Sorted(maps.Keys(seen)), nil
}

func (s *Service) insertVariable(ctx context.Context, tx pgx.Tx, actor identity.Actor, environment uuid.UUID, version int64, v SetVariable) error {
	id := pg.NewID()
	sealed, err := s.Identity.Seal(ctx, tx, actor.OrganizationID, variableAAD(environment, v.Name, id), []byte(v.Value))
	if err != nil {
		return err
	}
	_, err = pg.Exec(ctx, tx, insertVariable, pg.Args{
		"id": id, "organization": actor.OrganizationID, "environment": environment, "name": v.Name, "build": v.Build,
		"sealed": sealed, "version": version,
	})
	if err != nil {
		return fmt.Errorf("insert variable: %w", err)
	}
	return nil
}

// variableAAD binds a sealed value to its row, so that it cannot be moved to another name or tenant.
func variableAAD(environment uuid.UUID, name string, id uuid.UUID) string {
	return "projects.variables|" + environment.String() + "|" + name + "|" + id.String()
}

// Values are variables in the clear. They cannot be printed by accident: the zero value of every formatting is a count.
type Values map[string]string

// String hides the values.
func (v Values) String() string { return fmt.Sprintf("%d variables", len(v)) }

// GoString hides the values.
func (v Values) GoString() string { return v.String() }

// MarshalJSON refuses: values leave only to the server that runs the instance.
func (v Values) MarshalJSON() ([]byte, error) {
	return nil, fmt.Errorf("variables are not written as JSON")
}

// Open unseals the variables of an environment as they were at a version; with build, only those meant for builds.
func (s *Service) Open(ctx context.Context, q pg.Querier, actor identity.Actor, environment uuid.UUID, version int64, build bool) (Values, error) {
	rows, err := pg.All[struct {
		ID     uuid.UUID `db:"id"`
		Name   string    `db:"name"`
		Sealed []byte    `db:"sealed"`
	}](ctx, q, selectSealed, pg.Args{"organization": actor.OrganizationID, "environment": environment, "version": version, "build": build})
	if err != nil {
		return nil, fmt.Errorf("read variables: %w", err)
	}
	values := Values{}
	for _, row := range rows {
		plain, err := s.Identity.Open(ctx, q, actor.OrganizationID, variableAAD(environment, row.Name, row.ID), row.Sealed)
		if err != nil {
			return nil, fmt.Errorf("open variable %s: %w", row.Name, err) // closed: better no container than one without its secret
		}
		values[row.Name] = string(plain)
	}
	return values, nil
}

// Received are the variables among values that a container gets: all of them, or those its environment names.
func (v Values) Received(c spec.Container) Values {
	if c.AllVariables {
		return v
	}
	got := Values{}
	for _, name := range c.VariableNames() {
		if value, ok := v[name]; ok {
			got[name] = value
		}
	}
	return got
}

// Digest is a keyed digest of values: equal for equal values, and of no use to anybody who reads it.
func (s *Service) Digest(ctx context.Context, q pg.Querier, actor identity.Actor, v Values) (string, error) {
	if len(v) == 0 {
		return "", nil
	}
	body, err := json.Marshal(map[string]string(v)) // keys are sorted
	if err != nil {
		return "", fmt.Errorf("render variables: %w", err)
	}
	return s.Identity.Digest(ctx, q, actor.OrganizationID, body)
}

const selectVariables = `
	select name, build, created_at as updated_at from projects.variables
	where organization_id = @organization and environment_id = @environment and version_to is null
	order by name`

const raiseVariables = `
	update projects.environments set variables_version = variables_version + 1
	where organization_id = @organization and id = @environment
	returning variables_version`

const endVariables = `
	update projects.variables set version_to = @version
	where organization_id = @organization and environment_id = @environment and version_to is null and name = any(@names)`

const insertVariable = `
	insert into projects.variables (id, organization_id, environment_id, name, build, sealed, version_from)
	values (@id, @organization, @environment, @name, @build, @sealed, @version)`

const countVariables = `
	select count(*)::int from projects.variables
	where organization_id = @organization and environment_id = @environment and version_to is null`

const selectSealed = `
	select id, name, sealed from projects.variables
	where organization_id = @organization and environment_id = @environment
	  and version_from <= @version and (version_to is null or version_to > @version) and (not @build or build)
	order by name`
