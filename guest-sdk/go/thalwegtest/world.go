package thalwegtest

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"thalweg"
	"thalweg/internal/frame"
	"thalweg/internal/host"
)

// How many rows a page has, so that tests see more than one.
const pageRows = 3

// group is a key in a window.
type group struct {
	key    string
	window thalweg.Window
}

func groupOf(r row) group {
	window := thalweg.Global
	if len(r.windows) > 0 {
		window = r.windows[0]
	}
	return group{string(r.key), window}
}

// cell is where a slot keeps what a group has.
type cell struct {
	group group
	slot  uint32
}

// timerID is which timer it is.
type timerID struct {
	group  group
	family uint32
	tag    string
}

type setTimer struct {
	timerID
	fire, hold int64
}

// Log is a line that a function wrote to the log.
type Log struct {
	Level   thalweg.Level
	Message string
}

// world is what the runner would keep and do, in memory, and the imports over it.
type world struct {
	// How long the first of some values is, by slot, of bags.
	bags    map[int]func(values []byte) (int, error)
	cells   map[cell]string
	entries map[cell]map[string]string
	timers  map[timerID]setTimer
	sides   map[uint32][]row
	tables  map[uint32]map[string]string
	// Those of the running call.
	groups  []group
	emitted [][]byte
	logs    []Log
	// The pages of its lists.
	pages     []listPage
	pageBytes int
	calls     int
	now       int64
}

// listPage is elements of a list, and whether it goes on behind them.
type listPage struct {
	elements []byte
	more     bool
}

func newWorld() *world {
	return &world{
		cells: map[cell]string{}, entries: map[cell]map[string]string{}, timers: map[timerID]setTimer{},
		sides: map[uint32][]row{}, tables: map[uint32]map[string]string{},
	}
}

func (w *world) at(index uint32) (group, bool) {
	if int(index) >= len(w.groups) {
		return group{}, false
	}
	return w.groups[index], true
}

// cellsSection adds the cells of a slot for some groups of the call.
func (w *world) cellsSection(to *frame.Writer, slot uint32, groups []uint32) {
	var entries, bytes []byte
	for _, index := range groups {
		start := len(bytes)
		if group, is := w.at(index); is {
			bytes = append(bytes, w.cells[cell{group, slot}]...)
		}
		entries = frame.Range(entries, start, bytes)
	}
	to.Entries(frame.Cells, slot, uint32(len(groups)), entries, bytes)
}

// apply applies the changes of a call. It says false if they are broken.
func (w *world) apply(output []byte, rows []row, event func(family uint32) bool) bool {
	for id, payload := range frame.All(output) {
		good := true
		switch id {
		case 0:
			good = false
		case frame.CellOps:
			good = w.cellOps(payload)
		case frame.SubcellOps:
			good = w.entryOps(payload)
		case frame.TimerOps:
			good = w.timerOps(payload, rows, event)
		}
		if !good {
			return false
		}
	}
	return true
}

func (w *world) cellOps(payload []byte) bool {
	ops, err := frame.Ops(payload, 4, 16)
	for i := range ops.Len() {
		group, known := w.at(ops.Number(i, 0))
		value, good := ops.Range(i, 8)
		if !known || !good {
			return false
		}
		id := cell{group, ops.First}
		if ops.Number(i, 4) == 1 {
			w.cells[id] += string(value)
		} else {
			w.cells[id] = string(value)
		}
	}
	return err == nil
}

func (w *world) entryOps(payload []byte) bool {
	ops, err := frame.Ops(payload, 4, 24)
	for i := range ops.Len() {
		group, known := w.at(ops.Number(i, 0))
		subkey, good := ops.Range(i, 8)
		value, also := ops.Range(i, 16)
		if !known || !good || !also {
			return false
		}
		id := cell{group, ops.First}
		if w.entries[id] == nil {
			w.entries[id] = map[string]string{}
		}
		entries := w.entries[id]
		switch ops.Number(i, 4) {
		case 0:
			entries[string(subkey)] = string(value)
		case 1:
			entries[string(subkey)] += string(value)
		case 2:
			delete(entries, string(subkey))
		case 3:
			clear(entries)
		case 4:
			maps.DeleteFunc(entries, func(key, _ string) bool { return key >= string(subkey) && key < string(value) })
		default:
			return false
		}
	}
	return err == nil
}

