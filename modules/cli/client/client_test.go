package client

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// peer is a panel of which each test says how it answers; it counts, and the client waits for nothing.
type peer struct {
	*Client
	requests []*http.Request
	bodies   []string
	waits    []time.Duration
}

func newPeer(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request)) *peer {
	t.Helper()
	p := &peer{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		p.requests, p.bodies = append(p.requests, r), append(p.bodies, string(body))
		answer(len(p.requests), w, r)
	}))
	t.Cleanup(server.Close)
	p.Client = dial(t, server.URL, &p.waits)
	return p
}

func dial(t *testing.T, url string, waits *[]time.Duration) *Client {
	t.Helper()
	c, err := New(Options{URL: url, Token: "secret", Organization: "acme", UserAgent: "pandu/test", Wait: func(_ context.Context, d time.Duration) error {
		*waits = append(*waits, d)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func problem(w http.ResponseWriter, status int, code string, headers ...string) {
	w.Header().Set("Content-Type", "application/problem+json")
	for i := 0; i+1 < len(headers); i += 2 {
		w.Header().Set(headers[i], headers[i+1])
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(Problem{Code: code, Detail: "It says " + code + ".", Status: int64(status)})
}

func TestWhatIsTriedAgain(t *testing.T) {
	get := func(c *Client) error { _, err := c.GetProject(t.Context(), "hello"); return err }
	create := func(c *Client) error {
		_, err := c.CreateProject(t.Context(), CreateProjectRequest{Name: "hello"})
		return err
	}
	change := func(c *Client) error {
		_, err := c.UpdateProject(t.Context(), "hello", UpdateProjectRequest{Name: "x"})
		return err
	}
	cases := []struct {
		name     string
		call     func(*Client) error
		status   int
		headers  []string
		attempts int
	}{
		{"a read while the gateway is bad", get, 502, nil, 5},
		{"a read while the panel is away", get, 503, nil, 5},
		{"a read that took too long", get, 504, nil, 5},
		{"a read that fails", get, 500, nil, 1},
		{"a read of nothing", get, 404, nil, 1},
		{"a creation with its key", create, 502, nil, 5},
		{"a creation that is refused", create, 409, nil, 1},
		{"a change that may have been made", change, 502, nil, 1},
		{"a change that was shed", change, 503, nil, 5},
		{"a change too many, told when", change, 429, []string{"Retry-After", "3"}, 5},
		{"a change too many, not told when", change, 429, nil, 1},
		{"a wait for too long", get, 503, []string{"Retry-After", "600"}, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t, func(_ int, w http.ResponseWriter, _ *http.Request) { problem(w, c.status, "no", c.headers...) })
			var refused *ProblemError
			if err := c.call(p.Client); !errors.As(err, &refused) || refused.Status != int64(c.status) {
				t.Errorf("error %v", err)
			}
			if len(p.requests) != c.attempts || len(p.waits) != c.attempts-1 {
				t.Errorf("%d attempts, waits %v", len(p.requests), p.waits)
			}
		})
	}
}

func TestWaitsDoubleOrAreWhatThePanelSays(t *testing.T) {
	p := newPeer(t, func(_ int, w http.ResponseWriter, _ *http.Request) { problem(w, 503, "away") })
	_, _ = p.GetMe(t.Context())
	for i, d := range p.waits {
		middle := time.Second << i
		if d < middle*3/4 || d > middle*5/4 {
			t.Errorf("wait %d is %s", i+1, d)
		}
	}
	p = newPeer(t, func(_ int, w http.ResponseWriter, _ *http.Request) { problem(w, 503, "away", "Retry-After", "7") })
	_, _ = p.GetMe(t.Context())
	if !slices.Equal(p.waits, []time.Duration{7 * time.Second, 7 * time.Second, 7 * time.Second, 7 * time.Second}) {
		t.Errorf("waits %v", p.waits)
	}
}

func TestEveryAttemptHasTheSameKeyAndBody(t *testing.T) {
	p := newPeer(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		switch n {
		case 1:
			problem(w, 502, "away")
		case 2:
			problem(w, 409, "idempotency_running", "Retry-After", "1")
		default:
			_, _ = io.WriteString(w, `{"slug":"hello"}`)
		}
	})
	made, err := p.CreateProject(t.Context(), CreateProjectRequest{Name: "hello"})
	if err != nil || made.Slug != "hello" || len(p.requests) != 3 {
		t.Fatalf("%+v, %v after %d attempts", made, err, len(p.requests))
	}
	for i, r := range p.requests {
		if key := r.Header.Get("Idempotency-Key"); key == "" || key != p.requests[0].Header.Get("Idempotency-Key") || p.bodies[i] != `{"name":"hello"}` {
			t.Errorf("attempt %d: key %q, body %q", i+1, key, p.bodies[i])
		}
		if r.Header.Get("Authorization") != "Bearer secret" || r.Header.Get("Pandu-Organization") != "acme" || r.URL.Path != "/api/v1/projects" {
			t.Errorf("attempt %d: %s %v", i+1, r.URL, r.Header)
		}
	}
	_, _ = p.CreateProject(t.Context(), CreateProjectRequest{Name: "hello"})
	if p.requests[3].Header.Get("Idempotency-Key") == p.requests[0].Header.Get("Idempotency-Key") {
		t.Error("two calls share a key")
	}
}

func TestNobodyListens(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	var waits []time.Duration
	c := dial(t, server.URL, &waits)
	var gone *UnreachableError
	if _, err := c.UpdateProject(t.Context(), "a", UpdateProjectRequest{Name: "b"}); !errors.As(err, &gone) || len(waits) != 4 {
		t.Errorf("a change that never arrived was not tried again: %v, %v", err, waits)
	} else if text := gone.Error(); strings.Contains(text, "Patch") || !strings.Contains(text, "refused") {
		t.Errorf("it says %s", text)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.GetMe(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestRedirectsAreToldAndNotFollowed(t *testing.T) {
	var stolen bool
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { stolen = true }))
	defer other.Close()
	p := newPeer(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	})
	if _, err := p.GetMe(t.Context()); err == nil || !strings.Contains(err.Error(), other.URL) || stolen {
		t.Errorf("%v; followed: %v", err, stolen)
	}
}

func TestAnswersOfSomethingElse(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter){
		"a page":          func(w http.ResponseWriter) { _, _ = io.WriteString(w, "<html>") },
		"an error's page": func(w http.ResponseWriter) { w.WriteHeader(404); _, _ = io.WriteString(w, "<html>") },
		"a bad problem": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(400)
			_, _ = io.WriteString(w, "{")
		},
		"too much": func(w http.ResponseWriter) { _, _ = io.WriteString(w, strings.Repeat(" ", mostAnswer+1)) },
	} {
		p := newPeer(t, func(_ int, w http.ResponseWriter, _ *http.Request) { answer(w) })
		if _, err := p.GetMe(t.Context()); err == nil || strings.Contains(err.Error(), "<html>") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStreamGoesOnWhereItBroke(t *testing.T) {
	p := newPeer(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		switch n {
		case 1:
			_, _ = io.WriteString(w, "retry: 2000\n\n: ping\n\nid: 1\nevent: line\ndata: a\ndata: b\n\nid: 2\nevent: line\ndata: half")
		case 2:
			problem(w, 503, "away")
		default:
			_, _ = io.WriteString(w, "id: 2\r\nevent: line\r\ndata:c\r\n\r\nevent: end\ndata: {}\n\n")
		}
	})
	var got []string
	err := p.ReadBuildLog("d1", ReadBuildLogQuery{Follow: new(true)}).Each(t.Context(), func(e Event) error {
		got = append(got, e.ID+" "+e.Name+" "+string(e.Data))
		return nil
	})
	if err != nil || !slices.Equal(got, []string{"1 line a\nb", "2 line c"}) || len(p.requests) != 3 {
		t.Fatalf("%q, %v, %d connections", got, err, len(p.requests))
	}
	if first, last := p.requests[0].Header.Get("Last-Event-ID"), p.requests[2].Header.Get("Last-Event-ID"); first != "" || last != "1" {
		t.Errorf("began at %q and went on after %q", first, last)
	}
	if q := p.requests[0].URL.RawQuery; q != "follow=true" {
		t.Errorf("asked for %s", q)
	}
}

func TestStreamEnds(t *testing.T) {
	stop := errors.New("enough")
	cases := []struct {
		name        string
		text        string
		reader      error
		says        string
		connections int
	}{
		{"by the panel's will", "event: error\ndata: {\"code\":\"gone\",\"detail\":\"The log is gone.\"}\n\n", nil, "The log is gone.", 1},
		{"by its reader", "event: line\ndata: 1\n\n", stop, "enough", 1},
		{"when it breaks eight times in a row", "event: li", nil, "broke off", 8},
	}
	for _, c := range cases {
		p := newPeer(t, func(_ int, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, c.text) })
		err := p.WatchChanges().Each(t.Context(), func(Event) error { return c.reader })
		if err == nil || !strings.Contains(err.Error(), c.says) || len(p.requests) != c.connections {
			t.Errorf("%s: %v after %d connections", c.name, err, len(p.requests))
		}
	}
}

