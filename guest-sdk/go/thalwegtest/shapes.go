package thalwegtest

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"thalweg"
	"thalweg/internal/coder"
	"thalweg/internal/frame"
	"thalweg/internal/host"
)

// valued is a row of a frame for what is no DoFn.
type valued struct {
	group      uint32
	time       int64
	key, value []byte
}

// grouped makes a frame of values in groups.
func grouped(rows []valued) []byte {
	var c columns
	groups := uint32(0)
	for _, one := range rows {
		c.add(row{time: one.time, key: one.key, value: one.value}, false)
		groups = max(groups, one.group+1)
	}
	w := frame.Start(nil, len(rows))
	w.Section(frame.Time, c.time)
	w.Section(frame.Key, c.key)
	w.Section(frame.Value, c.value)
	w.Section(frame.Arena, c.arena)
	var group []byte
	for _, one := range rows {
		group = frame.Number(group, one.group)
	}
	w.Section(frame.Group, group)
	w.Entries(frame.Groups, groups, 0, make([]byte, 16*groups), nil)
	return w.Bytes()
}

// call runs an operation and gives the values of its rows, unless one of them failed.
func call(instance host.Instance, op uint32, input []byte) (values [][]byte, output []byte, err error) {
	output, err = instance.Call(op, input)
	if err != nil {
		return nil, nil, err
	}
	failed, _ := frame.Ops(frame.Find(output, frame.Failed), 0, 24)
	if failed.Len() > 0 {
		code, _ := failed.Range(0, 8)
		message, _ := failed.Range(0, 16)
		return nil, nil, &thalweg.Failure{Code: string(code), Message: string(message)}
	}
	var in frame.Input
	if err := in.Parse(output); err != nil {
		return nil, nil, err
	}
	for i := range in.Rows {
		_, value, err := in.Element(i)
		if err != nil {
			return nil, nil, err
		}
		values = append(values, slices.Clone(value))
	}
	return values, slices.Clone(output), nil
}

func opened(t testing.TB, function host.Function, config string) host.Instance {
	t.Helper()
	instance, err := function.Open([]byte(config), newWorld())
	if err != nil {
		t.Fatalf("the function is not opened: %v", err)
	}
	t.Cleanup(instance.Close)
	return instance
}

// CombineKit is an open CombineFn.
type CombineKit[I, O any] struct {
	instance host.Instance
}

// CombineFn opens a CombineFn with the JSON text of its configuration.
func CombineFn[I, A, O any, F thalweg.CombineFn[I, A, O]](t testing.TB, function F, config string) *CombineKit[I, O] {
	t.Helper()
	return &CombineKit[I, O]{opened(t, thalweg.CombineFnOf[I, A, O]("it", function), config)}
}

// Combine combines values as a pipeline may: whole, one by one, in parts of every length and in falling order, merged and compacted. All ways have to
// agree, by their encodings; two that do not are an error.
func (k *CombineKit[I, O]) Combine(values ...I) (result O, err error) {
	var all [][]byte
	for _, value := range values {
		all = append(all, coder.Append(coder.Of[I](), nil, &value, true))
	}
	whole, err := k.by(all, max(len(all), 1), false)
	if err != nil {
		return result, err
	}
	for part := 1; part < len(all); part++ {
		for _, turned := range []bool{false, true} {
			other, err := k.by(all, part, turned)
			if err != nil {
				return result, err
			}
			if !bytes.Equal(other, whole) {
				return result, fmt.Errorf("in parts of %d the result is another one than of all values at once", part)
			}
		}
	}
	return coder.Outer[O](coder.Of[O](), whole)
}

