package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"thalweg"
)

// Lookups looks everything up: side inputs and tables.
type Lookups struct {
	Found   thalweg.Output[string]
	Numbers thalweg.SideList[int64]
	Names   thalweg.SideMultimap[string, string]
	Own     thalweg.Table[string, string] `thalweg:"own,joined"`
	Other   thalweg.Table[string, int64]
}

// Process tells what was found for an element.
func (l *Lookups) Process(ctx *thalweg.Context, element thalweg.KV[string, string]) error {
	var sum int64
	for n := range l.Numbers.All() {
		sum += n
	}
	keys := 0
	for range l.Names.Keys() {
		keys++
	}
	own, known := l.Own.Joined()
	if !known {
		own = "none"
	}
	l.Other.Prefetch(element.Value, "never")
	other := "None"
	if n, ok := l.Other.Lookup(element.Value); ok {
		other = fmt.Sprintf("Some(%d)", n)
	}
	names := joined(l.Names.Get(element.Key), "+")
	l.Found.Emit(fmt.Sprintf("%s: sum %d, names %s of %d, own %s, other %s", element.Key, sum, names, keys, own, other))
	return nil
}

// Total sums up the grouped values of a key.
type Total struct {
	Totals thalweg.Output[thalweg.KV[string, int64]]
}

// Process gives the sum.
func (t *Total) Process(ctx *thalweg.Context, element thalweg.KV[string, thalweg.Iter[int64]]) error {
	var sum int64
	for n, err := range element.Value.All() {
		if err != nil {
			return err
		}
		sum += n
	}
	t.Totals.Emit(thalweg.KV[string, int64]{Key: element.Key, Value: sum})
	return nil
}

// Walks goes over the grouped values of a key: to the first, to the last, and once more. It keeps how many it saw.
type Walks struct {
	Walked thalweg.Output[thalweg.KV[string, string]]
	Seen   thalweg.Value[int64]
}

// Process tells what it found. The key "bad" fails behind the last value.
func (w *Walks) Process(ctx *thalweg.Context, element thalweg.KV[string, thalweg.Iter[[]byte]]) error {
	var first, count, bytes, again int64
	for value := range element.Value.All() {
		first = int64(len(value))
		break
	}
	for value, err := range element.Value.All() {
		if err != nil {
			return err
		}
		count++
		bytes += int64(len(value))
	}
	for range element.Value.All() {
		again++
	}
	if element.Key == "bad" {
		return thalweg.Fail("BAD", "the key is bad")
	}
	seen, _ := w.Seen.Get()
	w.Seen.Set(seen + count)
	text := fmt.Sprintf("%d of %d bytes, the first of %d, %d again, %d seen", count, bytes, first, again, seen+count)
	w.Walked.Emit(thalweg.KV[string, string]{Key: element.Key, Value: text})
	return nil
}

// Top gives the largest numbers, the largest first.
type Top struct {
	// How many.
	N int `json:"n"`
}

// UnmarshalJSON takes the number alone too.
func (t *Top) UnmarshalJSON(text []byte) error {
	if json.Unmarshal(text, &t.N) == nil {
		return nil
	}
	type plain Top
	return json.Unmarshal(text, (*plain)(t))
}

// CreateAccumulator gives no numbers.
func (t *Top) CreateAccumulator() []int64 { return nil }

// AddInput adds a number.
func (t *Top) AddInput(top []int64, n int64) ([]int64, error) {
	if n < 0 {
		return top, thalweg.Fail("NEGATIVE", "%d is negative", n)
	}
	return append(top, n), nil
}

// MergeAccumulators puts numbers together.
func (t *Top) MergeAccumulators(a, b []int64) []int64 { return append(a, b...) }

// Compact drops what is too small.
func (t *Top) Compact(top []int64) []int64 {
	slices.SortFunc(top, func(a, b int64) int { return cmp.Compare(b, a) })
	return top[:min(len(top), t.N)]
}

// ExtractOutput gives the largest.
func (t *Top) ExtractOutput(top []int64) []int64 { return t.Compact(top) }

// Sessions gives each element a window of ten milliseconds; those that overlap merge.
type Sessions struct{}

// Assign gives the window.
func (s *Sessions) Assign(time thalweg.EventTime) ([]thalweg.Interval, error) {
	return []thalweg.Interval{{Start: time, End: time + 10}}, nil
}

// Merge merges what overlaps.
func (s *Sessions) Merge(windows []thalweg.Interval) []thalweg.Merged {
	return thalweg.MergeOverlapping(windows)
}

// Spans gives each element two windows, as long as its value says and twice that.
type Spans struct{}

// AssignElement gives the windows.
func (s *Spans) AssignElement(time thalweg.EventTime, element thalweg.KV[string, int64]) ([]thalweg.Interval, error) {
	length := thalweg.EventTime(element.Value)
	if length <= 0 {
		return nil, thalweg.Fail("LENGTH", "there is no length")
	}
	return []thalweg.Interval{{Start: time, End: time + length}, {Start: time, End: time + 2*length}}, nil
}

// FirstWord selects the first word of a line.
type FirstWord struct{}

// Key gives the word.
func (f *FirstWord) Key(line string) (string, error) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return "", thalweg.Fail("EMPTY", "the line has no word")
	}
	return words[0], nil
}
