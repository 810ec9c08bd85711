package thalweg

import "thalweg/internal/frame"

// timers are what the rows of a call do to timers.
type timers struct {
	ops, tags []byte
	count     uint32
	// Where the current row began.
	row               uint32
	opsMark, tagsMark int
	countMark         uint32
}

func (t *timers) begin() {
	*t = timers{ops: t.ops[:0], tags: t.tags[:0], row: frame.None}
}

func (t *timers) op(ctx *Context, family, op uint32, fire, hold int64, tag string) {
	if t.row != ctx.row {
		t.row, t.opsMark, t.tagsMark, t.countMark = ctx.row, len(t.ops), len(t.tags), t.count
	}
	start := len(t.tags)
	t.tags = append(t.tags, tag...)
	t.ops = frame.Pair(t.ops, ctx.group, family)
	t.ops = frame.Pair(t.ops, op, ctx.row)
	t.ops = frame.Long(t.ops, fire)
	t.ops = frame.Long(t.ops, hold)
	t.ops = frame.Range(t.ops, start, t.tags)
	t.count++
}

func (t *timers) undo(row uint32) {
	if t.row == row {
		t.ops, t.tags, t.count = t.ops[:t.opsMark], t.tags[:t.tagsMark], t.countMark
	}
}

func (t *timers) finish(w *frame.Writer) {
	if t.count > 0 {
		w.Entries(frame.TimerOps, t.count, 0, t.ops, t.tags)
	}
}

// Timer is one timer of a family: for the key and window of the element, and for the tag.
type Timer struct {
	ctx    *Context
	family uint32
	tag    string
	hold   int64
}

// Tag names one timer of the family: a key and window may have any number of them by tag.
func (t Timer) Tag(tag string) Timer {
	t.tag = tag
	return t
}

// OutputAt gives the time of what the timer will put out; it holds the watermark back until then. Without it: when it fires, or in processing
// time the time of the element that sets it.
func (t Timer) OutputAt(time EventTime) Timer {
	t.hold = int64(time)
	return t
}

// Set sets the timer, in milliseconds of its family's clock; one that is set already moves.
func (t Timer) Set(fireMS int64) { t.ctx.timers.op(t.ctx, t.family, 0, fireMS, t.hold, t.tag) }

// Clear clears the timer.
func (t Timer) Clear() { t.ctx.timers.op(t.ctx, t.family, 1, 0, frame.InheritTime, t.tag) }

func (t *Timer) bindFamily(ctx *Context, name, domain string, to *description) {
	*t = Timer{ctx, uint32(len(to.timers)), "", frame.InheritTime}
	to.timers = append(to.timers, entry(name, `"domain":"`+domain+`"`))
}

// EventTimer is a field that names a family of timers by event time: they fire when the watermark passes their time.
type EventTimer struct{ Timer }

func (t *EventTimer) bind(ctx *Context, name string, options []string, to *description) {
	has(options, "")
	t.bindFamily(ctx, name, "event", to)
}

// ClockTimer is a field that names a family of timers by processing time: they fire when the clock passes their time.
type ClockTimer struct{ Timer }

func (t *ClockTimer) bind(ctx *Context, name string, options []string, to *description) {
	has(options, "")
	t.bindFamily(ctx, name, "processing", to)
}

// Fired is a timer that has come due.
type Fired struct {
	family uint32
	tag    string
	fireMS int64
}

// Family is a field that names a family of timers.
type Family interface{ familyIndex() uint32 }

func (t Timer) familyIndex() uint32 { return t.family }

// Is says whether it is of this family: `timer.Is(f.Gap)`.
func (f Fired) Is(family Family) bool { return f.family == family.familyIndex() }

// Tag is the tag it was set with; empty without one.
func (f Fired) Tag() string { return f.tag }

// FireMS is when it was to fire, in milliseconds of its family's clock.
func (f Fired) FireMS() int64 { return f.fireMS }
