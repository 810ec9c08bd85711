package thalweg

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"thalweg/internal/coder"
	"thalweg/internal/frame"
	"thalweg/internal/host"
)

// Level is how serious a line of the log is.
type Level uint8

// The levels of the log.
const (
	Trace Level = iota
	Debug
	Info
	Warn
	Error
)

// slot is one of the two sorts of slots.
type slot struct {
	cells   *cells
	entries *entries
}

// Context is what a function sees beside its element and its own fields. All buffers here live as long as the instance.
type Context struct {
	host      host.Host
	in        frame.Input
	row       uint32
	group     uint32
	inGroup   bool
	keyed     bool
	random    uint64
	windowSet uint32
	key       []byte
	rows      rows
	slots     []slot
	timers    timers
	reads     reads
	metrics   metrics
	failed    failed
	// Buffers of frames: of early outputs and of the result.
	early, result []byte
}

// failed are the rows that could not be processed.
type failed struct {
	entries, texts []byte
	count          uint32
}

func (f *failed) add(row int, err error) {
	failure := host.FailureOf(err)
	start := len(f.texts)
	f.texts = append(f.texts, failure.Code...)
	middle := len(f.texts)
	f.texts = append(f.texts, failure.Message...)
	f.entries = frame.Pair(f.entries, uint32(row), 0)
	f.entries = frame.Pair(f.entries, uint32(start), uint32(middle))
	f.entries = frame.Range(f.entries, middle, f.texts)
	f.count++
}

func (f *failed) finish(w *frame.Writer) {
	if f.count > 0 {
		w.Entries(frame.Failed, f.count, 0, f.entries, f.texts)
	}
	*f = failed{entries: f.entries[:0], texts: f.texts[:0]}
}

// Time is the element's event time; of a timer the time of what it puts out.
func (c *Context) Time() EventTime { return EventTime(c.in.TimeOf(int(c.row))) }

// NowMS is the processing time of the call in milliseconds since 1970: constant in a call, equal when it is made again. time.Now says the same.
func (c *Context) NowMS() int64 { return c.in.Now }

// Window is the window of the element; the first, if it has several. Elements of a function with state have one.
func (c *Context) Window() Window {
	if all := c.Windows(); len(all) > 0 {
		return all[0]
	}
	return Global
}

// Windows are those of the element.
func (c *Context) Windows() []Window {
	set, _ := c.in.WindowsOf(int(c.row))
	return WindowsOf(set)
}

// Pane is the pane of the element as Beam encodes it.
func (c *Context) Pane() []byte { return slices.Clone(c.in.PaneOf(int(c.row))) }

// Random is a pseudo-random number: the same ones come again when a call is made again.
func (c *Context) Random() uint64 {
	// SplitMix64
	c.random += 0x9E3779B97F4A7C15
	z := c.random
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// Uint64 is [Context.Random], for math/rand/v2: `rand.New(ctx).IntN(6)`.
func (c *Context) Uint64() uint64 { return c.Random() }

var _ rand.Source = (*Context)(nil)

// Log writes a line about the element to the job's log. The host drops lines above its rate limit.
func (c *Context) Log(level Level, message string) {
	row := int64(c.row)
	if c.row == frame.None {
		row = -1
	}
	c.host.Log(uint8(level), row, message)
}

// Key is the key of the element, of the timer that is due, or of the window that is over. K is the type of the input's keys; with another one the
// element fails.
func Key[K any](c *Context) K { return must(coder.Outer[K](coder.Of[K](), c.key)) }

func newContext(h host.Host, d *description) *Context {
	c := &Context{host: h, keyed: len(d.slots) > 0 || len(d.timers) > 0}
	for i, plain := range d.plain {
		if plain {
			c.slots = append(c.slots, slot{cells: &cells{eager: d.eager[i]}})
		} else {
			c.slots = append(c.slots, slot{entries: &entries{}})
		}
	}
	return c
}

// page reads a page of a list from the host.
func (c *Context) page(token []byte) (elements, next []byte, err error) {
	found := c.host.Iterable(token)
	var rows frame.Input
	if err := rows.Parse(found.Rows); err != nil || rows.Rows != 1 {
		return nil, nil, coder.Malformed("a page of a list")
	}
	_, elements, err = rows.Element(0)
	return elements, found.Next, err
}

func (c *Context) begin(input []byte) error {
	if err := c.in.Parse(input); err != nil {
		return host.BadFrame("input frame")
	}
	c.host.Moment(c.in.Now, c.in.Seed)
	c.rows.clear()
	c.timers.begin()
	c.metrics.begin()
	c.reads.begin()
	c.failed = failed{entries: c.failed.entries[:0], texts: c.failed.texts[:0]}
	for _, slot := range c.slots {
		slot.begin()
	}
	c.row, c.random, c.inGroup = frame.None, c.in.Seed, false
	return nil
}

// enter moves on to a row.
func (c *Context) enter(row int) {
	c.row = uint32(row)
	_, c.windowSet = c.in.WindowsOf(row)
	if !c.keyed {
		return
	}
	group := c.in.GroupOf(row)
	if c.inGroup && c.group == group {
		return
	}
	c.closeGroup()
	c.group, c.inGroup = group, true
	for i, slot := range c.slots {
		if slot.cells == nil || !slot.cells.eager {
			continue
		}
		for _, table := range c.in.Cells {
			if table.First == uint32(i) {
				slot.cells.base, slot.cells.loaded = table.Get(int(group)), true
			}
		}
	}
}

func (s slot) begin() {
	if s.cells != nil {
		s.cells.begin()
	} else {
		s.entries.begin()
	}
}

func (c *Context) closeGroup() {
	if !c.inGroup {
		return
	}
	c.inGroup = false
	for _, slot := range c.slots {
		if slot.cells != nil {
			slot.cells.closeGroup(c.group)
		} else {
			slot.entries.closeGroup(c.group)
		}
	}
}

// fail takes back what the row did.
func (c *Context) fail(err error) {
	for _, slot := range c.slots {
		if slot.cells != nil {
			slot.cells.undo(int64(c.row))
		} else {
			slot.entries.undoRow(int64(c.row))
		}
	}
	c.timers.undo(c.row)
	c.metrics.undo(int64(c.row))
	c.failed.add(int(c.row), err)
}

// finish gives the frame of the results.
func (c *Context) finish() []byte {
	c.closeGroup()
	w := c.rows.write(c.result)
	for i, slot := range c.slots {
		if slot.cells != nil {
			slot.cells.finish(i, &w)
		}
	}
	for i, slot := range c.slots {
		if slot.entries != nil {
			slot.entries.finish(i, &w)
		}
	}
	c.timers.finish(&w)
	c.failed.finish(&w)
	c.metrics.finish(&w)
	c.result = w.Bytes()
	return c.result
}

func quoted(text string) string {
	json, _ := json.Marshal(text)
	return string(json)
}
