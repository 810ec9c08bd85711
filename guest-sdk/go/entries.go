package thalweg

import (
	"maps"
	"slices"
	"thalweg/internal/frame"
)

// Operations of SUBCELL_OPS.
const (
	opPut         = 0
	opAdd         = 1
	opRemove      = 2
	opClearAll    = 3
	opRemoveRange = 4
)

// change is what the rows made of an entry.
type change struct {
	op    uint32 // opPut, opAdd or opRemove
	bytes string
}

type span struct{ from, to string }

func (s span) holds(subkey string) bool { return s.from <= subkey && subkey < s.to }

// fetched is what the host has of an entry.
type fetched struct {
	bytes   string
	present bool
}

// entries is one slot with subkeys in the current group, and the changes of the groups before. What the rows change is laid over what the
// host has, which is asked only for what a row wants to know; what a row changed can be taken back.
type entries struct {
	over map[string]change
	// Whether what the host has no longer counts; from and to of what no longer counts.
	cleared bool
	removed []span
	// What the host has, as far as it was asked.
	base map[string]fetched
	undo []func()
	row  int64

	ops, bytes []byte
	count      uint32
}

func (e *entries) begin() {
	e.forget()
	e.ops, e.bytes, e.count = e.ops[:0], e.bytes[:0], 0
}

func (e *entries) forget() {
	if e.over == nil {
		e.over, e.base = map[string]change{}, map[string]fetched{}
	}
	clear(e.over)
	clear(e.base)
	e.cleared, e.removed, e.undo, e.row = false, nil, e.undo[:0], noRow
}

func (e *entries) touch(row int64) {
	if e.row != row {
		e.undo, e.row = e.undo[:0], row
	}
}

func (e *entries) lay(row int64, subkey string, over change) {
	e.touch(row)
	before, was := e.over[subkey]
	e.undo = append(e.undo, func() {
		if was {
			e.over[subkey] = before
		} else {
			delete(e.over, subkey)
		}
	})
	e.over[subkey] = over
}

func (e *entries) append(row int64, subkey string, values []byte) {
	old, was := e.over[subkey]
	switch {
	case was && old.op != opRemove:
		e.lay(row, subkey, change{old.op, old.bytes + string(values)})
	case was || e.gone(subkey):
		e.lay(row, subkey, change{opPut, string(values)})
	default:
		e.lay(row, subkey, change{opAdd, string(values)})
	}
}

func (e *entries) clear(row int64) {
	e.touch(row)
	over, removed, cleared := e.over, e.removed, e.cleared
	e.undo = append(e.undo, func() { e.over, e.removed, e.cleared = over, removed, cleared })
	e.over, e.removed, e.cleared = map[string]change{}, nil, true
}

func (e *entries) removeRange(row int64, from, to string) {
	e.touch(row)
	over, removed := maps.Clone(e.over), len(e.removed)
	e.undo = append(e.undo, func() { e.over, e.removed = over, e.removed[:removed] })
	maps.DeleteFunc(e.over, func(subkey string, _ change) bool { return span{from, to}.holds(subkey) })
	e.removed = append(e.removed, span{from, to})
}

func (e *entries) undoRow(row int64) {
	if e.row != row {
		return
	}
	for _, undo := range slices.Backward(e.undo) {
		undo()
	}
	e.undo, e.row = e.undo[:0], noRow
}

// gone says whether the host's entry of this key no longer counts.
func (e *entries) gone(subkey string) bool {
	return e.cleared || slices.ContainsFunc(e.removed, func(s span) bool { return s.holds(subkey) })
}

func (e *entries) closeGroup(group uint32) {
	if e.cleared {
		e.op(group, opClearAll, "", "")
	}
	for _, span := range e.removed {
		e.op(group, opRemoveRange, span.from, span.to)
	}
	for _, subkey := range slices.Sorted(maps.Keys(e.over)) {
		if over := e.over[subkey]; over.op != opRemove || !e.cleared {
			e.op(group, over.op, subkey, over.bytes)
		}
	}
	e.forget()
}

