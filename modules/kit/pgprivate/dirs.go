package pgprivate

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"pandu/modules/kit/run"
)

// maxSocketPath is what fits into a socket's address, without the closing zero.
const maxSocketPath = 107

// maxLog is the size from which the server's log is put aside at a start, in bytes.
const maxLog = 10 << 20

func (s *Server) data() string    { return filepath.Join(s.dir, "data") }
func (s *Server) logFile() string { return filepath.Join(s.dir, "log") }

// socketDir is beside the data, or, when that path is too long for a socket, a directory of ours below the system's
// temporary one that is named after the data.
func (s *Server) socketDir() string {
	dir := filepath.Join(s.dir, "run")
	if len(filepath.Join(dir, ".s.PGSQL.5432")) <= maxSocketPath {
		return dir
	}
	sum := sha256.Sum256([]byte(s.dir))
	return filepath.Join(os.TempDir(), "pandu-"+hex.EncodeToString(sum[:8]))
}

// osUser is whom the server runs as.
type osUser struct {
	name     string
	uid, gid uint32
	switches bool // we are root and become this user
}

func (u *osUser) credential() *run.Credential {
	if !u.switches {
		return nil
	}
	return &run.Credential{UID: u.uid, GID: u.gid}
}

// serverUser is the user we are, or the user postgres when we are root: PostgreSQL refuses to run as root.
func serverUser() (*osUser, error) {
	if os.Geteuid() != 0 {
		me, err := user.Current()
		if err != nil {
			return nil, fmt.Errorf("PostgreSQL needs a user with a name, and the system knows none with the id %d: add one to /etc/passwd or set DATABASE_URL: %w", os.Geteuid(), err)
		}
		return numbers(me, false)
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL does not run as root and there is no user postgres: install the package postgresql, or start as another user: %w", err)
	}
	return numbers(u, true)
}

func numbers(u *user.User, switches bool) (*osUser, error) {
	uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
	gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
	return &osUser{u.Username, uint32(uid), uint32(gid), switches}, errors.Join(errUID, errGID)
}

// makeDirs makes the directory and the socket's, both the server's own and closed to everybody else.
func (s *Server) makeDirs() error {
	for _, dir := range []string{s.dir, s.socketDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make %s: %w", dir, err)
		}
		if err := s.own(dir); err != nil {
			return err
		}
	}
	return s.reachable()
}

// own gives the directory to the server's user. One that is somebody else's is refused: below the temporary directory
// anybody may have made it.
func (s *Server) own(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || (st.Uid != s.user.uid && int(st.Uid) != os.Geteuid()) {
		return fmt.Errorf("%s belongs to somebody else: remove it or choose another data directory", dir)
	}
	if st.Uid != s.user.uid {
		if err := os.Chown(dir, int(s.user.uid), int(s.user.gid)); err != nil {
			return fmt.Errorf("give %s to user %s: %w", dir, s.user.name, err)
		}
	}
	return os.Chmod(dir, 0o700) //nolint:gosec // a directory
}

// reachable checks that the server's user may enter every directory above: root may, and would not notice.
func (s *Server) reachable() error {
	if !s.user.switches {
		return nil
	}
	for dir := filepath.Dir(s.dir); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		may := ok && (info.Mode().Perm()&0o001 != 0 || st.Uid == s.user.uid && info.Mode().Perm()&0o100 != 0 || st.Gid == s.user.gid && info.Mode().Perm()&0o010 != 0)
		if !may {
			return fmt.Errorf("PostgreSQL runs as user %s, who may not enter %s: choose a data directory elsewhere, or allow it with chmod o+x %s", s.user.name, dir, dir)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

// takeLock keeps two programs from starting and stopping the same server. The kernel drops it when the program ends.
func (s *Server) takeLock() error {
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("%w (%s)", ErrBusy, s.dir)
		}
		return fmt.Errorf("lock %s: %w", s.dir, err)
	}
	s.lock = f
	return nil
}

func (s *Server) unlock() error {
	if s.lock == nil {
		return nil
	}
	f := s.lock
	s.lock = nil
	return f.Close()
}

// openLog opens the file that the server writes to. A long one is put aside first; one older one is kept.
func (s *Server) openLog() (*os.File, error) {
	if info, err := os.Stat(s.logFile()); err == nil && info.Size() > maxLog {
		if err := os.Rename(s.logFile(), s.logFile()+".1"); err != nil {
			return nil, fmt.Errorf("rotate PostgreSQL's log: %w", err)
		}
	}
	f, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open PostgreSQL's log: %w", err)
	}
	if info, err := f.Stat(); err == nil {
		s.begun = info.Size()
	}
	return f, nil
}

// environment is all that PostgreSQL gets: the user's PG* variables are not for it.
func environment() []string { return []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"} }
