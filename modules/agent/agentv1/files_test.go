package agentv1

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

func sampleTable() *RouteTable {
	return &RouteTable{Epoch: &Epoch{Number: 3, Lineage: "l"}, Revision: 7, Sets: []*RouteSet{{
		EnvironmentId: "e", Routes: []*Route{{Host: "a.example.org", Path: "/", InstanceIds: []string{"i"}, State: Route_STATE_SERVING}},
	}}}
}

func sampleBook() *AddressBook {
	return &AddressBook{Version: 2, Addresses: []*Address{{InstanceId: "i", Ip: "10.0.0.2", Port: 80, Ready: true}}}
}

func TestFilesComeBackAsWritten(t *testing.T) {
	dir := t.TempDir()
	for range 2 { // the second write replaces the first
		if err := errors.Join(WriteRouteTable(dir, sampleTable()), WriteAddressBook(dir, sampleBook())); err != nil {
			t.Fatal(err)
		}
	}
	table, err := ReadRouteTable(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := sampleTable()
	want.Hash = HashRouteTable(want)
	if !proto.Equal(table, want) {
		t.Fatalf("got %v, want %v", table, want)
	}
	book, err := ReadAddressBook(dir)
	if err != nil {
		t.Fatal(err)
	}
	if book.Hash = nil; !proto.Equal(book, sampleBook()) {
		t.Fatalf("got %v", book)
	}
	left, _ := os.ReadDir(dir)
	if len(left) != 2 {
		t.Fatalf("temporary files are left: %v", left)
	}
}

func TestWriteKeepsAHashThatIsInTheMessageOut(t *testing.T) {
	dir, table := t.TempDir(), sampleTable()
	table.Hash = []byte("wrong")
	if err := WriteRouteTable(dir, table); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadRouteTable(dir); err != nil {
		t.Fatal(err)
	}
}

func TestReadRefusesEveryDamagedByte(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, RouteTableFile)
	if err := WriteRouteTable(dir, sampleTable()); err != nil {
		t.Fatal(err)
	}
	whole, _ := os.ReadFile(path)
	for i := range whole {
		damaged := slices.Clone(whole)
		damaged[i] ^= 1
		mustBeCorrupt(t, dir, damaged)
		mustBeCorrupt(t, dir, whole[:i])
	}
	mustBeCorrupt(t, dir, append(slices.Clone(whole), 0))
}

func mustBeCorrupt(t *testing.T, dir string, file []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, RouteTableFile), file, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadRouteTable(dir); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("%x: got %v, want corrupt", file, err)
	}
	ignore := func([]byte) error { return nil }
	if _, err := ScanRouteTable(filepath.Join(dir, RouteTableFile), ignore); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("scan of %x: got %v, want corrupt", file, err)
	}
}

