package pgprivate

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
)

// lastWords is how much of the server's log is read to find out what is wrong, in bytes.
const lastWords = 4 << 10

// advise adds what to do to an error of a server that did not start.
func (s *Server) advise(err error) error {
	said := err.Error() + "\n" + s.tail()
	has := func(texts ...string) bool {
		for _, t := range texts {
			if strings.Contains(said, t) {
				return true
			}
		}
		return false
	}
	switch {
	case errors.Is(err, syscall.ENOSPC) || has("No space left on device", "Disk quota exceeded"):
		return fmt.Errorf("the disk that holds %s is full: free some space and start again: %w", s.dir, err)
	case has("shared memory block", "pre-existing shared memory"):
		return fmt.Errorf("a part of an earlier PostgreSQL still runs in %s: end the processes that fuser %s names: %w", s.data(), s.data(), err)
	case has("could not create shared memory", "could not map anonymous shared memory", "Cannot allocate memory"):
		return fmt.Errorf("there is not enough memory for PostgreSQL (about 64 MB): %w", err)
	case has("could not locate a valid checkpoint", "could not locate required checkpoint", "invalid primary checkpoint", "could not open control file", "global/pg_control\"", "incorrect checksum in control file",
		"calculated CRC checksum does not match", "invalid page", "is not a valid data directory", "could not open file \"global/"):
		return fmt.Errorf("the database files in %s are damaged: keep a copy, restore your latest backup into a new data directory, and see %s for the first error: %w", s.data(), s.logFile(), err)
	case has("has wrong ownership", "Permission denied", "invalid permissions", "has invalid permissions"):
		return fmt.Errorf("user %s may not use %s: give it back with chown -R %s %s: %w", s.user.name, s.data(), s.user.name, s.dir, err)
	}
	return fmt.Errorf("%w: PostgreSQL said: %s (its log is %s)", err, complaint(s.tail()), s.logFile())
}

// tail is the end of what the present server wrote to its log.
func (s *Server) tail() string {
	f, err := os.Open(s.logFile())
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	if _, err := f.Seek(max(s.begun, info.Size()-lastWords), io.SeekStart); err != nil {
		return ""
	}
	body, err := io.ReadAll(io.LimitReader(f, lastWords))
	if err != nil {
		return ""
	}
	return string(body)
}

// complaint is the last line that reports an error, or the last line.
func complaint(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for _, line := range slices.Backward(lines) {
		if strings.Contains(line, "FATAL:") || strings.Contains(line, "PANIC:") || strings.Contains(line, "ERROR:") {
			return line
		}
	}
	return lines[len(lines)-1]
}
