package thalweg

import (
	"cmp"
	"slices"
	"thalweg/internal/coder"
	"thalweg/internal/frame"
	"thalweg/internal/host"
)

// WindowFn gives elements their windows by their time. The methods of [Opener] and [Merger] are called if it has them.
type WindowFn interface {
	// Assign gives the windows of an element, at least one. An element that cannot have windows fails the bundle.
	Assign(time EventTime) ([]Interval, error)
}

// ElementWindowFn gives elements their windows by their time and value.
type ElementWindowFn[In any] interface {
	// AssignElement gives the windows of an element, at least one. An element that cannot have windows fails the bundle.
	AssignElement(time EventTime, element In) ([]Interval, error)
}

// Merged is a window that others merge into, and the places of those that it takes the place of.
type Merged struct {
	Into    Interval
	Members []int
}

// Merger is a WindowFn whose windows merge. [MergeOverlapping] is what sessions want.
type Merger interface {
	// Merge says which of a key's windows become one; windows that are not named stay as they are.
	Merge(windows []Interval) []Merged
}

// MergeOverlapping merges windows that share an instant into the window that spans them.
func MergeOverlapping(windows []Interval) []Merged {
	return MergeWhere(windows, func(a, b Interval) bool { return b.Start < a.End })
}

// MergeWhere merges each window, in the order of their starts, into the one before where a test of the two says so.
func MergeWhere(windows []Interval, together func(before, next Interval) bool) []Merged {
	places := make([]int, len(windows))
	for i := range places {
		places[i] = i
	}
	slices.SortStableFunc(places, func(a, b int) int {
		return cmp.Or(cmp.Compare(windows[a].Start, windows[b].Start), cmp.Compare(windows[a].End, windows[b].End))
	})
	var merged []Merged
	for _, place := range places {
		if last := len(merged) - 1; last >= 0 && together(merged[last].Into, windows[place]) {
			merged[last].Into.End = max(merged[last].Into.End, windows[place].End)
			merged[last].Members = append(merged[last].Members, place)
			continue
		}
		merged = append(merged, Merged{windows[place], []int{place}})
	}
	return slices.DeleteFunc(merged, func(m Merged) bool { return len(m.Members) < 2 })
}

// RegisterWindowFn gives the component a WindowFn under a name.
func RegisterWindowFn[F WindowFn](name string, function F) {
	host.Functions = append(host.Functions, WindowFnOf(name, function))
}

// RegisterElementWindowFn gives the component a WindowFn that looks at elements under a name.
func RegisterElementWindowFn[In any, F ElementWindowFn[In]](name string, function F) {
	host.Functions = append(host.Functions, ElementWindowFnOf[In](name, function))
}

// WindowFnOf is a WindowFn under a name. It is for package thalwegtest.
func WindowFnOf[F WindowFn](name string, function F) host.Function {
	return windowFn(name, coder.Of[[]byte](), false, function, func(made any) assign {
		return func(time EventTime, _, _ []byte) ([]Interval, error) { return made.(WindowFn).Assign(time) }
	})
}

// ElementWindowFnOf is a WindowFn that looks at elements under a name. It is for package thalwegtest.
func ElementWindowFnOf[In any, F ElementWindowFn[In]](name string, function F) host.Function {
	in := coder.Of[In]()
	return windowFn(name, in, true, function, func(made any) assign {
		return func(time EventTime, key, value []byte) ([]Interval, error) {
			element, err := coder.Columns[In](in, key, value)
			if err != nil {
				return nil, decodeFailure(err)
			}
			return made.(ElementWindowFn[In]).AssignElement(time, element)
		}
	})
}

// assign gives the windows of time, key and value.
type assign func(time EventTime, key, value []byte) ([]Interval, error)