func (w *world) timerOps(payload []byte, rows []row, event func(family uint32) bool) bool {
	ops, err := frame.Ops(payload, 0, 40)
	for i := range ops.Len() {
		group, known := w.at(ops.Number(i, 0))
		tag, good := ops.Range(i, 32)
		source := ops.Number(i, 12)
		if !known || !good || int(source) >= len(rows) {
			return false
		}
		id := timerID{group, ops.Number(i, 4), string(tag)}
		fire, hold := ops.Long(i, 16), ops.Long(i, 24)
		switch {
		case hold != frame.InheritTime:
		case event(id.family):
			hold = fire
		default:
			hold = rows[source].time
		}
		if ops.Number(i, 8) == 0 {
			w.timers[id] = setTimer{id, fire, hold}
		} else {
			delete(w.timers, id)
		}
	}
	return err == nil
}

func compareGroups(a, b group) int {
	return cmp.Or(strings.Compare(a.key, b.key), strings.Compare(string(a.window.Encoded()), string(b.window.Encoded())))
}

// sorted gives the timers by key, window, family and tag.
func (w *world) sorted() []setTimer {
	return slices.SortedFunc(maps.Values(w.timers), func(a, b setTimer) int {
		return cmp.Or(compareGroups(a.group, b.group), cmp.Compare(a.family, b.family), strings.Compare(a.tag, b.tag))
	})
}

// due takes the timers of the earliest instant that is due.
func (w *world) due(to int64, ours func(family uint32) bool) (due []setTimer) {
	for _, timer := range w.sorted() {
		if !ours(timer.family) || timer.fire > to || (len(due) > 0 && timer.fire > due[0].fire) {
			continue
		}
		if len(due) > 0 && timer.fire < due[0].fire {
			due = nil
		}
		due = append(due, timer)
	}
	for _, timer := range due {
		delete(w.timers, timer.timerID)
	}
	return due
}

// expired gives the groups that keep something and whose window is over.
func (w *world) expired(watermark thalweg.EventTime) []group {
	over := map[group]bool{}
	look := func(g group) {
		if interval, is := g.window.Interval(); is && interval.End <= watermark || !is && watermark == 1<<63-1 {
			over[g] = true
		}
	}
	for id, cell := range w.cells {
		if cell != "" {
			look(id.group)
		}
	}
	for id, entries := range w.entries {
		if len(entries) > 0 {
			look(id.group)
		}
	}
	return slices.SortedFunc(maps.Keys(over), compareGroups)
}

// forget drops what a group keeps.
func (w *world) forget(over group) {
	maps.DeleteFunc(w.cells, func(id cell, _ string) bool { return id.group == over })
	maps.DeleteFunc(w.entries, func(id cell, _ map[string]string) bool { return id.group == over })
	maps.DeleteFunc(w.timers, func(id timerID, _ setTimer) bool { return id.group == over })
}

func (w *world) Log(level uint8, _ int64, message string) {
	w.logs = append(w.logs, Log{thalweg.Level(level), message})
}

func (w *world) Emit(rows []byte) { w.emitted = append(w.emitted, slices.Clone(rows)) }

func (w *world) Moment(int64, uint64) {}

func (w *world) Read(slot uint32, groups []uint32) []byte {
	w.calls++
	answer := frame.Start(nil, 0)
	w.cellsSection(&answer, slot, groups)
	return answer.Bytes()
}

