package gatewayctl

import (
	"google.golang.org/protobuf/proto"

	"pandu/modules/agent/agentv1"
)

// write brings what is new to disk. Changes that came while the last ones were written are written once.
func (c *Control) write() error {
	c.mu.Lock()
	routes, book := c.routes, c.book
	c.routes, c.book = nil, nil
	c.mu.Unlock()
	err := c.writeBook(book)
	if err == nil {
		// Addresses first: a route must not become known before the instances behind it.
		err = c.writeRoutes(routes)
	}
	if err != nil {
		c.giveBack(routes, book)
	}
	return err
}

func (c *Control) writeBook(book *agentv1.AddressBook) error {
	if book == nil {
		return nil
	}
	held, err := agentv1.ReadAddressBook(c.deps.Dir)
	if err == nil {
		book.Version = held.GetVersion()
		if proto.Equal(held, book) {
			return nil
		}
	}
	book.Version++ // a file that is missing or damaged counts from one
	if err := agentv1.WriteAddressBook(c.deps.Dir, book); err != nil {
		return err
	}
	c.written(nil)
	return nil
}

func (c *Control) writeRoutes(table *agentv1.RouteTable) error {
	if table == nil {
		return nil
	}
	if err := agentv1.WriteRouteTable(c.deps.Dir, table); err != nil {
		return err
	}
	c.written(&agentv1.RouteTable{Epoch: table.GetEpoch(), Revision: table.GetRevision()})
	return nil
}

func (c *Control) written(ours *agentv1.RouteTable) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unsaid = true
	if ours != nil {
		c.ours = ours
	}
}

// giveBack keeps what could not be written for the next round, unless something newer has come.
func (c *Control) giveBack(routes *agentv1.RouteTable, book *agentv1.AddressBook) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.routes == nil {
		c.routes = routes
	}
	if c.book == nil {
		c.book = book
	}
}
