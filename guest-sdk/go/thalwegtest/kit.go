// Package thalwegtest runs functions in an ordinary test, without Wasm and without a runner: the same loop, the same frames, and a host that keeps state in
// memory.
//
//	kit := thalwegtest.DoFn(t, &Split{}, "")
//	result := kit.Run(thalwegtest.At(0, "to be"))
//	words := thalwegtest.Values[string](result, "words") // to, be
package thalwegtest

import (
	"cmp"
	"encoding/json"
	"slices"
	"testing"

	"thalweg"
	"thalweg/internal/coder"
	"thalweg/internal/frame"
	"thalweg/internal/host"
)

// Element is an element with its event time and windows.
type Element[T any] struct {
	Time    thalweg.EventTime
	Windows []thalweg.Window
	Value   T
}

// At is an element in the global window.
func At[T any](time thalweg.EventTime, value T) Element[T] {
	return Element[T]{time, []thalweg.Window{thalweg.Global}, value}
}

// In is an element in a window.
func In[T any](time thalweg.EventTime, window thalweg.Window, value T) Element[T] {
	return Element[T]{time, []thalweg.Window{window}, value}
}

// description is what the kit reads of the description of a function.
type description struct {
	Outputs []named `json:"outputs"`
	Slots   []named `json:"slots"`
	Timers  []named `json:"timers"`
	Sides   []named `json:"side_inputs"`
	Tables  []named `json:"tables"`
	Expires bool    `json:"on_window_expiration"`
	Bundles bool    `json:"bundles"`
}

type named struct {
	Name   string `json:"name"`
	Domain string `json:"domain"`
	Lookup string `json:"lookup"`
	Eager  bool   `json:"eager"`
}

func place(all []named, name string) (uint32, bool) {
	found := slices.IndexFunc(all, func(n named) bool { return n.Name == name })
	return uint32(found), found >= 0
}

// Kit is one open DoFn, the state and timers of its keys, its side inputs and tables. All of it lives from one Run to the next.
type Kit[T any] struct {
	t        testing.TB
	instance host.Instance
	about    description
	world    *world
	coder    *coder.Coder
}

// DoFn opens a DoFn with the JSON text of its configuration. It is closed when the test ends.
func DoFn[T any, F thalweg.DoFn[T]](t testing.TB, function F, config string) *Kit[T] {
	t.Helper()
	kit, err := TryDoFn[T](t, function, config)
	if err != nil {
		t.Fatalf("the function is not opened: %v", err)
	}
	return kit
}

// TryDoFn is [DoFn] for functions that may refuse their configuration.
func TryDoFn[T any, F thalweg.DoFn[T]](t testing.TB, function F, config string) (*Kit[T], error) {
	made := thalweg.DoFnOf[T]("it", function)
	kit := &Kit[T]{t: t, world: newWorld(), coder: coder.Of[T]()}
	if err := json.Unmarshal([]byte(made.JSON), &kit.about); err != nil {
		return nil, err
	}
	instance, err := made.Open([]byte(config), kit.world)
	if err != nil {
		return nil, err
	}
	kit.instance, kit.world.bags = instance, made.First
	t.Cleanup(instance.Close)
	return kit, nil
}

// PageBytes says how many bytes of grouped values arrive with their element; what follows comes by page, as from the runner. 256 KiB without it.
func (k *Kit[T]) PageBytes(bytes int) { k.world.pageBytes = max(bytes, 1) }

// FillList fills a side input that is a list.
func FillList[T, V any](kit *Kit[T], name string, values ...V) {
	kit.t.Helper()
	var rows []row
	for _, value := range values {
		rows = append(rows, encoded(coder.Of[V](), &value))
	}
	kit.world.sides[kit.index(kit.about.Sides, name)] = rows
}

// FillMultimap fills a side input that is read by key.
func FillMultimap[T, K, V any](kit *Kit[T], name string, pairs ...thalweg.KV[K, V]) {
	kit.t.Helper()
	FillList(kit, name, pairs...)
}

// FillTable fills a table.
func FillTable[T any, K comparable, V any](kit *Kit[T], name string, entries map[K]V) {
	kit.t.Helper()
	table := map[string]string{}
	for key, value := range entries {
		pair := thalweg.KV[K, V]{Key: key, Value: value}
		row := encoded(coder.Of[thalweg.KV[K, V]](), &pair)
		table[string(row.key)] = string(row.value)
	}
	kit.world.tables[kit.index(kit.about.Tables, name)] = table
}

func (k *Kit[T]) index(all []named, name string) uint32 {
	k.t.Helper()
	found, is := place(all, name)
	if !is {
		k.t.Fatalf("the function has no %q", name)
	}
	return found
}

