package converge

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pandu/modules/agent/agentv1"
	"pandu/modules/kit/fault"
	"pandu/modules/spec"
)

// clock is a time that only the test moves.
type clock struct{ at time.Time }

func (c *clock) now() time.Time          { return c.at }
func (c *clock) advance(d time.Duration) { c.at = c.at.Add(d) }

func testLedger(t *testing.T, dir, pool string, bits int, c *clock) *ledger {
	t.Helper()
	l, err := openLedger(dir, netip.MustParsePrefix(pool), bits, c.now)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestSubnets(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	dir := t.TempDir()
	l := testLedger(t, dir, "10.192.0.0/22", 24, c)
	taken := []netip.Prefix{netip.MustParsePrefix("10.192.1.128/25"), {}}
	expect := func(environment, want string) {
		t.Helper()
		got, err := l.subnet(environment, taken)
		if err != nil || got.String() != want {
			t.Fatalf("subnet of %s: %v %v, want %s", environment, got, err, want)
		}
	}
	expect("a", "10.192.0.0/24")
	expect("b", "10.192.2.0/24")
	expect("a", "10.192.0.0/24")
	expect("c", "10.192.3.0/24")
	if _, err := l.subnet("d", taken); !errors.Is(err, errPoolEmpty) {
		t.Fatalf("from an empty pool: %v", err)
	}
	l = testLedger(t, dir, "10.192.0.0/22", 24, c) // from disk
	expect("b", "10.192.2.0/24")
	l.dropSubnet("a")
	if _, err := l.subnet("d", taken); !errors.Is(err, errPoolEmpty) {
		t.Fatalf("a subnet was used again at once: %v", err)
	}
	c.advance(rest)
	expect("d", "10.192.0.0/24")
}

func TestAddresses(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	dir := t.TempDir()
	l := testLedger(t, dir, "10.192.0.0/28", 29, c) // 8 addresses: two of the network, one of the bridge, five of instances
	if _, err := l.subnet("e", nil); err != nil {
		t.Fatal(err)
	}
	expect := func(instance, want string) {
		t.Helper()
		got, err := l.address(instance, "e")
		if err != nil || got.String() != want {
			t.Fatalf("address of %s: %v %v, want %s", instance, got, err, want)
		}
	}
	expect("a", "10.192.0.2")
	expect("b", "10.192.0.3")
	expect("a", "10.192.0.2")
	l.release("a")
	c.advance(time.Minute)
	expect("c", "10.192.0.4") // not the one just given back
	l = testLedger(t, dir, "10.192.0.0/28", 29, c)
	expect("b", "10.192.0.3")
	l.release("b")
	expect("d", "10.192.0.5")
	expect("f", "10.192.0.6")
	expect("g", "10.192.0.2") // nothing else is left: the one that rests longest
	c.advance(rest)
	expect("h", "10.192.0.3")
	if _, err := l.address("i", "e"); !errors.Is(err, errPoolEmpty) {
		t.Fatalf("from a full subnet: %v", err)
	}
	if _, err := l.address("j", "unknown"); err == nil {
		t.Fatal("an address without a subnet")
	}
}

func TestLedgerSurvives(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	dir := t.TempDir()
	l := testLedger(t, dir, "10.192.0.0/12", 24, c)
	changed, moved := l.update("i", func(r *record) { r.State, r.Ready, r.Port = agentv1.InstanceState_INSTANCE_STATE_READY, true, 80 })
	if !changed || !moved {
		t.Error("a new record is no news")
	}
	if changed, _ := l.update("i", func(r *record) { r.Ready = true }); changed {
		t.Error("the same record is news")
	}
	if err := l.flush(); err != nil {
		t.Fatal(err)
	}
	before := l.record("i")
	if got := testLedger(t, dir, "10.192.0.0/12", 24, c).record("i"); got.State != before.State || !got.Ready || got.Port != 80 {
		t.Errorf("read back %+v", got)
	}
	info, err := os.Stat(filepath.Join(dir, "converge.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file mode: %v %v", info.Mode(), err)
	}
}

func TestBrokenLedgerIsPutAside(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "converge.json"), []byte(`{"records": [`), 0o600); err != nil {
		t.Fatal(err)
	}
	l := testLedger(t, dir, "10.192.0.0/12", 24, &clock{})
	if _, err := l.subnet("e", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "converge.json.broken")); err != nil {
		t.Error(err)
	}
}

func TestPoolsThatCannotWork(t *testing.T) {
	for _, c := range []struct {
		pool string
		bits int
	}{{"10.0.0.0/24", 16}, {"10.0.0.0/8", 31}, {"fd00::/64", 80}} {
		if _, err := openLedger(t.TempDir(), netip.MustParsePrefix(c.pool), c.bits, time.Now); err == nil {
			t.Errorf("pool %s by /%d was taken", c.pool, c.bits)
		}
	}
}

func TestEnviron(t *testing.T) {
	variables := map[string]string{"TOKEN": "s3cret", "HOST": "db"}
	for name, c := range map[string]struct {
		spec  spec.Container
		image map[string]string
		want  string
	}{
		"only the port":    {spec.Container{}, nil, "[PORT=8080]"},
		"all variables":    {spec.Container{AllVariables: true}, nil, "[HOST=db PORT=8080 TOKEN=s3cret]"},
		"one passes":       {spec.Container{Env: []spec.Env{{Name: "TOKEN", FromVariable: true}, {Name: "NONE", FromVariable: true}}}, nil, "[PORT=8080 TOKEN=s3cret]"},
		"own value wins":   {spec.Container{AllVariables: true, Env: []spec.Env{{Name: "HOST", Value: "x"}}}, nil, "[HOST=x PORT=8080 TOKEN=s3cret]"},
		"references":       {spec.Container{Env: []spec.Env{{Name: "URL", Value: "pg://u:${TOKEN}@${HOST}/${NONE}"}}}, nil, "[PORT=8080 URL=pg://u:s3cret@db/]"},
		"dollars":          {spec.Container{Env: []spec.Env{{Name: "A", Value: "$$HOST $HOST $${HOST} ${NONE:-x}"}}}, nil, "[A=$HOST db ${HOST} x PORT=8080]"},
		"own port":         {spec.Container{Env: []spec.Env{{Name: "PORT", Value: "9"}}}, nil, "[PORT=9]"},
		"specified port":   {spec.Container{Port: 81}, nil, "[PORT=81]"},
		"image's own PORT": {spec.Container{}, map[string]string{"PORT": "5000"}, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := environ(c.spec, variables, c.image, announcedPort(c.spec, nil))
			if err != nil {
				t.Fatal(err)
			}
			if len(got) == 0 && c.want != "[]" || len(got) > 0 && "["+join(got)+"]" != c.want {
				t.Errorf("got %v, want %s", got, c.want)
			}
		})
	}
}

func TestEnvironDemandsVariables(t *testing.T) {
	_, err := environ(spec.Container{Env: []spec.Env{{Name: "A", Value: "${SECRET:?set it}"}}}, nil, nil, 80)
	if fault.From(err).Code != "variable_missing" {
		t.Error(err)
	}
}

func join(words []string) string {
	out := ""
	for i, w := range words {
		if i > 0 {
			out += " "
		}
		out += w
	}
	return out
}
