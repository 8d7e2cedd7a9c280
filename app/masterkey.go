package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"

	"pandu/modules/kit/secret"
)

// masterKeyPlace is what the box in app.master_key is sealed for.
const masterKeyPlace = "app.master_key"

// newMasterKey reads the key that wraps all others. It makes one only beside the private database, in a file that is
// backed up with it; a key made anywhere else would be lost with its container.
func (p *Process) newMasterKey() (Service, error) {
	return hooks{name: "master key", start: func(context.Context) error {
		key, err := p.readMasterKey()
		p.key = key
		return err
	}}, nil
}

func (p *Process) readMasterKey() (secret.Key, error) {
	if text := p.cfg.MasterKey.Reveal(); text != "" {
		return secret.ParseKey(text)
	}
	if !p.cfg.DatabaseURL.IsZero() {
		return secret.Key{}, errors.New("PANDU_MASTER_KEY is not set: make one with openssl rand -base64 32, keep it safe, and give the same to every process")
	}
	path := filepath.Join(p.cfg.DataDir, "master.key")
	if _, err := createOnce(path, func() string { return secret.NewKey().Reveal() + "\n" }); err != nil {
		return secret.Key{}, fmt.Errorf("make master key: %w", err)
	}
	return readKeyFile(path)
}

func readKeyFile(path string) (secret.Key, error) {
	info, err := os.Stat(path)
	if err != nil {
		return secret.Key{}, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return secret.Key{}, fmt.Errorf("others may read %s: chmod 600 %s", path, path)
	}
	body, err := os.ReadFile(path) //nolint:gosec // a fixed name in our own data directory
	if err != nil {
		return secret.Key{}, err
	}
	key, err := secret.ParseKey(string(body))
	if err != nil {
		return secret.Key{}, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// createOnce writes path with mode 0600 unless it is there, whole and on disk or not at all, also when two processes
// try at once. It reports whether it was made.
func createOnce(path string, content func() string) (bool, error) {
	if _, err := os.Stat(path); err == nil {
		return false, nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return false, err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.WriteString(content())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return false, err
	}
	if err := os.Link(f.Name(), path); errors.Is(err, os.ErrExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return true, syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	d, err := os.Open(path) //nolint:gosec // our own data directory
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// checkMasterKey runs under the migration lock. The first process ever leaves a sealed box; every later one must be able
// to open it, or it would write secrets that the others cannot read.
func (p *Process) checkMasterKey(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("connect to database: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	const leave = "insert into app.master_key (box) values ($1) on conflict do nothing"
	if _, err := conn.Exec(ctx, leave, p.key.Seal(nil, masterKeyPlace)); err != nil {
		return fmt.Errorf("write master key check: %w", err)
	}
	var box []byte
	if err := conn.QueryRow(ctx, "select box from app.master_key").Scan(&box); err != nil {
		return fmt.Errorf("read master key check: %w", err)
	}
	if _, err := p.key.Open(box, masterKeyPlace); err != nil {
		return errors.New("this database was made with another master key: give this process the PANDU_MASTER_KEY (or the file master.key in the data directory) that the others have")
	}
	return nil
}
