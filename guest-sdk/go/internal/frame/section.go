// Package frame reads and writes layout 1 of a frame (wit/LAYOUT.md): an input frame as columns that point into it, and sections put
// one after the other. What the bytes of a value mean is not known here.
package frame

import (
	"encoding/binary"
	"errors"
	"iter"
)

// Section ids.
const (
	Header      = 1
	Kind        = 2
	Group       = 3
	Time        = 4
	Windows     = 5
	Pane        = 6
	Key         = 7
	Value       = 8
	Arena       = 9
	Output      = 10
	Source      = 11
	Fire        = 12
	Large       = 13
	Target      = 14
	WindowSets  = 16
	Panes       = 17
	Groups      = 18
	Cells       = 19
	CellOps     = 20
	TimerOps    = 21
	Subkeys     = 22
	Subcells    = 23
	Failed      = 24
	Metrics     = 25
	SubcellOps  = 26
	TableCells  = 27
	Clock       = 32
	Seed        = 33
	Config      = 40
	layoutOne   = 1
	sectionHead = 8
)

const (
	// InheritTime stands in the column TIME of an output frame: the row has the time of its source.
	InheritTime int64 = -1 << 63
	// None stands in the columns SOURCE and WINDOWS of an output frame: no source, the windows of the source.
	None uint32 = 0xffff_ffff
	// Expires is the kind of a row that says that a window is over.
	Expires = 255
)

// ErrBroken says that bytes are no frame of layout 1.
var ErrBroken = errors.New("not a frame of layout 1")

var order = binary.LittleEndian

// All gives the sections of a frame in the order they stand: id and payload. The id 0 stands for the place where the frame is broken.
func All(frame []byte) iter.Seq2[uint32, []byte] {
	return func(yield func(uint32, []byte) bool) {
		for len(frame) > 0 {
			if len(frame) < sectionHead {
				yield(0, nil)
				return
			}
			id, length := order.Uint32(frame), uint64(order.Uint32(frame[4:]))
			padded := (sectionHead + length + 7) &^ 7
			if padded > uint64(len(frame)) {
				yield(0, nil)
				return
			}
			if id != 0 && !yield(id, frame[sectionHead:sectionHead+length]) {
				return
			}
			frame = frame[padded:]
		}
	}
}

// Find gives the payload of the first section of an id.
func Find(frame []byte, id uint32) []byte {
	for found, payload := range All(frame) {
		if found == id {
			return payload
		}
	}
	return nil
}

// column is a payload of numbers or ranges; what is outside of it is not there.
type column []byte

func (c column) number(i int) (uint32, bool) {
	if i < 0 || i >= len(c)/4 {
		return 0, false
	}
	return order.Uint32(c[4*i:]), true
}

func (c column) long(i int) (int64, bool) {
	if i < 0 || i >= len(c)/8 {
		return 0, false
	}
	return int64(order.Uint64(c[8*i:])), true
}

// cut gives the bytes of range i of the column; false if there is no such range, or it lies outside.
func (c column) cut(i int, bytes []byte) ([]byte, bool) {
	pair, found := c.long(i)
	if !found {
		return nil, false
	}
	return slice(uint64(pair), bytes)
}

// slice cuts by a range as it stands in a column.
func slice(pair uint64, bytes []byte) ([]byte, bool) {
	start, end := pair&0xffff_ffff, pair>>32
	if start > end || end > uint64(len(bytes)) {
		return nil, false
	}
	return bytes[start:end:end], true
}

// Table is a number of entries that point into bytes of their own: a dictionary, or the cells of a slot.
type Table struct {
	// First number of the section: the slot of cells.
	First   uint32
	entries []byte
	// Bytes per entry, and where its range stands.
	size, at int
	bytes    []byte
}

func table(payload []byte, countAt, size, at int) (Table, error) {
	if len(payload) < 8 {
		return Table{}, ErrBroken
	}
	count, rest := uint64(order.Uint32(payload[countAt:])), payload[8:]
	if count*uint64(size) > uint64(len(rest)) {
		return Table{}, ErrBroken
	}
	end := int(count) * size
	return Table{order.Uint32(payload), rest[:end], size, at, rest[end:]}, nil
}

// Dictionary reads a dictionary.
func Dictionary(payload []byte) (Table, error) { return table(payload, 0, 8, 0) }

// CellTable reads a section CELLS.
func CellTable(payload []byte) (Table, error) { return table(payload, 4, 8, 0) }

// Answers reads a section SUBCELLS.
func Answers(payload []byte) (Table, error) { return table(payload, 0, 16, 8) }

// Joined reads a section TABLE_CELLS.
func Joined(payload []byte) (Table, error) { return table(payload, 4, 16, 8) }

// Ops reads a section of entries of a size, whose count stands at a place.
func Ops(payload []byte, countAt, size int) (Table, error) { return table(payload, countAt, size, 0) }

// Len is the number of entries.
func (t Table) Len() int {
	if t.size == 0 {
		return 0
	}
	return len(t.entries) / t.size
}

// Get gives the bytes of an entry; none outside the table.
func (t Table) Get(i int) []byte {
	if i < 0 || i >= t.Len() {
		return nil
	}
	found, _ := slice(order.Uint64(t.entries[i*t.size+t.at:]), t.bytes)
	return found
}

// Present gives the bytes of an entry that may be absent.
func (t Table) Present(i int) ([]byte, bool) {
	if i < 0 || i >= t.Len() || t.Number(i, 0) == 0 {
		return nil, false
	}
	return slice(order.Uint64(t.entries[i*t.size+t.at:]), t.bytes)
}

// Number gives a number of an entry, by its place in bytes.
func (t Table) Number(i, at int) uint32 { return order.Uint32(t.entries[i*t.size+at:]) }

// Long gives a long number of an entry.
func (t Table) Long(i, at int) int64 { return int64(order.Uint64(t.entries[i*t.size+at:])) }

// Range gives the bytes of a range of an entry.
func (t Table) Range(i, at int) ([]byte, bool) {
	return slice(order.Uint64(t.entries[i*t.size+at:]), t.bytes)
}

// NumberAt gives a number of a column.
func NumberAt(payload []byte, i int) uint32 {
	found, _ := column(payload).number(i)
	return found
}
