package thalweg

import (
	"thalweg/internal/frame"
	"thalweg/internal/host"
)

// Groups whose cells are read together when a slot that is not eager is first used.
const readAhead = 64

const noRow = -1

// Operations of CELL_OPS.
const (
	opSet    = 0
	opAppend = 1
	opClear  = 2
)

// cells is one slot of the kind value or bag: its cell in the current group, and the changes of the groups before. A cell is what the
// host has and what the rows so far made of it; what a row made can be taken back.
type cells struct {
	eager bool
	// What the host has, once loaded.
	base   []byte
	loaded bool
	// What the rows added; the whole cell if over is set.
	new  []byte
	over bool
	// What undoing the row needs: new was kept bytes long, or stands in saved if the row replaced it.
	row      int64
	kept     int
	wasOver  bool
	replaced bool
	saved    []byte

	ops, bytes []byte
	count      uint32
	// The last page read from the host, and the group it begins with.
	page      frame.Table
	pageGroup uint32
}

func (c *cells) begin() {
	c.reset()
	c.ops, c.bytes, c.count = c.ops[:0], c.bytes[:0], 0
	c.page = frame.Table{}
}

func (c *cells) reset() {
	c.base, c.loaded, c.over, c.row, c.replaced = nil, false, false, noRow, false
	c.new = c.new[:0]
}

func (c *cells) touch(row int64) {
	if c.row != row {
		c.row, c.kept, c.wasOver, c.replaced = row, len(c.new), c.over, false
	}
}

// replace gives the place of the new cell.
func (c *cells) replace(row int64) []byte {
	c.touch(row)
	if !c.replaced {
		c.replaced = true
		c.new, c.saved = c.saved, c.new
	}
	c.over = true
	return c.new[:0]
}

// empty empties the cell.
func (c *cells) empty(row int64) { c.new = c.replace(row) }

func (c *cells) undo(row int64) {
	if c.row != row {
		return
	}
	if c.replaced {
		c.new, c.saved = c.saved, c.new
	}
	c.new = c.new[:c.kept]
	c.over, c.row, c.replaced = c.wasOver, noRow, false
}

func (c *cells) closeGroup(group uint32) {
	op := uint32(opAppend)
	switch {
	case c.over && len(c.new) > 0:
		op = opSet
	case c.over:
		op = opClear
	case len(c.new) == 0:
		c.reset()
		return
	}
	start := len(c.bytes)
	c.bytes = append(c.bytes, c.new...)
	c.ops = frame.Pair(c.ops, group, op)
	c.ops = frame.Range(c.ops, start, c.bytes)
	c.count++
	c.reset()
}

func (c *cells) finish(slot int, w *frame.Writer) {
	if c.count > 0 {
		w.Entries(frame.CellOps, uint32(slot), c.count, c.ops, c.bytes)
	}
}

// load asks the host for the cell, and with it for those of groups that follow.
func (c *cells) load(slot int, group, groups uint32, from host.Host) {
	if c.loaded {
		return
	}
	at := int(group) - int(c.pageGroup)
	if at < 0 || at >= c.page.Len() {
		wanted := make([]uint32, 0, readAhead)
		for next := group; next < groups && len(wanted) < readAhead; next++ {
			wanted = append(wanted, next)
		}
		c.page, _ = frame.CellTable(frame.Find(from.Read(uint32(slot), wanted), frame.Cells))
		c.pageGroup, at = group, 0
	}
	c.base, c.loaded = c.page.Get(at), true
}