func TestScanFindsWhatReadFinds(t *testing.T) {
	dir, table := t.TempDir(), sampleTable()
	table.Sets = append(table.Sets, &RouteSet{EnvironmentId: "second"}, &RouteSet{})
	unknown := protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1)
	unknown = protowire.AppendBytes(protowire.AppendTag(unknown, 98, protowire.BytesType), []byte("text"))
	unknown = protowire.AppendFixed32(protowire.AppendTag(unknown, 97, protowire.Fixed32Type), 1)
	unknown = protowire.AppendFixed64(protowire.AppendTag(unknown, 96, protowire.Fixed64Type), 1)
	table.ProtoReflect().SetUnknown(unknown)
	if err := WriteRouteTable(dir, table); err != nil {
		t.Fatal(err)
	}
	var sets []*RouteSet
	got, err := ScanRouteTable(filepath.Join(dir, RouteTableFile), func(b []byte) error {
		set := &RouteSet{}
		sets = append(sets, set)
		return proto.Unmarshal(b, set)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.Sets = sets; !proto.Equal(got, table) {
		t.Fatalf("got %v, want %v", got, table)
	}
	stop := errors.New("stop")
	if _, err := ScanRouteTable(filepath.Join(dir, RouteTableFile), func([]byte) error { return stop }); !errors.Is(err, stop) {
		t.Fatalf("got %v", err)
	}
}

func FuzzScan(f *testing.F) {
	f.Add([]byte{8, 1, 18, 1, 65, 26, 2, 10, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		path := filepath.Join(t.TempDir(), RouteTableFile)
		if err := os.WriteFile(path, seal(body), 0o600); err != nil {
			t.Fatal(err)
		}
		whole, readErr := ReadRouteTable(filepath.Dir(path))
		n := 0
		head, err := ScanRouteTable(path, func([]byte) error { n++; return nil })
		if readErr == nil && (err != nil || n != len(whole.GetSets()) || head.GetRevision() != whole.GetRevision()) {
			t.Fatalf("read %v, scan %v with %d sets, %v", whole, head, n, err)
		}
	})
}

func TestReadSaysWhenThereIsNoFile(t *testing.T) {
	if _, err := ReadRouteTable(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
	if _, err := ReadAddressBook(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
}

// A newer agent may write fields that this gateway does not know; the file must still be served.
func TestReadAcceptsUnknownFields(t *testing.T) {
	dir, table := t.TempDir(), sampleTable()
	unknown := protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1)
	table.ProtoReflect().SetUnknown(unknown)
	table.Sets[0].ProtoReflect().SetUnknown(unknown)
	if err := WriteRouteTable(dir, table); err != nil {
		t.Fatal(err)
	}
	got, err := ReadRouteTable(dir)
	if err != nil || !bytes.Equal(got.GetHash(), HashRouteTable(got)) {
		t.Fatalf("got %v, %v", got, err)
	}
}

func TestWriteRefusesTextThatIsNotUTF8(t *testing.T) {
	table := sampleTable()
	table.Sets[0].Routes[0].Host = "\xff"
	if err := WriteRouteTable(t.TempDir(), table); err == nil {
		t.Fatal("want an error")
	}
}

func TestHashEntries(t *testing.T) {
	entries := []*Entry{{Key: "a", Revision: 1, Body: []byte("x")}, {Key: "b", Revision: 2}, {Key: "c", Revision: 3, Body: []byte("y")}}
	want := HashEntries(entries)
	for range 20 {
		rand.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
		if !bytes.Equal(HashEntries(entries), want) {
			t.Fatal("the order of the slice changed the hash")
		}
	}
	first := proto.Clone(entries[0]).(*Entry)
	if !bytes.Equal(HashEntries(append([]*Entry{{Key: "z", Revision: 9, Tombstone: true}}, entries...)), want) {
		t.Fatal("a tombstone changed the hash")
	}
	for name, change := range map[string]func(*Entry){
		"key":      func(e *Entry) { e.Key += "x" },
		"revision": func(e *Entry) { e.Revision++ },
		"body":     func(e *Entry) { e.Body = append(e.Body, 'x') },
		"deleted":  func(e *Entry) { e.Tombstone = true },
	} {
		change(entries[0])
		if bytes.Equal(HashEntries(entries), want) {
			t.Errorf("%s did not change the hash", name)
		}
		entries[0] = proto.Clone(first).(*Entry)
	}
}

func TestHashStatuses(t *testing.T) {
	a := &InstanceStatus{InstanceId: "a", State: InstanceState_INSTANCE_STATE_READY, SpecHash: "h", ContainerId: "c", Port: 80, Restarts: 1}
	b := &InstanceStatus{InstanceId: "b"}
	want := HashStatuses([]*InstanceStatus{a, b})
	noted := proto.Clone(a).(*InstanceStatus)
	noted.Message, noted.LastLines = "note", []string{"line"}
	if !bytes.Equal(HashStatuses([]*InstanceStatus{b, noted}), want) {
		t.Fatal("order or a note changed the hash")
	}
	for name, change := range map[string]func(*InstanceStatus){
		"id":        func(s *InstanceStatus) { s.InstanceId = "x" },
		"state":     func(s *InstanceStatus) { s.State++ },
		"spec":      func(s *InstanceStatus) { s.SpecHash = "x" },
		"container": func(s *InstanceStatus) { s.ContainerId = "x" },
		"port":      func(s *InstanceStatus) { s.Port++ },
		"restarts":  func(s *InstanceStatus) { s.Restarts++ },
	} {
		changed := proto.Clone(a).(*InstanceStatus)
		change(changed)
		if bytes.Equal(HashStatuses([]*InstanceStatus{changed, b}), want) {
			t.Errorf("%s did not change the hash", name)
		}
	}
}
