package cli

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/text/width"
)

// table is rows in columns. Words that are a status get its colour.
type table struct {
	head []string
	rows [][]string
	bare bool // without the head
}

func newTable(head ...string) *table { return &table{head: head} }

func (t *table) add(cells ...string) {
	for i := range cells {
		cells[i] = strings.ReplaceAll(clean(cells[i]), `\x0a`, " ")
	}
	t.rows = append(t.rows, cells)
}

func (t *table) write(w io.Writer, colored bool) error {
	widths := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], columns(cell))
		}
	}
	b := bufio.NewWriter(w)
	if !t.bare {
		t.writeRow(b, t.head, widths, func(string) string { return "" })
	}
	for _, row := range t.rows {
		t.writeRow(b, row, widths, func(cell string) string {
			if colored {
				return colorOf(cell)
			}
			return ""
		})
	}
	return b.Flush()
}

func (t *table) writeRow(b *bufio.Writer, row []string, widths []int, color func(string) string) {
	var line strings.Builder
	for i, cell := range row {
		c := color(cell)
		line.WriteString(paint(c != "", c, cell))
		if i < len(row)-1 {
			line.WriteString(strings.Repeat(" ", widths[i]-columns(cell)+3))
		}
	}
	_, _ = b.WriteString(strings.TrimRight(line.String(), " ") + "\n") // Flush tells
}

// columns is how many columns of a terminal a text takes: wide characters (Chinese, for one) take two.
func columns(text string) int {
	n := 0
	for _, r := range text {
		n++
		if k := width.LookupRune(r).Kind(); k == width.EastAsianWide || k == width.EastAsianFullwidth {
			n++
		}
	}
	return n
}

// age is how long ago a moment was, in its largest unit.
func age(now, then time.Time) string {
	d := now.Sub(then)
	switch {
	case then.IsZero():
		return ""
	case d < 0:
		return "now"
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
}

// size is a number of bytes for people.
func size(bytes int64) string {
	const unit = 1024
	if bytes < unit {
		return fmt.Sprintf("%d B", bytes)
	}
	value, name := float64(bytes)/unit, "KiB"
	for _, next := range []string{"MiB", "GiB", "TiB"} {
		if value < unit {
			break
		}
		value, name = value/unit, next
	}
	return fmt.Sprintf("%.1f %s", value, name)
}
