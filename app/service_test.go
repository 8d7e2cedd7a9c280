package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
)

var quiet = slog.New(slog.DiscardHandler)

// recorder writes down what happens to its services.
type recorder struct{ said []string }

func (r *recorder) row(name string, fail error) row {
	return row{name, true, func() (Service, error) {
		r.said = append(r.said, "make "+name)
		return hooks{
			name:  name,
			start: func(context.Context) error { r.said = append(r.said, "start "+name); return fail },
			stop:  func(context.Context) error { r.said = append(r.said, "stop "+name); return nil },
		}, nil
	}}
}

func TestServicesStartInOrderAndStopInReverse(t *testing.T) {
	var r recorder
	g := newGroup(quiet)
	off := r.row("off", nil)
	off.on = false
	if err := g.start(t.Context(), []row{r.row("a", nil), off, r.row("b", nil)}); err != nil {
		t.Fatal(err)
	}
	if err := g.stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{"make a", "start a", "make b", "start b", "stop b", "stop a"}
	if !slices.Equal(r.said, want) {
		t.Errorf("got %q, want %q", r.said, want)
	}
}

func TestFailedStartStopsWhatStarted(t *testing.T) {
	var r recorder
	g := newGroup(quiet)
	err := g.start(t.Context(), []row{r.row("a", nil), r.row("b", errors.New("no room")), r.row("c", nil)})
	if err == nil || !strings.Contains(err.Error(), "start b: no room") {
		t.Errorf("error %v", err)
	}
	if err := g.stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{"make a", "start a", "make b", "start b", "stop a"}
	if !slices.Equal(r.said, want) {
		t.Errorf("got %q, want %q", r.said, want)
	}
}

// One that uses up all the time must not keep the others from ending properly.
func TestSlowStopLeavesTheOthersALastChance(t *testing.T) {
	got := make(chan error, 1)
	g := newGroup(quiet)
	g.started = []Service{
		hooks{name: "last", stop: func(ctx context.Context) error { got <- ctx.Err(); return nil }},
		hooks{name: "slow", stop: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := g.stop(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "stop slow") {
		t.Errorf("error %v", err)
	}
	if err := <-got; err != nil {
		t.Errorf("the last service was stopped with a context that had ended: %v", err)
	}
}

type ending struct {
	hooks
	end chan error
}

func (e ending) Ended() <-chan error { return e.end }

func TestServiceThatEndsByItselfIsNoticed(t *testing.T) {
	g := newGroup(quiet)
	e := ending{hooks{name: "fragile"}, make(chan error, 1)}
	if err := g.start(t.Context(), []row{{"fragile", true, func() (Service, error) { return e, nil }}}); err != nil {
		t.Fatal(err)
	}
	e.end <- errors.New("broken")
	if err := <-g.ended; err == nil || err.Error() != "fragile ended: broken" {
		t.Errorf("error %v", err)
	}
}

func TestReadyNamesWhatIsNot(t *testing.T) {
	err := ready([]Service{hooks{name: "a"}, hooks{name: "b", ready: func() error { return fmt.Errorf("away") }}})
	if err == nil || err.Error() != "b: away" {
		t.Errorf("error %v", err)
	}
}
