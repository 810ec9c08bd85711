package thalwegtest

import (
	"cmp"
	"encoding/binary"

	"thalweg/internal/coder"
	"thalweg/internal/frame"
	"thalweg/internal/host"
)

// columns are those of a frame that a kit makes.
type columns struct {
	kind, time, group, fire, key, value, windows []byte
	groups, sets, setBytes, arena                []byte
	groupCount, setCount, largeCount             uint32
	large, tokens                                []byte
	timers                                       bool
}

func (c *columns) bytes(of []byte) (start int) {
	start = len(c.arena)
	c.arena = append(c.arena, of...)
	return start
}

// add adds a row; newGroup says whether a group begins with it.
func (c *columns) add(one row, newGroup bool) {
	start := c.bytes(one.key)
	keyEnd := len(c.arena)
	c.key = frame.Range(c.key, start, c.arena)
	if newGroup {
		set := len(c.setBytes)
		for _, window := range one.windows {
			encoded := window.Encoded()
			c.setBytes = binary.LittleEndian.AppendUint32(c.setBytes, uint32(len(encoded)))
			c.setBytes = append(c.setBytes, encoded...)
		}
		c.sets = frame.Range(c.sets, set, c.setBytes)
		c.groups = frame.Pair(c.groups, uint32(start), uint32(keyEnd))
		c.groups = frame.Pair(c.groups, c.setCount, 0)
		c.setCount++
		c.groupCount++
	}
	c.group = frame.Number(c.group, c.groupCount-1)
	c.windows = frame.Number(c.windows, c.setCount-1)
	valueStart := c.bytes(one.value)
	c.value = frame.Range(c.value, valueStart, c.arena)
	c.time = frame.Long(c.time, one.time)
	c.fire = frame.Long(c.fire, one.fire)
	c.kind = append(c.kind, one.kind)
	c.timers = c.timers || one.kind != 0
}

// frame makes the input of a call.
func (k *Kit[T]) frame(rows []row) []byte {
	var c columns
	k.world.groups = nil
	for i, row := range rows {
		id := groupOf(row)
		last := len(k.world.groups) - 1
		begins := last < 0 || k.world.groups[last] != id
		if begins {
			k.world.groups = append(k.world.groups, id)
		}
		if head, token := k.cut(row); token != nil {
			start := len(c.tokens)
			c.tokens = append(c.tokens, token...)
			c.large = frame.Range(frame.Pair(c.large, uint32(i), 0), start, c.tokens)
			c.largeCount++
			row.value = head
		}
		c.add(row, begins)
	}
	w := frame.Start(nil, len(rows))
	if c.timers {
		w.Section(frame.Kind, c.kind)
		w.Section(frame.Fire, c.fire)
	}
	if c.largeCount > 0 {
		w.Entries(frame.Large, c.largeCount, 0, c.large, c.tokens)
	}
	w.Section(frame.Time, c.time)
	w.Section(frame.Value, c.value)
	w.Section(frame.Arena, c.arena)
	w.Section(frame.Windows, c.windows)
	w.Entries(frame.WindowSets, c.setCount, 0, c.sets, c.setBytes)
	w.Section(frame.Clock, frame.Long(nil, k.world.now))
	w.Section(frame.Seed, frame.Long(nil, 7))
	for index, table := range k.about.Tables {
		if table.Lookup == "key" {
			var keys []string
			for _, row := range rows {
				keys = append(keys, string(row.key))
			}
			answers(&w, frame.TableCells, uint32(index), uint32(len(keys)), k.world.tables[uint32(index)], keys)
		}
	}
	if !k.keyed() {
		w.Section(frame.Key, c.key)
		return w.Bytes()
	}
	w.Section(frame.Group, c.group)
	w.Entries(frame.Groups, c.groupCount, 0, c.groups, nil)
	all := make([]uint32, c.groupCount)
	for i := range all {
		all[i] = uint32(i)
	}
	for index, slot := range k.about.Slots {
		if slot.Eager {
			k.world.cellsSection(&w, uint32(index), all)
		}
	}
	return w.Bytes()
}

// cut gives the beginning of a list that is longer than a page, and the token of the rest.
func (k *Kit[T]) cut(one row) (head, token []byte) {
	most := cmp.Or(k.world.pageBytes, host.PageBytes)
	if one.kind != 0 || len(one.value) <= most {
		return nil, nil
	}
	parts := coder.Parts(k.coder, one.value, most)
	if len(parts) < 2 {
		return nil, nil
	}
	token = binary.LittleEndian.AppendUint64(nil, uint64(len(k.world.pages)))
	for i, part := range parts[1:] {
		k.world.pages = append(k.world.pages, listPage{part, i+2 < len(parts)})
	}
	return parts[0], token
}

// answers adds what a table of bytes has for some keys.
func answers(w *frame.Writer, id, first, second uint32, table map[string]string, keys []string) {
	var entries, bytes []byte
	for _, key := range keys {
		found, present := table[key]
		start := len(bytes)
		bytes = append(bytes, found...)
		flag := uint32(0)
		if present {
			flag = 1
		}
		entries = frame.Pair(entries, flag, 0)
		entries = frame.Range(entries, start, bytes)
	}
	w.Entries(id, first, second, entries, bytes)
}
