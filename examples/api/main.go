// Command api is a small HTTP service to deploy: a list of harbours in memory, a health check and a clean shutdown.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"
)

type harbour struct {
	Name  string `json:"name"`
	Ships int    `json:"ships"`
}

// harbours is the whole state. It is gone when the service stops; a real one would use a database.
type harbours struct {
	mu   sync.Mutex
	list map[string]harbour
}

const maxHarbours = 1000

func (h *harbours) all(w http.ResponseWriter, _ *http.Request) {
	h.mu.Lock()
	out := make([]harbour, 0, len(h.list))
	for _, one := range h.list {
		out = append(out, one)
	}
	h.mu.Unlock()
	slices.SortFunc(out, func(a, b harbour) int { return cmp.Compare(a.Name, b.Name) })
	answer(w, http.StatusOK, out)
}

func (h *harbours) put(w http.ResponseWriter, r *http.Request) {
	one := harbour{}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&one); err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"error": "the body is no harbour"})
		return
	}
	one.Name = r.PathValue("name")
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.list[one.Name]; !known && len(h.list) == maxHarbours {
		answer(w, http.StatusInsufficientStorage, map[string]string{"error": "the coast is full"})
		return
	}
	h.list[one.Name] = one
	answer(w, http.StatusOK, one)
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		slog.Warn("answer was not sent", "error", err)
	}
}

func handler() http.Handler {
	h := &harbours{list: map[string]harbour{"tanjung-priok": {"tanjung-priok", 12}, "rotterdam": {"rotterdam", 31}}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		host, _ := os.Hostname() // empty is fine
		answer(w, http.StatusOK, map[string]string{"service": "api", "instance": host, "version": os.Getenv("VERSION")})
	})
	mux.HandleFunc("GET /harbours", h.all)
	mux.HandleFunc("PUT /harbours/{name}", h.put)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return mux
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	port := cmp.Or(os.Getenv("PORT"), "8080")
	server := &http.Server{Addr: ":" + port, Handler: handler(), ReadHeaderTimeout: 5 * time.Second}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.Background(), 8*time.Second)
		defer cancel()
		if err := server.Shutdown(drain); err != nil {
			slog.Warn("some answers were cut off", "error", err)
		}
	}()
	slog.Info("listening", "port", port)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		slog.Error("cannot serve", "error", err)
		os.Exit(1)
	}
	<-drained
}
