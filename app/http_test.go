package app

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
)

func answerOf(t *testing.T, e *echo.Echo, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w
}

func TestForwardedAddressCountsOnlyFromListedProxies(t *testing.T) {
	for _, c := range []struct{ proxies, peer, forwarded, want string }{
		{"", "203.0.113.9:1", "198.51.100.1", "203.0.113.9"},
		{"", "127.0.0.1:1", "198.51.100.1", "127.0.0.1"},
		{"", "10.0.0.1:1", "198.51.100.1", "10.0.0.1"},
		{"10.0.0.0/8", "10.0.0.1:1", "198.51.100.1", "198.51.100.1"},
		{"10.0.0.0/8", "203.0.113.9:1", "198.51.100.1", "203.0.113.9"},
		{"10.0.0.0/8", "10.0.0.1:1", "192.0.2.66, 198.51.100.1", "198.51.100.1"},
		{"10.0.0.0/8", "127.0.0.1:1", "198.51.100.1", "127.0.0.1"},
		{"2001:db8::/32", "[2001:db8::5]:1", "198.51.100.1", "198.51.100.1"},
	} {
		e := NewPanel(settings(t, "PANDU_PANEL_TRUSTED_PROXIES="+c.proxies), quiet)
		e.GET("/ip", func(c echo.Context) error { return c.String(200, c.RealIP()) })
		r := httptest.NewRequest(http.MethodGet, "/ip", nil)
		r.RemoteAddr = c.peer
		r.Header.Set("X-Forwarded-For", c.forwarded)
		r.Header.Set("X-Real-Ip", "192.0.2.77")
		if got := answerOf(t, e, r).Body.String(); got != c.want {
			t.Errorf("proxies %q, peer %s: client is %s, want %s", c.proxies, c.peer, got, c.want)
		}
	}
}

func TestEveryAnswerCarriesItsHeaders(t *testing.T) {
	plain := NewPanel(settings(t), quiet)
	r := httptest.NewRequest(http.MethodGet, "/healthz", nil)
	r.Header.Set("X-Request-Id", "forged\nline")
	for _, path := range []string{"/healthz", "/missing"} {
		r.URL.Path = path
		h := answerOf(t, plain, r).Header()
		if !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", path, h)
		}
		if id := h.Get("X-Request-Id"); len(id) != 36 {
			t.Errorf("%s: request id %q", path, id)
		}
		if h.Get("Strict-Transport-Security") != "" {
			t.Errorf("%s: a panel without https asks for https", path)
		}
	}
	secure := NewPanel(settings(t, "PANDU_PUBLIC_URL=https://panel.example.com"), quiet)
	if answerOf(t, secure, httptest.NewRequest(http.MethodGet, "/healthz", nil)).Header().Get("Strict-Transport-Security") == "" {
		t.Error("a panel with https does not ask for it")
	}
}

func TestPanicEndsOneRequestOnly(t *testing.T) {
	e := NewPanel(settings(t), quiet)
	e.GET("/panic", func(echo.Context) error { panic("secret detail") })
	w := answerOf(t, e, httptest.NewRequest(http.MethodGet, "/panic", nil))
	if w.Code != 500 || strings.Contains(w.Body.String(), "secret detail") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestBodyIsBounded(t *testing.T) {
	e := NewPanel(settings(t), quiet)
	e.POST("/read", func(c echo.Context) error {
		_, err := io.Copy(io.Discard, c.Request().Body)
		if err == nil {
			return c.NoContent(204)
		}
		return c.NoContent(413)
	})
	r := httptest.NewRequest(http.MethodPost, "/read", io.LimitReader(zeros{}, maxBody+1))
	if w := answerOf(t, e, r); w.Code != 413 {
		t.Errorf("a body of 512 MiB and a byte got %d", w.Code)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestDashboardAnswersWhereNoDoorDoes(t *testing.T) {
	e := NewPanel(settings(t), quiet)
	mountUI(e, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("page " + r.URL.Path)) }))
	for path, want := range map[string]string{"/": "page /", "/projects/a": "page /projects/a", "/healthz": "ok\n"} {
		if got := answerOf(t, e, httptest.NewRequest(http.MethodGet, path, nil)).Body.String(); got != want {
			t.Errorf("%s: %q", path, got)
		}
	}
}
