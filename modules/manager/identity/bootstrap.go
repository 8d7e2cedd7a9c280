package identity

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/pg"
	"pandu/modules/manager/audit"
)

// bootstrapScopes are what `make up` and the first steps on the command line need.
var bootstrapScopes = []string{
	string(ProjectsRead), string(ProjectsCreate), string(ProjectsUpdate), string(ProjectsDelete), string(ServicesUpdate),
	string(VariablesRead), string(VariablesWrite), string(UploadsRead), string(UploadsCreate), string(UploadsDelete),
	string(DeploymentsRead), string(DeploymentsCreate), string(DeploymentsCancel), string(LogsRead), string(DomainsRead),
	string(DomainsUpdate), string(VolumesRead), string(VolumesDelete), string(OrganizationRead),
}

const revokeBootstrap = `
	update identity.tokens set revoked_at = now()
	where organization_id = @organization and user_id is null and revoked_at is null`

// EnsureBootstrapToken makes the API token of organization default with which a machine deploys before there is a
// person, in place of the one made before. The caller writes it to a file that only its owner can read.
func (s *Service) EnsureBootstrapToken(ctx context.Context) (string, error) {
	token, name := newToken()
	err := s.db.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockKeys); err != nil {
			return err
		}
		org, err := pg.Value[uuid.UUID](ctx, tx, selectOrganizationBySlug, pg.Args{"slug": DefaultOrganization})
		if err != nil {
			return fmt.Errorf("read organization default: %w", err)
		}
		if _, err := pg.Exec(ctx, tx, revokeBootstrap, pg.Args{"organization": org}); err != nil {
			return err
		}
		id := pg.NewID()
		_, err = pg.Exec(ctx, tx, insertToken, pg.Args{
			"organization": org, "id": id, "user": nil, "role": Admin, "name": "bootstrap", "prefix": name,
			"hash": hashBearer(token), "scopes": bootstrapScopes, "maker": uuid.Nil, "life": nil,
		})
		if err != nil {
			return err
		}
		return audit.Record(ctx, tx, System(org, "bootstrap").Event("token.create", "token", id, "bootstrap", nil))
	})
	if err != nil {
		return "", fmt.Errorf("make bootstrap token: %w", err)
	}
	s.known.forgetAll()
	return token, nil
}
