package gateway

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"pandu/modules/agent/agentv1"
	"pandu/modules/kit/fault"
)

// served is put before the name of a file to name the copy of what was served last.
const served = "served-"

// Apply reads the files again and returns once what they say is served, sockets included. Both files are judged on
// their own: a bad one is refused and reported, the other one is taken over. The error is a fault.Conflict when the
// route table is older than the one served, fault.Invalid when a file is damaged or says something impossible.
// It may be called at any time and from several goroutines.
func (g *Gateway) Apply() (*agentv1.GatewayStatus, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ports == nil || g.ended {
		return nil, fault.New(fault.Unavailable, "gateway_not_serving", "The gateway is starting or stopping.")
	}
	err := errors.Join(
		g.take(agentv1.AddressBookFile, g.loadBook),
		g.take(agentv1.RouteTableFile, g.loadTable))
	g.reconcile()
	if err != nil {
		g.logger.Warn("gateway files refused", "error", err)
		return nil, err
	}
	return g.status(), nil
}

// restore is the Apply of a start. Where a file is refused, what was served before the restart is served again.
func (g *Gateway) restore() {
	for _, file := range []struct {
		name string
		load func(path string) error
	}{{agentv1.AddressBookFile, g.loadBook}, {agentv1.RouteTableFile, g.loadTable}} {
		last := filepath.Join(g.options.Dir, served+file.name)
		if err := file.load(last); err != nil && !errors.Is(err, fs.ErrNotExist) {
			g.logger.Warn("last served file refused", "file", file.name, "error", err)
		}
		if err := g.take(file.name, file.load); err != nil {
			g.logger.Warn("gateway file refused", "file", file.name, "error", err)
		}
	}
}

// take loads a file, unless it is the one that is served, and keeps it as the one served last. The agent may replace the
// file at any moment, so first a name of our own is linked to it: what is kept is what was read.
func (g *Gateway) take(name string, load func(path string) error) error {
	path := filepath.Join(g.options.Dir, name)
	held := filepath.Join(g.options.Dir, served+name+".new")
	linked := errors.Join(removeIfThere(held), os.Link(path, held)) == nil
	if linked {
		path = held
	}
	err := g.load(name, path, load)
	if linked {
		g.keep(name, held, err == nil)
	}
	if delete(g.refused, name); err != nil {
		g.refused[name] = err
	}
	return err
}

func (g *Gateway) load(name, path string, load func(path string) error) error {
	info, err := os.Stat(path)
	if err == nil && same(info, g.loaded[name]) {
		return nil
	}
	if err == nil {
		err = load(path)
	}
	switch {
	case err == nil:
		g.loaded[name] = info
	case errors.Is(err, fs.ErrNotExist):
		return g.missing(name)
	case errors.Is(err, agentv1.ErrCorrupt):
		return invalidf("%s is damaged.", name)
	}
	return err
}

// same can trust the file's identity: as long as we hold a name of it, no other file gets it.
func same(a, b os.FileInfo) bool {
	return b != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// missing is no error as long as nothing was ever served: a new server has no files yet.
func (g *Gateway) missing(name string) error {
	if name == agentv1.RouteTableFile && g.table.Load().epoch == nil || name == agentv1.AddressBookFile && g.book == 0 {
		return nil
	}
	return refusedf("%s is gone; what was in it is still served.", name)
}

func (g *Gateway) keep(name, held string, good bool) {
	var err error
	if good {
		err = os.Rename(held, filepath.Join(g.options.Dir, served+name))
	} else {
		err = os.Remove(held)
	}
	// Renaming one name of a file to another name of the same file does nothing and leaves both.
	if err = errors.Join(err, removeIfThere(held)); err != nil {
		g.logger.Warn("served file not kept", "file", name, "error", err)
	}
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (g *Gateway) loadTable(path string) error {
	next, gone, err := g.compiler.next(g.table.Load(), func(each func([]byte) error) (*agentv1.RouteTable, error) {
		return agentv1.ScanRouteTable(path, each)
	})
	if err != nil {
		return err
	}
	g.table.Store(next)
	for _, s := range gone { // after the swap: no new request can find them any more
		g.registry.release(s.backends)
	}
	g.registry.sweep()
	g.changes.announce()
	return nil
}

func (g *Gateway) loadBook(path string) error {
	book, err := agentv1.ReadAddressBookAt(path)
	if err != nil {
		return err
	}
	addresses, err := readBook(book)
	if err != nil {
		return err
	}
	networks, err := readNetworks(book)
	if err != nil {
		return err
	}
	g.registry.relocate(addresses)
	g.names.wanted = networks
	g.book = book.GetVersion()
	g.changes.announce()
	return nil
}

// Status says what is served and what is wrong. Safe to call at any time.
func (g *Gateway) Status() *agentv1.GatewayStatus {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.status()
}

func (g *Gateway) status() *agentv1.GatewayStatus {
	t := g.table.Load()
	s := &agentv1.GatewayStatus{
		Pid: uint32(os.Getpid()), Version: g.options.Version, Epoch: t.epoch, Revision: t.revision, //nolint:gosec // a pid
		Addresses: g.book, InFlight: g.registry.inFlight(), Routes: uint32(t.routes), //nolint:gosec // bounded by the file
		Problems: g.access.problems(),
	}
	for _, err := range g.refused {
		s.Problems = append(s.Problems, fault.From(err).Message)
	}
	if g.ports != nil {
		s.Ports = g.ports.listening()
		s.Problems = slices.Concat(s.Problems, g.ports.problems(), g.names.problems())
	}
	slices.Sort(s.Problems)
	return s
}
