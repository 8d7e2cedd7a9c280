package registry

import (
	"net/http"
	"time"
)

// How often and how long after a failed try a safe request is made again: long enough for a manager that is replaced by
// another one, short enough that Docker, which tries again itself, does not wait for nothing.
var pauses = [...]time.Duration{100 * time.Millisecond, 400 * time.Millisecond, time.Second}

// retrying makes requests without a body and without an effect again when the connection failed. Everything else is
// tried once: a part of a blob may have arrived.
type retrying struct{ next http.RoundTripper }

func (t retrying) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := t.next.RoundTrip(r)
	if r.Method != http.MethodGet && r.Method != http.MethodHead || r.Body != nil && r.Body != http.NoBody {
		return answer, err
	}
	for _, pause := range pauses {
		if err == nil || r.Context().Err() != nil {
			break
		}
		timer := time.NewTimer(pause)
		select {
		case <-r.Context().Done():
			timer.Stop()
			return nil, r.Context().Err()
		case <-timer.C:
		}
		answer, err = t.next.RoundTrip(r)
	}
	return answer, err
}
