package thalweg

import (
	"thalweg/internal/coder"
	"thalweg/internal/frame"
)

// rows are output rows as columns. A column that all rows so far could do without is empty.
type rows struct {
	count                                     int
	source, value, key, output, time, windows []byte
	sets, setBytes, arena                     []byte
	setCount                                  uint32
}

// place is where an output row comes from, and what it does not inherit.
type place struct {
	source  uint32
	time    int64
	windows []Window
}

func (r *rows) clear() {
	*r = rows{
		source: r.source[:0], value: r.value[:0], key: r.key[:0], output: r.output[:0], time: r.time[:0],
		windows: r.windows[:0], sets: r.sets[:0], setBytes: r.setBytes[:0], arena: r.arena[:0],
	}
}

// size is about how many bytes they are.
func (r *rows) size() int { return len(r.arena) + 2*len(r.value) }

// push adds a row.
func push[T any](r *rows, c *coder.Coder, output uint32, at place, element *T) {
	before, start, middle := r.count, len(r.arena), 0
	r.arena, middle = coder.AppendColumns(c, r.arena, element)
	if !c.IsKV {
		middle = start
	}
	r.count++
	r.value = frame.Range(r.value, middle, r.arena)
	r.source = frame.Number(r.source, at.source)
	if c.IsKV || len(r.key) > 0 {
		r.key = fill(r.key, before, 0)
		r.key = frame.Pair(r.key, uint32(start), uint32(middle))
	}
	if output != 0 || len(r.output) > 0 {
		for len(r.output) < 4*before {
			r.output = frame.Number(r.output, 0)
		}
		r.output = frame.Number(r.output, output)
	}
	if at.time != frame.InheritTime || len(r.time) > 0 {
		r.time = fill(r.time, before, frame.InheritTime)
		r.time = frame.Long(r.time, at.time)
	}
	if at.windows != nil || len(r.windows) > 0 {
		r.ownWindows(before, at.windows)
	}
}

func fill(column []byte, rows int, with int64) []byte {
	for len(column) < 8*rows {
		column = frame.Long(column, with)
	}
	return column
}

func (r *rows) ownWindows(before int, windows []Window) {
	for len(r.windows) < 4*before {
		r.windows = frame.Number(r.windows, frame.None)
	}
	if windows == nil {
		r.windows = frame.Number(r.windows, frame.None)
		return
	}
	start := len(r.setBytes)
	r.setBytes = appendWindows(r.setBytes, windows)
	r.sets = frame.Range(r.sets, start, r.setBytes)
	r.windows = frame.Number(r.windows, r.setCount)
	r.setCount++
}

// write begins a frame with the rows.
func (r *rows) write(buffer []byte) frame.Writer {
	w := frame.Start(buffer, r.count)
	w.Section(frame.Source, r.source)
	w.Section(frame.Value, r.value)
	w.Column(frame.Key, r.key)
	w.Column(frame.Time, r.time)
	w.Column(frame.Output, r.output)
	w.Column(frame.Windows, r.windows)
	if r.setCount > 0 {
		w.Entries(frame.WindowSets, r.setCount, 0, r.sets, r.setBytes)
	}
	w.Section(frame.Arena, r.arena)
	return w
}
