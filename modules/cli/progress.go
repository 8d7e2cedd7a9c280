package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"pandu/modules/cli/client"
)

// redraw is how often a bar is drawn at most.
const redraw = 100 * time.Millisecond

// upload sends an archive and shows how far it is.
func (s *session) upload(ctx context.Context, file *archiveFile) (client.UploadView, error) {
	b := &bar{screen: s.screen, now: s.cli.env.Now, total: file.Size, began: s.cli.env.Now()}
	u, err := s.client.CreateUpload(ctx, s.project, file.Archive, b.show)
	b.clear()
	if err == nil {
		s.say("Uploaded %s.", size(file.Size))
	}
	return u, err
}

// bar is a line on a terminal that shows how much of an upload is sent.
type bar struct {
	*screen
	now         func() time.Time
	total       int64
	began, last time.Time
	drawn       bool
}

func (b *bar) show(sent int64) {
	now := b.now()
	if !b.errTerminal || b.json || sent < b.total && now.Sub(b.last) < redraw {
		return
	}
	b.last, b.drawn = now, true
	_, _ = fmt.Fprint(b.err, "\r"+barLine(sent, b.total, now.Sub(b.began), b.width)+"\x1b[K")
}

func (b *bar) clear() {
	if b.drawn {
		_, _ = fmt.Fprint(b.err, "\r\x1b[K")
	}
}

// barLine is the bar as text, not wider than width.
func barLine(sent, total int64, since time.Duration, width int) string {
	share := 1.0
	if total > 0 {
		share = float64(sent) / float64(total)
	}
	numbers := fmt.Sprintf(" %3d %%  %s of %s", int(share*100), size(sent), size(total))
	if seconds := since.Seconds(); seconds >= 1 {
		numbers += fmt.Sprintf("  %s/s", size(int64(float64(sent)/seconds)))
	}
	if sent == total {
		numbers += "  looking through it"
	}
	room := min(30, width-len(numbers)-14)
	if room < 5 {
		return ("Uploading" + numbers)[:min(width-1, len("Uploading"+numbers))]
	}
	full := int(share * float64(room))
	return "Uploading [" + strings.Repeat("=", full) + strings.Repeat(" ", room-full) + "]" + numbers
}
