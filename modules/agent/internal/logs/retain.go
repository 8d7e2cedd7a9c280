package logs

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// held is one log on disk.
type held struct {
	key     string
	size    int64
	written time.Time
}

// retain removes the logs of instances that have had no container for too long, and beyond the total limit the ones
// written longest ago. present are the keys that have a container. Logs in use stay.
func (s *Service) retain(present map[string]bool) error {
	all, total, err := s.measure()
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b held) int { return cmp.Compare(a.written.UnixNano(), b.written.UnixNano()) })
	var failed error
	for _, h := range all {
		old := s.deps.Now().Sub(h.written) > s.deps.KeepGone
		if present[h.key] || !old && total <= s.deps.MaxTotal {
			continue
		}
		removed, err := s.remove(h.key)
		if removed {
			total -= h.size
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

func (s *Service) measure() (all []held, total int64, err error) {
	entries, err := os.ReadDir(s.deps.Dir)
	if err != nil {
		return nil, 0, fmt.Errorf("list logs: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), "instance-") && !strings.HasPrefix(e.Name(), "build-") {
			continue
		}
		h := held{key: e.Name()}
		files, _ := os.ReadDir(filepath.Join(s.deps.Dir, e.Name())) // gone meanwhile: empty
		for _, f := range files {
			if info, err := f.Info(); err == nil {
				h.size += info.Size()
				if info.ModTime().After(h.written) {
					h.written = info.ModTime()
				}
			}
		}
		all, total = append(all, h), total+h.size
	}
	return all, total, nil
}

// remove deletes a log unless somebody reads or writes it.
func (s *Service) remove(key string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[key] != nil {
		return false, nil
	}
	if err := os.RemoveAll(filepath.Join(s.deps.Dir, key)); err != nil {
		return false, fmt.Errorf("remove log: %w", err)
	}
	return true, nil
}