func (k *CombineKit[I, O]) by(all [][]byte, part int, turned bool) ([]byte, error) {
	var rows []valued
	for i, value := range all {
		rows = append(rows, valued{group: uint32(i / part), value: value})
	}
	input := grouped(rows)
	if len(rows) == 0 {
		// the accumulator of no values: a group without rows
		w := frame.Start(nil, 0)
		w.Entries(frame.Groups, 1, 0, make([]byte, 16), nil)
		input = w.Bytes()
	}
	values, _, err := call(k.instance, 16, input)
	if turned {
		slices.Reverse(values)
	}
	for _, op := range []uint32{19, 17, 18} {
		if err != nil {
			return nil, err
		}
		rows = rows[:0]
		for i, value := range values {
			one := valued{value: value}
			if op == 19 {
				one.group = uint32(i)
			}
			rows = append(rows, one)
		}
		values, _, err = call(k.instance, op, grouped(rows))
	}
	if err != nil {
		return nil, err
	}
	return values[0], nil
}

// WindowKit is an open WindowFn.
type WindowKit[In any] struct {
	instance host.Instance
}

// WindowFn opens a WindowFn with the JSON text of its configuration.
func WindowFn[F thalweg.WindowFn](t testing.TB, function F, config string) *WindowKit[[]byte] {
	t.Helper()
	return &WindowKit[[]byte]{opened(t, thalweg.WindowFnOf("it", function), config)}
}

// ElementWindowFn opens a WindowFn that looks at elements.
func ElementWindowFn[In any, F thalweg.ElementWindowFn[In]](t testing.TB, function F, config string) *WindowKit[In] {
	t.Helper()
	return &WindowKit[In]{opened(t, thalweg.ElementWindowFnOf[In]("it", function), config)}
}

// Assign gives the windows of an element.
func (k *WindowKit[In]) Assign(time thalweg.EventTime, element In) (windows []thalweg.Interval, err error) {
	one := encoded(coder.Of[In](), &element)
	_, output, err := call(k.instance, 32, grouped([]valued{{time: int64(time), key: one.key, value: one.value}}))
	if err != nil {
		return nil, err
	}
	sets, err := frame.Dictionary(frame.Find(output, frame.WindowSets))
	for _, window := range thalweg.WindowsOf(sets.Get(0)) {
		interval, _ := window.Interval()
		windows = append(windows, interval)
	}
	return windows, err
}

// Merge merges the windows of a key: the windows that there are afterwards, each with the places of those that went into it.
func (k *WindowKit[In]) Merge(windows ...thalweg.Interval) (merged []thalweg.Merged, err error) {
	var rows []valued
	for _, window := range windows {
		rows = append(rows, valued{value: window.Window().Encoded()})
	}
	values, output, err := call(k.instance, 33, grouped(rows))
	if err != nil {
		return nil, err
	}
	for _, value := range values {
		interval, _ := thalweg.WindowOf(value).Interval()
		merged = append(merged, thalweg.Merged{Into: interval})
	}
	targets := frame.Find(output, frame.Target)
	for i := range windows {
		target := &merged[frame.NumberAt(targets, i)]
		target.Members = append(target.Members, i)
	}
	return merged, nil
}

// KeyKit is an open key selector.
type KeyKit[In, K any] struct {
	instance host.Instance
}

// KeySelector opens a key selector with the JSON text of its configuration.
func KeySelector[In, K any, F thalweg.KeySelector[In, K]](t testing.TB, function F, config string) *KeyKit[In, K] {
	t.Helper()
	return &KeyKit[In, K]{opened(t, thalweg.KeySelectorOf[In, K]("it", function), config)}
}

// Keys gives the keys of some elements, in their order.
func (k *KeyKit[In, K]) Keys(elements ...In) (keys []K, err error) {
	var rows []valued
	for _, element := range elements {
		one := encoded(coder.Of[In](), &element)
		rows = append(rows, valued{key: one.key, value: one.value})
	}
	values, _, err := call(k.instance, 0, grouped(rows))
	for _, value := range values {
		key, wrong := coder.Outer[K](coder.Of[K](), value)
		if wrong != nil {
			return nil, wrong
		}
		keys = append(keys, key)
	}
	return keys, err
}
