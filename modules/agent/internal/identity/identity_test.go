package identity

import (
	"context"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pandu/modules/agent/internal/managertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a clock that a test turns.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func open(t *testing.T, dir string, c *clock, token string, addresses ...string) *Identity {
	t.Helper()
	i, err := Open(Deps{
		Dir: dir, Addresses: addresses, Now: c.now, Tick: 5 * time.Millisecond,
		Token: func(context.Context) (string, error) { return token, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func mustEnsure(t *testing.T, i *Identity) {
	t.Helper()
	if err := i.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestJoinsOnceAndRemembers(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	m := managertest.Start(t, managertest.NewCA(t, c.now))
	token := m.Token()
	i := open(t, dir, c, token, "127.0.0.1:1", m.Address) // the first address is dead
	mustEnsure(t, i)
	if i.ServerID() != managertest.ServerID {
		t.Errorf("server id is %q", i.ServerID())
	}
	info, err := os.Stat(filepath.Join(dir, fileName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file has mode %v, %v", info.Mode(), err)
	}
	again := open(t, dir, c, token)
	mustEnsure(t, again) // asks nobody: there is no address
	if again.ServerID() != managertest.ServerID {
		t.Errorf("remembered %q", again.ServerID())
	}
}

func TestRefusesAnotherAuthority(t *testing.T) {
	c := newClock()
	real := managertest.Start(t, managertest.NewCA(t, c.now))
	fake := managertest.Start(t, managertest.NewCA(t, c.now))
	i := open(t, t.TempDir(), c, real.Token(), fake.Address)
	if err := i.Ensure(t.Context()); err == nil || !strings.Contains(err.Error(), "expected authority") {
		t.Errorf("error is %v", err)
	}
	if i.ServerID() != "" {
		t.Error("joined a stranger")
	}
}

func TestWithoutATokenItSaysSo(t *testing.T) {
	i := open(t, t.TempDir(), newClock(), "")
	if err := i.Ensure(t.Context()); !errors.Is(err, ErrNoToken) {
		t.Errorf("error is %v", err)
	}
}

func TestRenewsInTime(t *testing.T) {
	c := newClock()
	m := managertest.Start(t, managertest.NewCA(t, c.now))
	i := open(t, t.TempDir(), c, m.Token(), m.Address)
	mustEnsure(t, i)
	first := i.State().NotAfter
	c.turn(4 * 24 * time.Hour)
	mustEnsure(t, i)
	if m.Renewals() != 0 {
		t.Error("renewed before two thirds of the life")
	}
	c.turn(36 * time.Hour)
	mustEnsure(t, i)
	if m.Renewals() != 1 || !i.State().NotAfter.After(first) {
		t.Errorf("%d renewals, valid until %v", m.Renewals(), i.State().NotAfter)
	}
	mustEnsure(t, i)
	if m.Renewals() != 1 {
		t.Error("renewed again at once")
	}
}

func TestExpiredJoinsAgainWithANewToken(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	m := managertest.Start(t, managertest.NewCA(t, c.now))
	mustEnsure(t, open(t, dir, c, m.Token(), m.Address))
	c.turn(400 * 24 * time.Hour)
	i := open(t, dir, c, "", m.Address)
	if err := i.Ensure(t.Context()); !errors.Is(err, ErrExpired) {
		t.Errorf("error is %v", err)
	}
	if s := i.State(); !s.Expired || s.ServerID != managertest.ServerID {
		t.Errorf("state is %+v: an expired server still knows who it is", s)
	}
	i = open(t, dir, c, m.Token(), m.Address)
	mustEnsure(t, i)
	if i.State().Expired {
		t.Error("still expired")
	}
}

func TestRunJoinsWhenTheManagerComesAndRenews(t *testing.T) {
	c := newClock()
	authority := managertest.NewCA(t, c.now)
	m := managertest.Start(t, authority)
	i := open(t, t.TempDir(), c, m.Token(), m.Address)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- i.Run(ctx) }()
	<-i.Joined()
	<-i.Renewed()
	c.turn(6 * 24 * time.Hour)
	<-i.Renewed()
	if m.Renewals() != 1 {
		t.Errorf("%d renewals", m.Renewals())
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestDamagedFileIsPutAsideAndTheServerJoinsAgain(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, fileName), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := managertest.Start(t, managertest.NewCA(t, c.now))
	i := open(t, dir, c, m.Token(), m.Address)
	if i.ServerID() != "" {
		t.Errorf("server id is %q", i.ServerID())
	}
	mustEnsure(t, i)
	if _, err := os.Stat(filepath.Join(dir, fileName+".damaged")); err != nil {
		t.Error(err)
	}
	if _, err := decode([]byte("nonsense")); !errors.Is(err, errDamaged) {
		t.Errorf("error is %v", err)
	}
}

func TestAnswerForAnotherKeyIsRefused(t *testing.T) {
	authority := managertest.NewCA(t, time.Now)
	_, csr, err := request()
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := request()
	if err != nil {
		t.Fatal(err)
	}
	der, err := authority.IssueServer(managertest.ServerID, csr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newCredentials(other, der, [][]byte{authority.Certificate().Raw}); err == nil {
		t.Error("a certificate for another key was taken")
	}
	if _, err := x509.ParseCertificate(der); err != nil {
		t.Error(err)
	}
}
