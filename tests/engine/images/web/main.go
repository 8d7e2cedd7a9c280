// Command web is the server that tests deploy. Its environment says how it behaves:
//
//	PORT           port it listens on (8080)
//	PORTS          several ports instead, comma separated
//	LISTEN         address it listens on ("" is every address)
//	VERSION        text answered on every path ("ok")
//	START_DELAY    duration before it listens
//	NEVER_LISTEN   any value: it runs and never listens
//	EXIT_CODE      it ends at once with this code (after START_DELAY)
//	EXIT_AFTER     with EXIT_CODE: it serves this long first
//	FAIL_AFTER     number of requests after which every answer is 500
//	SLOW           duration each request takes
//	IGNORE_TERM    any value: SIGTERM does nothing
//	LOG_LINES      number of lines it prints at the start
//	MEMORY         bytes it allocates and touches before it listens
//
// Paths: /env?name=N answers a variable, /hostname its host name, /lookup?name=N the addresses of a name,
// /dial?address=A tries TCP, /crash ends it with 3, /fail and /heal switch its answers to 500 and back, /file?path=P
// reads a file and writes the body of a POST. Arguments instead of serving: "check URL" gets a URL and ends with 0 or 1,
// "exit N" ends with N, "touch PATH" appends a line to a file and ends with 0.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 {
		os.Exit(command(os.Args[1:]))
	}
	os.Exit(serve())
}

func command(argv []string) int {
	switch {
	case argv[0] == "exit" && len(argv) == 2:
		n, _ := strconv.Atoi(argv[1])
		fmt.Println("ending with", n)
		return n
	case argv[0] == "check" && len(argv) == 2:
		r, err := http.Get(argv[1]) //nolint:gosec,noctx // a health check inside a test container
		if err != nil || r.StatusCode >= http.StatusBadRequest {
			fmt.Println("check failed", err)
			return 1
		}
		return 0
	case argv[0] == "touch" && len(argv) == 2:
		f, err := os.OpenFile(argv[1], os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		_, _ = fmt.Fprintln(f, "ran")
		_ = f.Close()
		return 0
	}
	fmt.Println("unknown command", argv)
	return 2
}

func serve() int {
	for i := range number("LOG_LINES", 0) {
		fmt.Println("line", i)
	}
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM, syscall.SIGINT)
	pause(duration("START_DELAY"), terminate)
	code, ends := os.LookupEnv("EXIT_CODE")
	if ends && duration("EXIT_AFTER") == 0 {
		n, _ := strconv.Atoi(code)
		fmt.Println("ending with", n)
		return n
	}
	ballast := make([]byte, number("MEMORY", 0))
	for i := 0; i < len(ballast); i += 4096 {
		ballast[i] = 1
	}
	if os.Getenv("NEVER_LISTEN") == "" {
		listen()
	}
	var over <-chan time.Time
	if ends {
		over = time.After(duration("EXIT_AFTER"))
	}
	for {
		select {
		case <-terminate:
			if os.Getenv("IGNORE_TERM") == "" {
				fmt.Println("terminated")
				return 0
			}
		case <-over:
			n, _ := strconv.Atoi(code)
			return n
		}
	}
}

func listen() {
	ports := os.Getenv("PORTS")
	if ports == "" {
		ports = strconv.Itoa(number("PORT", 8080))
	}
	h := handler()
	for port := range strings.SplitSeq(ports, ",") {
		l, err := net.Listen("tcp", net.JoinHostPort(os.Getenv("LISTEN"), port)) //nolint:noctx // lives as long as the process
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("listening on", l.Addr())
		go func() { _ = (&http.Server{Handler: h, ReadHeaderTimeout: time.Minute}).Serve(l) }()
	}
}

func handler() http.Handler {
	var requests, failing atomic.Int64
	limit, slow := int64(number("FAIL_AFTER", 0)), duration("SLOW")
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(slow)
		if n := requests.Add(1); failing.Load() != 0 || (limit > 0 && n > limit) {
			http.Error(w, "failing as asked", http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, version())
	})
	mux.HandleFunc("/fail", func(http.ResponseWriter, *http.Request) { failing.Store(1) })
	mux.HandleFunc("/heal", func(http.ResponseWriter, *http.Request) { failing.Store(0) })
	mux.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	mux.HandleFunc("/env", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, os.Getenv(r.FormValue("name"))) })
	mux.HandleFunc("/hostname", func(w http.ResponseWriter, _ *http.Request) {
		name, _ := os.Hostname()
		_, _ = io.WriteString(w, name)
	})
	mux.HandleFunc("/lookup", lookup)
	mux.HandleFunc("/dial", dial)
	mux.HandleFunc("/file", file)
	return mux
}

func lookup(w http.ResponseWriter, r *http.Request) {
	addresses, err := net.DefaultResolver.LookupHost(r.Context(), r.FormValue("name"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	_, _ = io.WriteString(w, strings.Join(addresses, " "))
}

func dial(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.FormValue("address"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	_ = c.Close()
}

func file(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Query().Get("path")
	var err error
	if r.Method == http.MethodPost {
		var b []byte
		if b, err = io.ReadAll(io.LimitReader(r.Body, 1<<20)); err == nil {
			err = os.WriteFile(path, b, 0o644) //nolint:gosec // inside a test container
		}
	} else {
		var b []byte
		if b, err = os.ReadFile(path); err == nil { //nolint:gosec // inside a test container
			_, _ = w.Write(b)
		}
	}
	if errors.Is(err, os.ErrNotExist) {
		http.Error(w, err.Error(), http.StatusNotFound)
	} else if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
	}
}

func version() string {
	if v := os.Getenv("VERSION"); v != "" {
		return v
	}
	return "ok"
}

func pause(d time.Duration, terminate <-chan os.Signal) {
	select {
	case <-time.After(d):
	case <-terminate:
		if d > 0 {
			os.Exit(0)
		}
	}
}

func number(name string, otherwise int) int {
	n, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		return otherwise
	}
	return n
}

func duration(name string) time.Duration {
	d, _ := time.ParseDuration(os.Getenv(name))
	return d
}
