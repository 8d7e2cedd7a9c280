package gateway

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"pandu/modules/agent/agentv1"
)

// bigTable has n hosts in environments of ten, each with one instance of its own.
func bigTable(n int) (*agentv1.RouteTable, *agentv1.AddressBook) {
	table := &agentv1.RouteTable{Epoch: &agentv1.Epoch{Number: 1, Lineage: "l"}, Revision: 1}
	book := &agentv1.AddressBook{Version: 1}
	for i := range n / 10 {
		id := fmt.Sprintf("0190a000-0000-7000-8000-%012d", i)
		set := &agentv1.RouteSet{EnvironmentId: id, OrganizationId: id}
		for j := range 10 {
			set.Routes = append(set.Routes, &agentv1.Route{
				Host: fmt.Sprintf("site-%d-%d.apps.example.org", i, j), Path: "/", Service: "web",
				InstanceIds: []string{id}, State: agentv1.Route_STATE_SERVING,
			})
		}
		table.Sets = append(table.Sets, set)
		book.Addresses = append(book.Addresses, &agentv1.Address{InstanceId: id, Ip: fmt.Sprintf("10.%d.%d.2", i>>8&255, i&255), Port: 8080, Ready: true})
	}
	return table, book
}

// offline is a gateway without sockets.
func offline(b *testing.B, n int) (*Gateway, *agentv1.RouteTable) {
	b.Helper()
	g := New(Options{Dir: b.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	g.ports, g.names = newPorts(b.Context(), g), newNameServers(g)
	table, book := bigTable(n)
	if err := agentv1.WriteAddressBook(g.options.Dir, book); err != nil {
		b.Fatal(err)
	}
	if err := agentv1.WriteRouteTable(g.options.Dir, table); err != nil {
		b.Fatal(err)
	}
	if _, err := g.Apply(); err != nil {
		b.Fatal(err)
	}
	return g, table
}

// BenchmarkApply changes one environment of a large table; writing the files is the agent's work and not counted.
func BenchmarkApply(b *testing.B) {
	for _, n := range []int{10, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			g, table := offline(b, n)
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				table.Revision++
				table.Sets[i%len(table.GetSets())].Routes[0].Host = fmt.Sprintf("new-%d.example.org", i)
				if err := agentv1.WriteRouteTable(g.options.Dir, table); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if _, err := g.Apply(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkTableMemory says what a table costs when it is served, in bytes of heap per route.
func BenchmarkTableMemory(b *testing.B) {
	const n = 100_000
	for b.Loop() {
		before := heap()
		g, _ := offline(b, n)
		b.ReportMetric(float64(heap()-before)/n, "B/route")
		runtime.KeepAlive(g)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{10, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			g, _ := offline(b, n)
			for i := 0; b.Loop(); i++ {
				host := normaliseHost("Site-0-1.apps.example.org:80")
				if g.table.Load().site(host, 0).route("/x") == nil {
					b.Fatal("not found")
				}
			}
		})
	}
}

// BenchmarkRequest compares the way through the gateway with the way past it.
func BenchmarkRequest(b *testing.B) {
	server := httptest.NewServer(says("0123456789abcdef0123456789abcdef"))
	defer server.Close()
	for _, routes := range []int{10, 100_000} {
		g, table := offline(b, routes)
		at := table.GetSets()[0].GetRoutes()[0]
		g.registry.relocate(map[string]address{at.GetInstanceIds()[0]: addressOf(b, server.Listener.Addr().String())})
		go g.access.run()
		front := httptest.NewServer(&door{g, 0})
		b.Run(fmt.Sprintf("through/%d", routes), func(b *testing.B) { load(b, front.URL, at.GetHost()) })
		front.Close()
		g.access.close()
		g.closeIdle()
	}
	b.Run("past", func(b *testing.B) { load(b, server.URL, "a.test") })
}

func addressOf(b *testing.B, hostPort string) address {
	b.Helper()
	book, err := readBook(&agentv1.AddressBook{Addresses: []*agentv1.Address{addressMessage(hostPort)}})
	if err != nil {
		b.Fatal(err)
	}
	return book["i"]
}

func load(b *testing.B, url, host string) {
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	b.SetParallelism(32)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			request, _ := http.NewRequest(http.MethodGet, url, nil)
			request.Host = host
			response, err := client.Do(request)
			if err != nil || response.StatusCode != http.StatusOK {
				b.Errorf("got %v, %v", response, err)
				return
			}
			_, _ = io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
	})
}