func (e *entries) op(group, op uint32, subkey, value string) {
	start := len(e.bytes)
	e.bytes = append(e.bytes, subkey...)
	middle := len(e.bytes)
	e.bytes = append(e.bytes, value...)
	e.ops = frame.Pair(e.ops, group, op)
	e.ops = frame.Pair(e.ops, uint32(start), uint32(middle))
	e.ops = frame.Range(e.ops, middle, e.bytes)
	e.count++
}

func (e *entries) finish(slot int, w *frame.Writer) {
	if e.count > 0 {
		w.Entries(frame.SubcellOps, uint32(slot), e.count, e.ops, e.bytes)
	}
}

// at is a slot with subkeys in the group of the current row.
type at struct {
	ctx  *Context
	slot int
}

func (a at) entries() *entries { return a.ctx.slots[a.slot].entries }

func (a at) row() int64 { return int64(a.ctx.row) }

// fetch asks the host for what it has of these keys, in one call.
func (a at) fetch(subkeys ...string) {
	e := a.entries()
	var wanted []string
	for _, key := range subkeys {
		over, was := e.over[key]
		_, known := e.base[key]
		if !e.gone(key) && !known && (!was || over.op == opAdd) {
			wanted = append(wanted, key)
		}
	}
	if len(wanted) == 0 {
		return
	}
	answer := a.ctx.host.Lookup(uint32(a.slot), questions(a.ctx.group, wanted))
	answers, _ := frame.Answers(frame.Find(answer, frame.Subcells))
	for i, key := range wanted {
		found, present := answers.Present(i)
		e.base[key] = fetched{string(found), present}
	}
}

// get gives an entry, if there is one.
func (a at) get(subkey string) ([]byte, bool) {
	a.fetch(subkey)
	e := a.entries()
	base := e.base[subkey]
	if e.gone(subkey) {
		base = fetched{}
	}
	switch over, was := e.over[subkey]; {
	case was && over.op == opPut:
		return []byte(over.bytes), true
	case was && over.op == opRemove:
		return nil, false
	case was:
		return []byte(base.bytes + over.bytes), true
	}
	return []byte(base.bytes), base.present
}

// pair is an entry.
type pair struct {
	subkey string
	bytes  []byte
}

// scan gives the entries from a key to before another, by rising key. A key of nil to go to is none.
func (a at) scan(from string, to *string) []pair {
	e, all := a.entries(), map[string][]byte{}
	var end []byte
	if to != nil {
		end = []byte(*to)
	}
	for start := []byte(from); !e.cleared && start != nil; {
		page := a.ctx.host.Scan(uint32(a.slot), a.ctx.group, start, end)
		var rows frame.Input
		if rows.Parse(page.Rows) != nil {
			break
		}
		for row := range rows.Rows {
			if key, value, err := rows.Element(row); err == nil && !e.gone(string(key)) {
				all[string(key)] = value
			}
		}
		start = page.Next
	}
	for key, over := range e.over {
		if key < from || (to != nil && key >= *to) {
			continue
		}
		switch over.op {
		case opPut:
			all[key] = []byte(over.bytes)
		case opAdd:
			all[key] = append(all[key], over.bytes...)
		case opRemove:
			delete(all, key)
		}
	}
	found := make([]pair, 0, len(all))
	for _, key := range slices.Sorted(maps.Keys(all)) {
		found = append(found, pair{key, all[key]})
	}
	return found
}

// questions is the frame of a lookup.
func questions(group uint32, keys []string) []byte {
	var entries, bytes []byte
	for _, key := range keys {
		start := len(bytes)
		bytes = append(bytes, key...)
		entries = frame.Pair(entries, group, 0)
		entries = frame.Range(entries, start, bytes)
	}
	w := frame.Start(nil, 0)
	w.Entries(frame.Subkeys, uint32(len(keys)), 0, entries, bytes)
	return w.Bytes()
}
