package pgprivate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"pandu/modules/kit/run"
)

// oldest is the lowest major version that is used.
const oldest = 15

// installation is one installed PostgreSQL.
type installation struct {
	major int
	bin   string
}

// installed lists what is there, the newest first: Debian's and Ubuntu's places, those of other systems, and PATH.
func installed() []installation {
	var places []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/lib/postgresql*/bin", "/usr/libexec/postgresql*", "/usr/local/pgsql/bin", "/usr/local/bin", "/usr/bin"} {
		found, _ := filepath.Glob(pattern)
		places = append(places, found...)
	}
	var list []installation
	for _, bin := range places {
		if _, err := os.Stat(filepath.Join(bin, "initdb")); err != nil {
			continue
		}
		if major := versionOf(bin); major > 0 && !slices.ContainsFunc(list, func(i installation) bool { return i.major == major }) {
			list = append(list, installation{major, bin})
		}
	}
	slices.SortFunc(list, func(a, b installation) int { return b.major - a.major })
	return list
}

// versionOf asks the server itself: a path says little. 0 when it cannot.
func versionOf(bin string) int {
	out, err := run.Output(context.Background(), run.Command{Path: filepath.Join(bin, "postgres"), Args: []string{"--version"}, Env: environment()})
	if err != nil {
		return 0
	}
	for field := range bytes.FieldsSeq(out) {
		number, _, _ := strings.Cut(string(field), ".")
		if major, err := strconv.Atoi(number); err == nil {
			return major
		}
	}
	return 0
}

// chooseBinaries is the version that wrote the data, or the newest for new data: a server never reads another major's files.
func (s *Server) chooseBinaries() (string, error) {
	have := installed()
	names := make([]string, 0, len(have))
	for _, i := range have {
		names = append(names, strconv.Itoa(i.major))
	}
	body, err := os.ReadFile(filepath.Join(s.data(), "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		if len(have) == 0 || have[0].major < oldest {
			return "", fmt.Errorf("no PostgreSQL %d or newer is installed (found: %s): install the package postgresql, or set DATABASE_URL", oldest, list(names))
		}
		return have[0].bin, nil
	}
	if err != nil {
		return "", fmt.Errorf("read version of the data: %w", err)
	}
	want := strings.TrimSpace(string(body))
	if i := slices.Index(names, want); i >= 0 {
		return have[i].bin, nil
	}
	return "", fmt.Errorf("the data in %s was written by PostgreSQL %q, which is not installed (found: %s): install the package postgresql-%s; "+
		"to move to another version, dump it with that one's pg_dumpall and load it into a new data directory", s.data(), want, list(names), want)
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// initialise makes the cluster beside its place and moves it there whole, so that a crash leaves no half of one.
func (s *Server) initialise(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(s.data(), "PG_VERSION")); err == nil {
		return nil
	}
	if entries, err := os.ReadDir(s.data()); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is not empty and holds no database: move it away", s.data())
	}
	fresh := s.data() + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("remove %s: %w", fresh, err)
	}
	s.log.Info("making private postgresql", "dir", s.dir)
	_, err := run.Output(ctx, run.Command{
		Path: filepath.Join(s.bin, "initdb"), Env: environment(), Dir: s.dir, Credential: s.user.credential(),
		Args: []string{"--pgdata", fresh, "--username", name, "--auth", "peer", "--encoding", "UTF8", "--locale", "C.UTF-8", "--data-checksums", "--no-instructions"},
	})
	if err != nil {
		return errors.Join(s.advise(err), os.RemoveAll(fresh))
	}
	if err := os.Rename(fresh, s.data()); err != nil {
		return fmt.Errorf("move new database into place: %w", err)
	}
	return nil
}

// writeAccess lets the server's user and us in over the socket, as the superuser, and nobody else at all.
func (s *Server) writeAccess() error {
	files := map[string]string{
		"pg_hba.conf":   "local all all peer map=pandu\n",
		"pg_ident.conf": fmt.Sprintf("pandu %s %s\npandu root %s\n", strconv.Quote(s.user.name), name, name),
	}
	for file, body := range files {
		path := filepath.Join(s.data(), file)
		if old, err := os.ReadFile(path); err == nil && string(old) == body {
			continue
		}
		if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
			return s.advise(fmt.Errorf("write %s: %w", file, err))
		}
		if s.user.switches {
			if err := os.Chown(path, int(s.user.uid), int(s.user.gid)); err != nil {
				return fmt.Errorf("give %s to user %s: %w", file, s.user.name, err)
			}
		}
	}
	return nil
}
