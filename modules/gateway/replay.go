package gateway

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

// replayLimit is how much of a request body is kept, in bytes. A transport gathers up to 4 KiB of header and body
// before it writes the first byte; what is kept only has to cover that.
const replayLimit = 8 << 10

var errReplay = errors.New("the body was already sent in part")

// replay lets a transport begin a request again when nothing of it reached the wire: after a failed connection, or on
// a kept connection that the instance had closed. It remembers the first bytes that were taken from the client.
// It never closes the client's body: the reverse proxy does.
type replay struct {
	source io.Reader

	mu      sync.Mutex
	head    []byte // the beginning, while all that was read fits
	read    int64  // bytes taken from source
	ended   error  // what source ended with
	current *replayView
}

// newReplay returns nil for a request without a body; its methods take that.
func newReplay(source io.ReadCloser) *replay {
	if source == nil || source == http.NoBody {
		return nil
	}
	return &replay{source: source}
}

// attach gives r a body that starts at the beginning.
func (b *replay) attach(r *http.Request) error {
	if b == nil {
		return nil
	}
	var err error
	r.GetBody = b.again
	r.Body, err = b.again()
	return err
}

// again is http.Request.GetBody. The reader handed out before has ended.
func (b *replay) again() (io.ReadCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.read > int64(len(b.head)) {
		return nil, errReplay
	}
	b.current = &replayView{replay: b}
	return b.current, nil
}

// replayView is one reading of the body.
type replayView struct {
	replay *replay
	offset int64
}

func (v *replayView) Read(p []byte) (int, error) {
	b := v.replay
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.current != v:
		return 0, http.ErrBodyReadAfterClose
	case v.offset < int64(len(b.head)):
		n := copy(p, b.head[v.offset:])
		v.offset += int64(n)
		return n, nil
	case b.ended != nil:
		return 0, b.ended
	}
	n, err := b.source.Read(p)
	if b.read == int64(len(b.head)) && len(b.head)+n <= replayLimit {
		b.head = append(b.head, p[:n]...)
	}
	b.read += int64(n)
	v.offset += int64(n)
	b.ended = err
	return n, err
}

func (v *replayView) Close() error { return nil }
