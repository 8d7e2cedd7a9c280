package app

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"pandu/config"
	"pandu/modules/kit/fault"
)

// maxBody bounds every request's body, in bytes. Doors bound theirs lower: 1 MiB, or what an upload may have.
const maxBody = 512 << 20

// contentPolicy lets the dashboard load from itself only and nobody frame it. Styles may be inline: the component
// library sets them on elements.
const contentPolicy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// NewPanel is the HTTP server's router with everything that holds for every door: who asked, how much they may send,
// what a browser may do with the answer, and that a panic ends one request only.
func NewPanel(cfg *config.Config, log *slog.Logger) *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.IPExtractor = clientIP(cfg.Panel)
	e.Use(requestID, accessLog(log), recoverPanic(log), securityHeaders(cfg), limitBody)
	e.GET("/healthz", func(c echo.Context) error { return c.String(http.StatusOK, "ok\n") })
	return e
}

// clientIP believes X-Forwarded-For from the listed proxies only; Echo's default would believe anybody.
func clientIP(cfg config.Panel) echo.IPExtractor {
	if len(cfg.TrustedProxies) == 0 {
		return echo.ExtractIPDirect()
	}
	options := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, p := range cfg.TrustedProxies {
		options = append(options, echo.TrustIPRange(prefixNet(p)))
	}
	return echo.ExtractIPFromXFFHeader(options...)
}

func prefixNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Masked().Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// requestID gives every request an id of ours; one that a client sends is not believed, for it ends in our log. Doors of
// the API replace it by theirs.
func requestID(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Response().Header().Set(echo.HeaderXRequestID, uuid.Must(uuid.NewV7()).String())
		return next(c)
	}
}

func accessLog(log *slog.Logger) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if !log.Enabled(c.Request().Context(), slog.LevelDebug) {
				return next(c)
			}
			began := time.Now()
			err := next(c)
			if err != nil {
				c.Error(err)
			}
			// The path without its query: that is where people put tokens.
			log.Debug("request", "method", c.Request().Method, "path", c.Request().URL.Path, "status", c.Response().Status,
				"bytes", c.Response().Size, "duration", time.Since(began), "client", c.RealIP(), "request_id", c.Response().Header().Get(echo.HeaderXRequestID))
			return nil
		}
	}
}

func recoverPanic(log *slog.Logger) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) (err error) {
			defer func() {
				r := recover()
				if r == nil {
					return
				}
				if r == http.ErrAbortHandler { //nolint:errorlint // the value itself is the signal
					panic(r)
				}
				log.Error("request panicked", "panic", fmt.Sprint(r), "stack", string(debug.Stack()), "request_id", c.Response().Header().Get(echo.HeaderXRequestID))
				err = fault.From(errors.New("panic"))
			}()
			return next(c)
		}
	}
}

func securityHeaders(cfg *config.Config) echo.MiddlewareFunc {
	https := strings.HasPrefix(cfg.PublicURL, "https://")
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			h := c.Response().Header()
			h.Set("Content-Security-Policy", contentPolicy)
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("X-Frame-Options", "DENY")
			h.Set("Referrer-Policy", "same-origin")
			h.Set("Cross-Origin-Opener-Policy", "same-origin")
			if https {
				h.Set("Strict-Transport-Security", "max-age=31536000")
			}
			return next(c)
		}
	}
}

// limitBody is the last bound, for doors that forgot theirs.
func limitBody(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Request().Body = http.MaxBytesReader(c.Response(), c.Request().Body, maxBody)
		return next(c)
	}
}

// mountUI serves the dashboard for whatever no door answers.
func mountUI(e *echo.Echo, ui http.Handler) {
	if ui == nil {
		return
	}
	h := echo.WrapHandler(ui)
	e.GET("/", h)
	e.GET("/*", h)
}

// newPanel is the last to start and the first to stop: what it answers needs everything else.
func (p *Process) newPanel() (Service, error) {
	if p.panel == nil {
		p.panel = NewPanel(p.cfg, p.log)
	}
	p.panel.Use(p.timed)
	if _, err := p.declare(p.panel); err != nil {
		return nil, err
	}
	mountUI(p.panel, p.ui)
	p.panelServer = newServer("panel", p.cfg.Panel.Listen, p.panel, p.log)
	return p.panelServer, nil
}