func (k *Kit[T]) keyed() bool {
	return len(k.about.Slots) > 0 || len(k.about.Timers) > 0 || k.about.Expires
}

// row is a row of a frame that the kit makes.
type row struct {
	place      int
	time       int64
	key, value []byte
	windows    []thalweg.Window
	kind       byte
	fire       int64
}

func encoded[V any](c *coder.Coder, value *V) row {
	all, middle := coder.AppendColumns(c, nil, value)
	if !c.IsKV {
		middle = 0
	}
	return row{key: all[:middle], value: all[middle:]}
}

// Run runs the elements as one bundle. Elements of a function with state are brought together by key, and those of a key keep their order.
func (k *Kit[T]) Run(elements ...Element[T]) *Result {
	k.t.Helper()
	var rows []row
	for i, element := range elements {
		one := encoded(k.coder, &element.Value)
		one.place, one.time, one.windows = i, int64(element.Time), element.Windows
		rows = append(rows, one)
	}
	if k.keyed() {
		slices.SortStableFunc(rows, func(a, b row) int {
			return cmp.Or(slices.Compare(a.key, b.key), cmp.Compare(string(a.windows[0].Encoded()), string(b.windows[0].Encoded())))
		})
	}
	result := &Result{t: k.t, outputs: k.about.Outputs}
	if k.about.Bundles {
		k.call(1, nil, result)
	}
	k.call(0, rows, result)
	if k.about.Bundles {
		k.call(2, nil, result)
	}
	return result
}

// AdvanceWatermark moves the watermark on: event-time timers up to it fire, in the order of time, and windows that it has passed expire with what their keys
// kept. The largest event time ends the global window too.
func (k *Kit[T]) AdvanceWatermark(to thalweg.EventTime) *Result {
	k.t.Helper()
	result := k.fire("event", int64(to))
	for _, over := range k.world.expired(to) {
		if k.about.Expires {
			last := int64(to)
			if interval, is := over.window.Interval(); is {
				last = int64(interval.End) - 1
			}
			windows := []thalweg.Window{over.window}
			k.call(0, []row{{time: last, key: []byte(over.key), windows: windows, kind: frame.Expires, fire: last}}, result)
		}
		k.world.forget(over)
	}
	return result.good()
}

// AdvanceClock moves the clock on, to milliseconds since 1970: processing-time timers up to it fire, in the order of time.
func (k *Kit[T]) AdvanceClock(toMS int64) *Result {
	k.t.Helper()
	k.world.now = toMS
	return k.fire("processing", toMS).good()
}

func (k *Kit[T]) fire(domain string, to int64) *Result {
	k.t.Helper()
	result := &Result{t: k.t, outputs: k.about.Outputs}
	for {
		due := k.world.due(to, func(family uint32) bool { return k.about.Timers[family].Domain == domain })
		if len(due) == 0 {
			return result
		}
		var rows []row
		for _, timer := range due {
			windows := []thalweg.Window{timer.group.window}
			rows = append(rows, row{
				time: timer.hold, key: []byte(timer.group.key), value: []byte(timer.tag), windows: windows,
				kind: byte(timer.family + 1), fire: timer.fire,
			})
		}
		k.call(0, rows, result)
	}
}

// Timer is a timer that is set.
type Timer struct {
	Family, Tag string
	FireMS      int64
}

// Timers are those that are set.
func (k *Kit[T]) Timers() (all []Timer) {
	for _, timer := range k.world.sorted() {
		all = append(all, Timer{k.about.Timers[timer.family].Name, timer.tag, timer.fire})
	}
	return all
}

// StateCalls is how often the function asked the host about state so far.
func (k *Kit[T]) StateCalls() int { return k.world.calls }

func (k *Kit[T]) call(op uint32, rows []row, result *Result) {
	k.t.Helper()
	k.world.pages = nil
	output, err := k.instance.Call(op, k.frame(rows))
	made := ran{frames: k.world.emitted, rows: rows}
	result.logs = append(result.logs, k.world.logs...)
	k.world.emitted, k.world.logs = nil, nil
	if err != nil {
		failure := host.FailureOf(err)
		k.t.Fatalf("the call failed: %v\n%s", failure, failure.Trace)
	}
	isEvent := func(family uint32) bool { return k.about.Timers[family].Domain == "event" }
	if !k.world.apply(output, rows, isEvent) {
		k.t.Fatal("the function gave a broken frame of changes")
	}
	made.frames = append(made.frames, slices.Clone(output))
	result.calls = append(result.calls, made)
}