func windowFn(name string, in *coder.Coder, sees bool, function any, of func(made any) assign) host.Function {
	noMembers(function)
	rest := `"kind":"windowfn","input":` + in.JSON + `,"outputs":[]`
	if _, is := function.(Merger); is {
		rest += `,"merges":true`
	}
	if sees {
		rest += `,"element":true`
	}
	return host.Function{Name: name, JSON: entry(name, rest+capabilities(function)), Open: func(config []byte, h host.Host) (host.Instance, error) {
		made := fresh(function)
		if err := open(made, config, newContext(h, &description{})); err != nil {
			return nil, err
		}
		return &windows{function: made, assign: of(made), host: h}, nil
	}}
}

// windows is a WindowFn that is open.
type windows struct {
	function any
	assign   assign
	host     host.Host
	input    frame.Input
	values   values
}

// Operations of a WindowFn.
const (
	opAssign       = 32
	opMergeWindows = 33
)

func (w *windows) Call(op uint32, input []byte) (output []byte, err error) {
	defer recovered(&err)
	if w.input.Parse(input) != nil {
		return nil, host.BadFrame("input frame")
	}
	w.host.Moment(w.input.Now, w.input.Seed)
	w.values.begin()
	merger, merges := w.function.(Merger)
	switch {
	case op == opAssign:
		return w.assignAll()
	case op == opMergeWindows && merges:
		return w.mergeAll(merger)
	}
	return nil, host.NoOperation("WindowFn", op)
}

func (w *windows) assignAll() ([]byte, error) {
	var ranges, sets, index []byte
	for row := range w.input.Rows {
		key, value, err := w.input.Element(row)
		if err != nil {
			return nil, host.BadFrame("input frame")
		}
		found, err := w.assign(EventTime(w.input.TimeOf(row)), key, value)
		if err == nil && len(found) == 0 {
			err = Fail("NO_WINDOW", "the element has no window")
		}
		if err != nil {
			w.values.failed.add(row, err)
			found = []Interval{{0, 1}}
		}
		start, all := len(sets), make([]Window, len(found))
		for i, interval := range found {
			all[i] = interval.Window()
		}
		sets = appendWindows(sets, all)
		ranges = frame.Range(ranges, start, sets)
		index = frame.Number(index, uint32(row))
	}
	out := frame.Start(w.values.buffer, w.input.Rows)
	out.Section(frame.Source, index)
	out.Section(frame.Windows, index)
	out.Entries(frame.WindowSets, uint32(w.input.Rows), 0, ranges, sets)
	w.values.failed.finish(&out)
	w.values.buffer = out.Bytes()
	return w.values.buffer, nil
}

func (w *windows) mergeAll(merger Merger) ([]byte, error) {
	targets := make([]byte, 0, 4*w.input.Rows)
	for first := 0; first < w.input.Rows; {
		var found []Interval
		end := first
		for ; end < w.input.Rows && w.input.GroupOf(end) == w.input.GroupOf(first); end++ {
			_, value, err := w.input.Element(end)
			window, is := decodeInterval(value)
			if err != nil || !is {
				return nil, host.BadFrame("input frame")
			}
			found = append(found, window)
		}
		places := make([]uint32, len(found))
		for i := range places {
			places[i] = frame.None
		}
		for _, merged := range merger.Merge(found) {
			place := w.put(merged.Into)
			for _, member := range merged.Members {
				if member < 0 || member >= len(places) || places[member] != frame.None {
					return nil, Fail("MERGE", "a merge names a window that is not there, or twice")
				}
				places[member] = place
			}
		}
		for i, place := range places {
			if place == frame.None {
				place = w.put(found[i])
			}
			targets = frame.Number(targets, place)
		}
		first = end
	}
	out := frame.Start(w.values.buffer, w.values.count)
	out.Section(frame.Value, w.values.ranges)
	out.Section(frame.Arena, w.values.arena)
	out.Section(frame.Target, targets)
	w.values.buffer = out.Bytes()
	return w.values.buffer, nil
}

// put adds a window that there is afterwards, and gives its place.
func (w *windows) put(window Interval) uint32 {
	start := len(w.values.arena)
	w.values.arena = window.append(w.values.arena)
	w.values.end(start)
	return uint32(w.values.count - 1)
}

func (w *windows) Close() {
	if closer, is := w.function.(Closer); is {
		closer.Close()
	}
}
