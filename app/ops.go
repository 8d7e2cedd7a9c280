package app

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/pprof"
	"runtime"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Ops is what operators see of this process: its health, its metrics, and what it holds in memory.
type Ops struct {
	// Metrics is the registry of the process. Names begin with pandu_.
	Metrics *prometheus.Registry

	p         *Process
	mu        sync.Mutex
	providers map[string]func() any
}

func newOps(p *Process) *Ops {
	o := &Ops{Metrics: prometheus.NewRegistry(), p: p, providers: map[string]func() any{}}
	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "pandu_build_info", Help: "Always 1; the labels say which binary this is.",
		ConstLabels: prometheus.Labels{"version": p.version, "go_version": runtime.Version()}})
	info.Set(1)
	o.Metrics.MustRegister(info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return o
}

// Show adds a part to /state. provider is called on every request and must return something that marshals to JSON,
// bounded, without secrets, and made under its own lock.
func (o *Ops) Show(name string, provider func() any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.providers[name] = provider
}

// Handler is /livez, /readyz, /metrics, /state, /config and /debug/pprof. There is no login.
func (o *Ops) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, o.p.Ready()) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{Registry: o.Metrics}))
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, o.state()) })
	mux.HandleFunc("GET /config", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, o.p.cfg.List(true)) })
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	return mux
}

func (o *Ops) state() map[string]any {
	o.mu.Lock()
	providers := maps.Clone(o.providers)
	o.mu.Unlock()
	state := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(providers)) {
		state[name] = providers[name]()
	}
	return state
}

func answer(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(err.Error() + "\n"))
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // the reader went away
}

// newOpsServer is the first to start and the last to stop, so that a slow start and a slow stop can be looked at.
func (p *Process) newOpsServer() (Service, error) {
	p.ops.Show("process", func() any { return p.describe() })
	p.opsServer = newServer("ops server", p.cfg.Ops.Listen, p.ops.Handler(), p.log)
	return p.opsServer, nil
}

// describe is this process as /state shows it.
func (p *Process) describe() any {
	names := []string{}
	for _, s := range p.group.services() {
		names = append(names, s.Name())
	}
	return map[string]any{"version": p.version, "mode": p.mode.String(), "services": names, "goroutines": runtime.NumGoroutine()}
}
