package thalwegtest

import (
	"testing"

	"thalweg"
	"thalweg/internal/coder"
	"thalweg/internal/frame"
	"thalweg/internal/host"
)

// ran is what one call gave: the frame that was returned is the last.
type ran struct {
	frames [][]byte
	rows   []row
}

// Result is what a batch, or the timers that came due, gave.
type Result struct {
	t       testing.TB
	outputs []named
	calls   []ran
	logs    []Log
}

// Failed is an element that failed: its place in the batch, and why.
type Failed struct {
	Place   int
	Failure *thalweg.Failure
}

func (r ran) last() []byte { return r.frames[len(r.frames)-1] }

func (r ran) failed() (all []Failed, rows map[uint32]bool) {
	rows = map[uint32]bool{}
	entries, _ := frame.Ops(frame.Find(r.last(), frame.Failed), 0, 24)
	for i := range entries.Len() {
		code, _ := entries.Range(i, 8)
		message, _ := entries.Range(i, 16)
		index := entries.Number(i, 0)
		rows[index] = true
		all = append(all, Failed{r.rows[index].place, &thalweg.Failure{Code: string(code), Message: string(message)}})
	}
	return all, rows
}

// Failures are the elements that failed.
func (r *Result) Failures() (all []Failed) {
	for _, call := range r.calls {
		failed, _ := call.failed()
		all = append(all, failed...)
	}
	return all
}

// good ends the test if a timer, or the end of a window, failed.
func (r *Result) good() *Result {
	r.t.Helper()
	for _, failed := range r.Failures() {
		r.t.Fatalf("a timer failed: %v", failed.Failure)
	}
	return r
}

// Logs are the lines that the function wrote.
func (r *Result) Logs() []Log { return r.logs }

// Metric is what the batch added to a metric: a counter's sum first; of a distribution count, sum, minimum, maximum.
func (r *Result) Metric(name string) (values [4]int64, ok bool) {
	for _, call := range r.calls {
		entries, _ := frame.Ops(frame.Find(call.last(), frame.Metrics), 0, 48)
		for i := range entries.Len() {
			if found, _ := entries.Range(i, 8); string(found) == name {
				return [4]int64{entries.Long(i, 16), entries.Long(i, 24), entries.Long(i, 32), entries.Long(i, 40)}, true
			}
		}
	}
	return values, false
}

// Elements are those of an output, without those of failed elements. T is the type of the output.
func Elements[T any](r *Result, output string) (all []Element[T]) {
	r.t.Helper()
	index, is := place(r.outputs, output)
	if !is {
		r.t.Fatalf("the function has no output %q", output)
	}
	for _, call := range r.calls {
		_, failed := call.failed()
		for _, bytes := range call.frames {
			var in frame.Input
			if err := in.Parse(bytes); err != nil {
				r.t.Fatal(err)
			}
			for i := range in.Rows {
				if in.OutputOf(i) == index && !failed[in.SourceOf(i)] {
					all = append(all, element[T](r.t, call, &in, i))
				}
			}
		}
	}
	return all
}

// Values are the elements of an output without their times and windows.
func Values[T any](r *Result, output string) (all []T) {
	r.t.Helper()
	for _, element := range Elements[T](r, output) {
		all = append(all, element.Value)
	}
	return all
}

func element[T any](t testing.TB, call ran, in *frame.Input, i int) (found Element[T]) {
	t.Helper()
	if source := in.SourceOf(i); int(source) < len(call.rows) {
		found.Time, found.Windows = thalweg.EventTime(call.rows[source].time), call.rows[source].windows
	}
	if own, is := in.OwnTime(i); is {
		found.Time = thalweg.EventTime(own)
	}
	if set, is := in.OwnWindows(i); is {
		found.Windows = thalweg.WindowsOf(set)
	}
	key, value, err := in.Element(i)
	if err == nil {
		found.Value, err = coder.Columns[T](coder.Of[T](), key, value)
	}
	if err != nil {
		t.Fatalf("an output row is not of the output's type: %v", host.FailureOf(err))
	}
	return found
}
