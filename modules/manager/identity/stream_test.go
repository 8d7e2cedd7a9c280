package identity_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"pandu/modules/kit/fault"
	"pandu/modules/manager/identity"
)

func TestEventStream(t *testing.T) {
	h := settled(t)
	h.doors.RenewEvery(20 * time.Millisecond)
	door := identity.Door{ID: "live", Method: http.MethodGet, Path: "/live", Summary: "Live.", Tag: "t", Permission: identity.LogsRead}
	ended := make(chan struct{}, 1)
	h.doors.Raw(door, nil, "text/event-stream", func(c echo.Context, _ identity.Actor) error {
		return h.doors.Events(c, door, func(ctx context.Context, last string, send identity.Send) error {
			defer func() { ended <- struct{}{} }()
			if err := send(identity.Event{ID: "7", Name: "line", Data: "after " + last + "\nsecond"}); err != nil {
				return err
			}
			if last == "finish" {
				return nil
			}
			if last == "fail" {
				return fault.New(fault.NotFound, "gone", "It is gone.")
			}
			<-ctx.Done()
			return ctx.Err()
		})
	})
	server := httptest.NewServer(h.echo)
	defer server.Close()
	c := h.admin()
	open := func(last string) *http.Response {
		req := c.request(http.MethodGet, "/live", nil)
		req.RequestURI = ""
		req.URL.Host = strings.TrimPrefix(server.URL, "http://")
		req.Header.Set("Last-Event-ID", last)
		res, err := server.Client().Do(req)
		must(t, err)
		return res
	}
	read := func(res *http.Response) string {
		var b bytes.Buffer
		_, err := b.ReadFrom(res.Body)
		must(t, err)
		return b.String()
	}
	res := open("finish")
	if res.Header.Get("Content-Type") != "text/event-stream; charset=utf-8" || res.Header.Get("X-Accel-Buffering") != "no" {
		t.Fatalf("headers %v", res.Header)
	}
	if got := read(res); got != "retry: 2000\n\nid: 7\nevent: line\ndata: after finish\ndata: second\n\nevent: end\ndata: {}\n\n" {
		t.Fatalf("stream %q", got)
	}
	<-ended
	if got := read(open("fail")); !strings.Contains(got, `event: error`+"\n"+`data: {"code":"gone"`) {
		t.Fatalf("stream %q", got)
	}
	<-ended

	// The right is taken while the stream is open: it ends by itself.
	res = open("")
	h.exec("update identity.sessions set ended_at = now()")
	if got := read(res); strings.Contains(got, "event: end") || !strings.Contains(got, "id: 7") {
		t.Fatalf("stream %q", got)
	}
	<-ended
}
