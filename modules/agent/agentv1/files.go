package agentv1

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"pandu/modules/kit/fault"
)

// The names in the gateway's directory.
const (
	RouteTableFile    = "routes.pb"
	AddressBookFile   = "addresses.pb"
	GatewaySocketFile = "gateway.sock"
)

// maxFile bounds what is read into memory, in bytes. 100,000 routes take about 15 MB.
const maxFile = 256 << 20

// ErrCorrupt is wrapped by the Read functions when a file's bytes are not what a Write function wrote.
var ErrCorrupt = fault.New(fault.Invalid, "file_corrupt", "The file is damaged.")

// WriteRouteTable replaces dir/routes.pb; after a crash at any moment the file is the old or the new one, whole.
// The hash is computed here; table itself is not changed.
func WriteRouteTable(dir string, table *RouteTable) error {
	return write(filepath.Join(dir, RouteTableFile), table)
}

// ReadRouteTable reads dir/routes.pb. The error wraps fs.ErrNotExist when there is none, ErrCorrupt when its hash does
// not match. It judges nothing else.
func ReadRouteTable(dir string) (*RouteTable, error) {
	table := &RouteTable{}
	return table, read(filepath.Join(dir, RouteTableFile), table)
}

// WriteAddressBook is WriteRouteTable for dir/addresses.pb.
func WriteAddressBook(dir string, book *AddressBook) error {
	return write(filepath.Join(dir, AddressBookFile), book)
}

// ReadAddressBook is ReadRouteTable for dir/addresses.pb.
func ReadAddressBook(dir string) (*AddressBook, error) {
	return ReadAddressBookAt(filepath.Join(dir, AddressBookFile))
}

// ReadAddressBookAt is ReadAddressBook of the file at path.
func ReadAddressBookAt(path string) (*AddressBook, error) {
	book := &AddressBook{}
	return book, read(path, book)
}

func write(path string, m proto.Message) error {
	body, err := marshalBare(m)
	if err != nil {
		return fmt.Errorf("encode %s: %w", filepath.Base(path), err)
	}
	if err := replace(path, seal(body)); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}

func read(path string, m proto.Message) error {
	file, err := readSealed(path)
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(file, m); err != nil {
		return fmt.Errorf("decode %s: %w", filepath.Base(path), errors.Join(ErrCorrupt, err))
	}
	return nil
}

func readSealed(path string) ([]byte, error) {
	file, err := readBounded(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	if !sealed(file) {
		return nil, fmt.Errorf("read %s: hash does not match: %w", filepath.Base(path), ErrCorrupt)
	}
	return file, nil
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the directory is a setting of the operator, the names are constants
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("larger than %d bytes: %w", maxFile, ErrCorrupt)
	}
	b := make([]byte, info.Size())
	_, err = io.ReadFull(f, b)
	return b, err
}

// replace writes beside path, syncs, renames and syncs the directory, so that the rename itself survives a power cut.
func replace(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	if err := errors.Join(fill(f, b), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

func fill(f *os.File, b []byte) error {
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Sync()
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // as above
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
