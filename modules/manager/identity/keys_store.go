package identity

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/ca"
	"pandu/modules/kit/pg"
)

type keyRow struct {
	ID             uuid.UUID  `db:"id"`
	OrganizationID uuid.UUID  `db:"organization_id"`
	Purpose        string     `db:"purpose"`
	Wrapped        []byte     `db:"wrapped"`
	Public         []byte     `db:"public"`
	CreatedAt      time.Time  `db:"created_at"`
	RetiredAt      *time.Time `db:"retired_at"`
}

const lockKeys = `select pg_advisory_xact_lock(hashtextextended('identity.keys', 0))`

const selectCurrentKey = `
	select id, organization_id, purpose, wrapped, public, created_at, retired_at from identity.keys
	where organization_id = @organization and purpose = @purpose and retired_at is null`

const selectKey = `
	select id, organization_id, purpose, wrapped, public, created_at, retired_at from identity.keys
	where id = @id and organization_id = @organization`

const insertKey = `
	insert into identity.keys (id, organization_id, purpose, wrapped, public)
	values (@id, @organization, @purpose, @wrapped, @public)`

// prepareKeys makes the platform's keys under a lock, once, and unwraps them all.
func (s *Service) prepareKeys(ctx context.Context) error {
	err := s.db.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockKeys); err != nil {
			return err
		}
		// The check key comes first: with the wrong master key nothing new is made beside what cannot be read.
		for _, purpose := range []string{purposeCheck, purposeData, purposeDigest, purposeJWT, purposeCA} {
			if err := s.prepareKey(ctx, tx, slot{uuid.Nil, purpose}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("prepare keys: %w", err)
	}
	return nil
}

func (s *Service) prepareKey(ctx context.Context, tx pgx.Tx, at slot) error {
	row, err := pg.One[keyRow](ctx, tx, selectCurrentKey, pg.Args{"organization": at.organization, "purpose": at.purpose})
	if pg.None(err) {
		return s.makeKey(ctx, tx, at)
	}
	if err != nil {
		return err
	}
	if _, err := s.learn(row); err != nil {
		return fmt.Errorf("the master key is not the one that this database was made with: %w", err)
	}
	return nil
}

// makeKey makes and stores a key. It is remembered only when it is read again: this transaction may be rolled back.
func (s *Service) makeKey(ctx context.Context, tx pgx.Tx, at slot) error {
	k, err := s.newKey(at.purpose)
	if err != nil {
		return err
	}
	wrapped, err := s.keys.wrapKey(k, at)
	if err != nil {
		return err
	}
	_, err = pg.Exec(ctx, tx, insertKey, pg.Args{
		"id": k.ID, "organization": at.organization, "purpose": at.purpose, "wrapped": wrapped, "public": k.public,
	})
	if err != nil {
		return fmt.Errorf("store %s key: %w", at.purpose, err)
	}
	return nil
}

func (s *Service) newKey(purpose string) (key, error) {
	k := key{ID: pg.NewID(), purpose: purpose, secret: newSecret()}
	switch purpose {
	case purposeJWT:
		k.public = ed25519.NewKeyFromSeed(k.secret).Public().(ed25519.PublicKey)
	case purposeCA:
		authority, err := ca.NewCA(s.now)
		if err != nil {
			return key{}, fmt.Errorf("make certificate authority: %w", err)
		}
		if k.public, k.secret, err = authority.Marshal(); err != nil {
			return key{}, fmt.Errorf("write certificate authority: %w", err)
		}
	}
	return k, nil
}

// learn unwraps a stored key and remembers it.
func (s *Service) learn(row keyRow) (key, error) {
	at := slot{row.OrganizationID, row.Purpose}
	secret, err := s.keys.unwrapKey(row.ID, at, row.Wrapped)
	if err != nil {
		return key{}, err
	}
	k := key{ID: row.ID, purpose: row.Purpose, secret: secret, public: row.Public, retired: row.RetiredAt}
	s.keys.remember(at, k, row.RetiredAt == nil)
	return k, nil
}

// currentKey is the key that new things are sealed or signed with.
func (s *Service) currentKey(ctx context.Context, q pg.Querier, at slot) (key, error) {
	if k, ok := s.keys.get(at); ok {
		return k, nil
	}
	row, err := pg.One[keyRow](ctx, q, selectCurrentKey, pg.Args{"organization": at.organization, "purpose": at.purpose})
	if err != nil {
		return key{}, fmt.Errorf("read %s key: %w", at.purpose, err)
	}
	return s.learn(row)
}

func (s *Service) keyByID(ctx context.Context, q pg.Querier, organization, id uuid.UUID) (key, error) {
	if k, ok := s.keys.getByID(id); ok {
		return k, nil
	}
	row, err := pg.One[keyRow](ctx, q, selectKey, pg.Args{"id": id, "organization": organization})
	if err != nil {
		return key{}, fmt.Errorf("read key: %w", err)
	}
	return s.learn(row)
}

// Seal encrypts a secret for storing, with the data key of the organization (uuid.Nil: the platform's). aad names the
// place where it is stored, such as "projects.variables|<id>|value": opening it for another place fails.
func (s *Service) Seal(ctx context.Context, q pg.Querier, organization uuid.UUID, aad string, plain []byte) ([]byte, error) {
	k, err := s.currentKey(ctx, q, slot{organization, purposeData})
	if err != nil {
		return nil, fmt.Errorf("seal secret: %w", err)
	}
	return seal(k, organization.String()+"|"+aad, plain)
}

// Open is the reverse of Seal. It fails, and never gives less than everything, when key, place or value do not fit.
func (s *Service) Open(ctx context.Context, q pg.Querier, organization uuid.UUID, aad string, sealed []byte) ([]byte, error) {
	id, err := sealedBy(sealed)
	if err != nil {
		return nil, errSealed.Because(err)
	}
	k, err := s.keyByID(ctx, q, organization, id)
	if err != nil {
		return nil, errSealed.Because(err)
	}
	plain, err := open(k, organization.String()+"|"+aad, sealed)
	if err != nil {
		return nil, errSealed.Because(err)
	}
	return plain, nil
}

// Digest is a fingerprint of data that only this installation can compute (HMAC-SHA256, hex), the same for the same
// organization and data for ever: for telling whether a secret changed without storing a guessable hash of it.
func (s *Service) Digest(ctx context.Context, q pg.Querier, organization uuid.UUID, data []byte) (string, error) {
	k, err := s.currentKey(ctx, q, slot{organization, purposeDigest})
	if err != nil {
		return "", fmt.Errorf("compute digest: %w", err)
	}
	return mac(k, data), nil
}

// CA is the authority that signs the certificates of agents and managers.
func (s *Service) CA(ctx context.Context) (*ca.CA, error) {
	k, err := s.currentKey(ctx, s.db.Pool, slot{uuid.Nil, purposeCA})
	if err != nil {
		return nil, err
	}
	authority, err := ca.Load(k.public, k.secret, s.now)
	if err != nil {
		return nil, fmt.Errorf("load certificate authority: %w", err)
	}
	return authority, nil
}

// prepareOrganizationKeys makes the keys of a new organization, in the transaction that makes the organization.
func (s *Service) prepareOrganizationKeys(ctx context.Context, tx pgx.Tx, organization uuid.UUID) error {
	for _, purpose := range []string{purposeData, purposeDigest} {
		if err := s.makeKey(ctx, tx, slot{organization, purpose}); err != nil {
			return err
		}
	}
	return nil
}