func TestUpload(t *testing.T) {
	const text = "PK and so on"
	sum := sha256.Sum256([]byte(text))
	p := newPeer(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			problem(w, 503, "away")
			return
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"id":"u1"}`)
	})
	var sent []int64
	u, err := p.CreateUpload(t.Context(), "a b", Archive{Body: strings.NewReader(text), Size: int64(len(text)), Filename: "ä b.zip", SHA256: hex.EncodeToString(sum[:])},
		func(n int64) { sent = append(sent, n) })
	if err != nil || u.ID != "u1" || len(sent) == 0 || sent[len(sent)-1] != int64(len(text)) {
		t.Fatalf("%+v, %v, %v", u, err, sent)
	}
	r := p.requests[1]
	if p.bodies[1] != text || r.ContentLength != int64(len(text)) || r.URL.EscapedPath() != "/api/v1/projects/a%20b/uploads" || r.URL.Query().Get("filename") != "ä b.zip" {
		t.Errorf("%s %q", r.URL, p.bodies[1])
	}
	if r.Header.Get("Content-SHA256") != fmt.Sprintf("%x", sum) {
		t.Errorf("hash %s", r.Header.Get("Content-SHA256"))
	}
}

func TestParseURL(t *testing.T) {
	for text, want := range map[string]string{
		"https://panel.example.com": "https://panel.example.com", "panel.example.com": "https://panel.example.com", "localhost:8080": "http://localhost:8080",
		"http://10.0.0.1:8080/": "http://10.0.0.1:8080", "https://a/sub/api/v1": "https://a/sub", " https://a ": "https://a",
		"": "", "ftp://a": "", "https://": "", "https://u:p@a": "", "https://a?x=1": "", "https://a#b": "", "::": "", "file:///etc/passwd": "",
	} {
		u, err := ParseURL(text)
		if (err != nil) != (want == "") || err == nil && u.String() != want {
			t.Errorf("%q is %v, %v", text, u, err)
		}
		if err != nil && strings.Contains(err.Error(), ":p@") {
			t.Errorf("the error shows a password: %v", err)
		}
	}
}

func TestSegmentsStayInTheirPlace(t *testing.T) {
	for value, want := range map[string]string{"a": "a", "a/b": "a%2Fb", "..": "%2E%2E", ".": "%2E", "a?b#c": "a%3Fb%23c", "": ""} {
		if got := segment(value); got != want {
			t.Errorf("%q is %q", value, got)
		}
	}
}

func TestAllReadsEveryPageAndEnds(t *testing.T) {
	list, err := All(func(cursor string) ([]int, string, error) {
		return []int{len(cursor)}, map[string]string{"": "a", "a": "bb"}[cursor], nil
	})
	if err != nil || !slices.Equal(list, []int{0, 1, 2}) {
		t.Errorf("%v, %v", list, err)
	}
	calls := 0
	if _, err = All(func(string) ([]int, string, error) { calls++; return nil, fmt.Sprint(calls), nil }); err != nil || calls != mostPages {
		t.Errorf("%d calls, %v", calls, err)
	}
}

func FuzzReadEvent(f *testing.F) {
	f.Add("id: 1\nevent: line\ndata: x\n\n")
	f.Add(": ping\n\ndata:\ndata\n\nevent\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		r := bufio.NewReader(strings.NewReader(text))
		for n := 0; ; n++ {
			e, err := readEvent(r, func() {})
			if err != nil {
				return
			}
			if n > len(text) || strings.ContainsAny(e.ID+e.Name, "\n") || len(e.Data) > len(text) {
				t.Fatalf("event %d: %+v", n, e)
			}
		}
	})
}