// questions reads the groups and keys of a lookup.
func questions(subkeys []byte) (groups []uint32, keys []string) {
	asked, _ := frame.Ops(frame.Find(subkeys, frame.Subkeys), 0, 16)
	for i := range asked.Len() {
		key, _ := asked.Range(i, 8)
		groups, keys = append(groups, asked.Number(i, 0)), append(keys, string(key))
	}
	return groups, keys
}

func (w *world) Lookup(slot uint32, subkeys []byte) []byte {
	w.calls++
	groups, keys := questions(subkeys)
	found := map[string]string{}
	for i, key := range keys {
		if group, is := w.at(groups[i]); is {
			if value, present := w.entries[cell{group, slot}][key]; present {
				found[key] = value
			}
		}
	}
	answer := frame.Start(nil, 0)
	answers(&answer, frame.Subcells, uint32(len(keys)), 0, found, keys)
	return answer.Bytes()
}

// page is a frame of keys and values.
func page(rows []row) []byte {
	var key, value, arena []byte
	for _, row := range rows {
		start := len(arena)
		arena = append(arena, row.key...)
		key = frame.Range(key, start, arena)
		start = len(arena)
		arena = append(arena, row.value...)
		value = frame.Range(value, start, arena)
	}
	w := frame.Start(nil, len(rows))
	w.Section(frame.Key, key)
	w.Section(frame.Value, value)
	w.Section(frame.Arena, arena)
	return w.Bytes()
}

func (w *world) Scan(slot, index uint32, start, end []byte) host.Page {
	w.calls++
	group, _ := w.at(index)
	entries := w.entries[cell{group, slot}]
	var rows []row
	if first, is := w.bags[int(slot)]; is {
		for rest := []byte(w.cells[cell{group, slot}]); len(rest) > 0; {
			length, err := first(rest)
			if err != nil || length == 0 {
				break
			}
			rows, rest = append(rows, row{value: rest[:length]}), rest[length:]
		}
		return part(rows, start)
	}
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		if key >= string(start) && (end == nil || key < string(end)) {
			rows = append(rows, row{key: []byte(key), value: []byte(entries[key])})
		}
	}
	if len(rows) <= pageRows {
		return host.Page{Rows: page(rows)}
	}
	return host.Page{Rows: page(rows[:pageRows]), Next: rows[pageRows].key}
}

// part is a page of rows, from where the token says.
func part(rows []row, start []byte) host.Page {
	from := 0
	if len(start) == 8 {
		from = int(binary.LittleEndian.Uint64(start))
	}
	end := min(len(rows), from+pageRows)
	found := host.Page{Rows: page(rows[from:end])}
	if end < len(rows) {
		found.Next = binary.LittleEndian.AppendUint64(nil, uint64(end))
	}
	return found
}

func (w *world) Iterable(token []byte) host.Page {
	at := int(binary.LittleEndian.Uint64(token))
	found := host.Page{Rows: page([]row{{value: w.pages[at].elements}})}
	if w.pages[at].more {
		found.Next = binary.LittleEndian.AppendUint64(nil, uint64(at)+1)
	}
	return found
}

func (w *world) Side(input, _ uint32, key *[]byte, start []byte) host.Page {
	var rows []row
	for _, one := range w.sides[input] {
		switch {
		case key == nil:
			rows = append(rows, one)
		case string(one.key) == string(*key):
			rows = append(rows, row{value: one.value})
		}
	}
	return part(rows, start)
}

func (w *world) SideKeys(input, _ uint32, start []byte) host.Page {
	keys := map[string]bool{}
	for _, one := range w.sides[input] {
		keys[string(one.key)] = true
	}
	var rows []row
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		rows = append(rows, row{value: []byte(key)})
	}
	return part(rows, start)
}

func (w *world) Table(table uint32, keys []byte) []byte {
	_, asked := questions(keys)
	answer := frame.Start(nil, 0)
	answers(&answer, frame.Subcells, uint32(len(asked)), 0, w.tables[table], asked)
	return answer.Bytes()
}
