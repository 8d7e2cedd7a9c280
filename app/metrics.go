package app

import (
	"context"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"pandu/modules/kit/pg"
)

// scrape bounds what one reading of the metrics may ask of the database.
const scrape = 3 * time.Second

// collector reads, when asked, what the database knows: the same on every process.
type collector struct {
	p        *Process
	jobs     *prometheus.Desc
	unsealed *prometheus.Desc
	sessions *prometheus.Desc
}

func (p *Process) measure() {
	p.ops.Metrics.MustRegister(&collector{
		p:        p,
		jobs:     prometheus.NewDesc("pandu_queue_jobs", "Jobs in the queue by state.", []string{"queue", "state"}, nil),
		unsealed: prometheus.NewDesc("pandu_audit_unsealed_seconds", "Age of the oldest event that is not chained yet.", nil, nil),
		sessions: prometheus.NewDesc("pandu_agent_sessions", "Agents connected to this process.", nil, nil),
	})
	p.requests = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "pandu_http_request_seconds", Help: "Time to answer a request, by route and status.",
		Buckets: []float64{.002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
	}, []string{"method", "route", "status"})
	p.ops.Metrics.MustRegister(p.requests)
}

// Describe names what is collected.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	out <- c.jobs
	out <- c.unsealed
	out <- c.sessions
}

// Collect reads it. What cannot be read now is left out.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrape)
	defer cancel()
	out <- prometheus.MustNewConstMetric(c.sessions, prometheus.GaugeValue, float64(len(c.p.rooms.servers.Memory())))
	if age, err := c.p.rooms.audit.UnsealedAge(ctx); err == nil {
		out <- prometheus.MustNewConstMetric(c.unsealed, prometheus.GaugeValue, age.Seconds())
	}
	rows, err := pg.All[struct {
		Queue string `db:"queue"`
		State string `db:"state"`
		Count int64  `db:"count"`
	}](ctx, c.p.db.Pool, "select queue, state::text, count(*) from river.river_job where state not in ('completed', 'cancelled') group by 1, 2", nil)
	if err != nil {
		return
	}
	for _, row := range rows {
		out <- prometheus.MustNewConstMetric(c.jobs, prometheus.GaugeValue, float64(row.Count), row.Queue, row.State)
	}
}

// timed measures requests by the route that answered, never by what was asked: paths hold names without end.
func (p *Process) timed(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		began := time.Now()
		err := next(c)
		if err != nil {
			c.Error(err)
		}
		method := c.Request().Method
		if c.Path() == "" { // nothing answered; what it calls its method is anybody's guess
			method = "other"
		}
		p.requests.WithLabelValues(method, c.Path(), strconv.Itoa(c.Response().Status)).Observe(time.Since(began).Seconds())
		return nil
	}
}
