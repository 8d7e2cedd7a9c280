package gateway

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	accessLogFile   = "access.log"
	accessQueue     = 8192                   // entries that wait to be written; more are dropped and counted
	accessBatch     = 64 << 10               // bytes gathered before a write
	accessDelay     = 250 * time.Millisecond // the longest an entry waits for others
	maxLoggedText   = 2048
	defaultLogBytes = 16 << 20
	defaultLogFiles = 4
)

// AccessLog says how much of the access log is kept. At most Files × MaxBytes bytes are on disk.
type AccessLog struct {
	Disabled bool
	MaxBytes int64 // of one file; 0: 16 MiB
	Files    int   // access.log and its predecessors access.log.1 …; 0: 4
}

// entry is one line of the access log.
type entry struct {
	time      time.Time
	host      string
	method    string
	path      string // without the query, which may hold secrets
	status    int
	bytes     int64
	duration  time.Duration
	instance  string
	client    netip.Addr
	requestID string
}

func (x *exchange) entry(w *recorder) entry {
	status := w.status
	if x.upgraded && status == 0 {
		status = 101
	}
	return entry{
		time: x.started, host: x.in.Host, method: x.in.Method, path: x.in.URL.Path, status: status, bytes: w.bytes,
		duration: time.Since(x.started), instance: x.instance, client: x.client, requestID: x.requestID,
	}
}

// accessLog writes entries in the background; a slow or full disk costs log lines, never requests.
type accessLog struct {
	settings AccessLog
	path     string
	logger   *slog.Logger
	queue    chan entry
	dropped  atomic.Uint64
	stop     chan struct{}
	done     chan struct{}

	file  *os.File // the rest belongs to run
	size  int64
	batch []byte
}

func newAccessLog(dir string, settings AccessLog, logger *slog.Logger) *accessLog {
	return &accessLog{
		settings: settings, path: filepath.Join(dir, accessLogFile), logger: logger,
		queue: make(chan entry, accessQueue), stop: make(chan struct{}), done: make(chan struct{}),
	}
}

// write never blocks.
func (l *accessLog) write(e entry) {
	if l.settings.Disabled {
		return
	}
	select {
	case l.queue <- e:
	default:
		l.dropped.Add(1)
	}
}

// run writes until close is called, then everything that is left.
func (l *accessLog) run() {
	defer close(l.done)
	flush := time.NewTimer(accessDelay)
	defer flush.Stop()
	for {
		select {
		case e := <-l.queue:
			if len(l.batch) == 0 {
				flush.Reset(accessDelay)
			}
			l.add(e)
		case <-flush.C:
			l.flush()
		case <-l.stop:
			l.finish()
			return
		}
	}
}

func (l *accessLog) add(e entry) {
	if l.batch = e.appendJSON(l.batch); len(l.batch) >= accessBatch {
		l.flush()
	}
}

func (l *accessLog) finish() {
	for {
		select {
		case e := <-l.queue:
			l.add(e)
		default:
			l.flush()
			l.closeFile()
			return
		}
	}
}

// close ends run and waits for it. What is written afterwards is lost.
func (l *accessLog) close() {
	close(l.stop)
	<-l.done
}

func (l *accessLog) flush() {
	if len(l.batch) == 0 {
		return
	}
	if err := l.store(); err != nil {
		l.dropped.Add(1)
		l.logger.Debug("access log not written", "error", err)
		l.closeFile() // it may be the file; the next flush opens it again
	}
	l.batch = l.batch[:0]
}

func (l *accessLog) store() error {
	if l.file != nil && l.size+int64(len(l.batch)) > l.settings.MaxBytes {
		l.closeFile()
		l.rotate()
	}
	if l.file == nil {
		if err := l.openFile(); err != nil {
			return err
		}
	}
	n, err := l.file.Write(l.batch)
	l.size += int64(n)
	return err
}

func (l *accessLog) openFile() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return err
	}
	l.file, l.size = f, info.Size()
	return nil
}

// rotate moves access.log to access.log.1 and so on; the oldest is overwritten.
func (l *accessLog) rotate() {
	for i := l.settings.Files - 1; i > 0; i-- {
		from := l.path
		if i > 1 {
			from = fmt.Sprintf("%s.%d", l.path, i-1)
		}
		_ = os.Rename(from, fmt.Sprintf("%s.%d", l.path, i)) // the gaps of a young log
	}
	if l.settings.Files == 1 {
		_ = os.Remove(l.path)
	}
}

func (l *accessLog) closeFile() {
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
	}
}

func (l *accessLog) problems() []string {
	if n := l.dropped.Load(); n > 0 {
		return []string{fmt.Sprintf("The access log lost entries %d times: the disk is full or too slow.", n)}
	}
	return nil
}

func (e *entry) appendJSON(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = e.time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	b = appendText(append(b, `","host":`...), e.host)
	b = appendText(append(b, `,"method":`...), e.method)
	b = appendText(append(b, `,"path":`...), e.path)
	b = strconv.AppendInt(append(b, `,"status":`...), int64(e.status), 10)
	b = strconv.AppendInt(append(b, `,"bytes":`...), e.bytes, 10)
	b = strconv.AppendFloat(append(b, `,"duration_ms":`...), float64(e.duration.Microseconds())/1000, 'f', 3, 64)
	b = appendText(append(b, `,"instance":`...), e.instance)
	b = append(b, `,"client":"`...)
	if e.client.IsValid() {
		b = e.client.AppendTo(b)
	}
	b = appendText(append(b, `","request_id":`...), e.requestID)
	return append(b, "}\n"...)
}

// appendText appends s as a JSON string; the plain text that it nearly always is, without detours.
func appendText(b []byte, s string) []byte {
	if len(s) > maxLoggedText {
		s = s[:maxLoggedText]
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, err := json.Marshal(s) // replaces what is not UTF-8
			if err != nil {
				return append(b, `""`...)
			}
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
