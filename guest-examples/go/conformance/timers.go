package main

import (
	"fmt"
	"strings"
	"thalweg"
)

// Timers sets timers of both clocks, by commands: `event 100`, `event 100 tag`, `event 100 tag 50` (the time of what it puts out), `processing 5`, `clear
// tag`; and tells the end of windows.
type Timers struct {
	Fired thalweg.Output[thalweg.KV[string, string]]
	Event thalweg.EventTimer
	Clock thalweg.ClockTimer
	Seen  thalweg.Value[int64] `thalweg:"seen,eager"`
}

// Process runs a command.
func (t *Timers) Process(ctx *thalweg.Context, element thalweg.KV[string, string]) error {
	t.Seen.Set(t.Seen.Or(0) + 1)
	words := append(strings.Split(element.Value, " "), "", "", "")
	switch words[0] {
	case "event":
		at, err := number(words[1])
		if err != nil {
			return err
		}
		timer := t.Event.Tag(words[2])
		if words[3] != "" {
			hold, err := number(words[3])
			if err != nil {
				return err
			}
			timer = timer.OutputAt(thalweg.EventTime(hold))
		}
		timer.Set(at)
	case "processing":
		at, err := number(words[1])
		if err != nil {
			return err
		}
		t.Clock.Set(at)
	case "clear":
		t.Event.Tag(words[1]).Clear()
	case "fail":
		t.Event.Set(1)
		return thalweg.Fail("FAIL", "as it was told")
	default:
		return unknown(element.Value)
	}
	return nil
}

// OnTimer tells what fired.
func (t *Timers) OnTimer(ctx *thalweg.Context, timer thalweg.Fired) error {
	family := "clock"
	if timer.Is(t.Event) {
		family = "event"
	}
	if timer.Tag() == "again" && timer.FireMS() < 1000 {
		t.Event.Tag("again").Set(timer.FireMS() + 500)
	}
	text := fmt.Sprintf("%s %q at %d time %d seen %d", family, timer.Tag(), timer.FireMS(), ctx.Time(), t.Seen.Or(0))
	t.Fired.Emit(thalweg.KV[string, string]{Key: thalweg.Key[string](ctx), Value: text})
	return nil
}

// OnWindowExpiration tells what a window kept.
func (t *Timers) OnWindowExpiration(ctx *thalweg.Context) error {
	text := fmt.Sprintf("over seen %d", t.Seen.Or(0))
	t.Fired.Emit(thalweg.KV[string, string]{Key: thalweg.Key[string](ctx), Value: text})
	return nil
}

// Buffer sums up the numbers of a bundle.
type Buffer struct {
	Sums thalweg.Output[int64]
	sum  *int64
}

// Process adds a number.
func (b *Buffer) Process(ctx *thalweg.Context, n int64) error {
	if b.sum == nil {
		return thalweg.Fail("NO_BUNDLE", "an element outside of a bundle")
	}
	*b.sum += n
	return nil
}

// StartBundle begins with nothing.
func (b *Buffer) StartBundle(ctx *thalweg.Context) error {
	b.sum = new(int64)
	return nil
}

// FinishBundle puts the sum out.
func (b *Buffer) FinishBundle(ctx *thalweg.Context) error {
	if b.sum != nil {
		b.Sums.EmitIn(5, []thalweg.Window{thalweg.Global}, *b.sum)
		b.sum = nil
	}
	return nil
}

// Close tells that it is closed.
func (b *Buffer) Close() { fmt.Println("the buffer is closed") }
