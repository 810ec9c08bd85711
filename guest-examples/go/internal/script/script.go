// Package script runs the files of guest-examples/expected by the test kit: what every language must give for the same examples.
package script

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"thalweg"
	"thalweg/thalwegtest"
)

type file struct {
	Function string
	Config   json.RawMessage
	Tables   map[string]map[string]string
	Steps    []step
}

type step struct {
	Elements []struct {
		Time  thalweg.EventTime
		Value json.RawMessage
	}
	Watermark *thalweg.EventTime
	Combine   []json.RawMessage
	Assign    *thalweg.EventTime
	Merge     [][2]thalweg.EventTime
	Gives     any
	Fails     [][2]any
}

func read(t *testing.T, name string) (found file) {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	text, err := os.ReadFile(filepath.Join(filepath.Dir(here), "../../../expected", name+".json"))
	if err == nil {
		err = json.Unmarshal(text, &found)
	}
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// decode reads a value; a KV stands as a list of two.
func decode(t *testing.T, text json.RawMessage, to reflect.Value) {
	t.Helper()
	var err error
	if pair := []json.RawMessage(nil); isKV(to.Type()) {
		if err = json.Unmarshal(text, &pair); err == nil {
			decode(t, pair[0], to.Field(0))
			decode(t, pair[1], to.Field(1))
		}
	} else {
		err = json.Unmarshal(text, to.Addr().Interface())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func isKV(t reflect.Type) bool { return strings.HasPrefix(t.Name(), "KV[") }

// plain is a value as encoding/json reads it, under the names that rows have.
func plain(value reflect.Value) any {
	switch value.Kind() {
	case reflect.Struct:
		if isKV(value.Type()) {
			return []any{plain(value.Field(0)), plain(value.Field(1))}
		}
		row := map[string]any{}
		for i := range value.NumField() {
			field := value.Type().Field(i)
			name := field.Tag.Get("beam")
			if name == "" {
				name = strings.ToLower(field.Name)
			}
			row[name] = plain(value.Field(i))
		}
		return row
	case reflect.Slice:
		all := make([]any, value.Len())
		for i := range all {
			all[i] = plain(value.Index(i))
		}
		return all
	case reflect.Int64:
		return float64(value.Int())
	default:
		return value.Interface()
	}
}

// sorted are values as texts, without their order.
func sorted(values any) []string {
	all := []string{}
	for _, value := range values.([]any) {
		text, _ := json.Marshal(value)
		all = append(all, string(text))
	}
	slices.Sort(all)
	return all
}

// Reader gives the elements of an output.
type Reader func(*thalwegtest.Result) []any

// Output reads an output.
func Output[T any](name string) Reader {
	return func(result *thalwegtest.Result) (all []any) {
		for _, one := range thalwegtest.Elements[T](result, name) {
			value := plain(reflect.ValueOf(one.Value))
			all = append(all, map[string]any{"output": name, "time": float64(one.Time), "value": value})
		}
		return all
	}
}

// DoFn runs a script over a DoFn, in batches of several sizes.
func DoFn[In any, F thalweg.DoFn[In]](t *testing.T, name string, function F, outputs ...Reader) {
	t.Helper()
	script := read(t, name)
	for _, size := range []int{1, 2, 1000} {
		kit := thalwegtest.DoFn[In](t, function, string(script.Config))
		for table, entries := range script.Tables {
			thalwegtest.FillTable(kit, table, entries)
		}
		for place, step := range script.Steps {
			found, failed := []any{}, 0
			take := func(result *thalwegtest.Result) {
				for _, output := range outputs {
					found = append(found, output(result)...)
				}
				for _, one := range result.Failures() {
					if failed++; one.Failure.Code != step.Fails[0][1] {
						t.Errorf("step %d: %v", place, one.Failure)
					}
				}
			}
			if step.Watermark != nil {
				take(kit.AdvanceWatermark(*step.Watermark))
			}
			for batch := range slices.Chunk(step.Elements, size) {
				var elements []thalwegtest.Element[In]
				for _, one := range batch {
					var value In
					decode(t, one.Value, reflect.ValueOf(&value).Elem())
					elements = append(elements, thalwegtest.At(one.Time, value))
				}
				take(kit.Run(elements...))
			}
			if found, wanted := sorted(found), sorted(step.Gives); !slices.Equal(found, wanted) {
				t.Fatalf("step %d in batches of %d gave\n%s\nand not\n%s", place, size, strings.Join(found, "\n"), strings.Join(wanted, "\n"))
			}
			if failed != len(step.Fails) {
				t.Fatalf("step %d: %d elements failed", place, failed)
			}
		}
	}
}

// CombineFn runs a script over a CombineFn.
func CombineFn[I, A, O any, F thalweg.CombineFn[I, A, O]](t *testing.T, name string, function F) {
	t.Helper()
	script := read(t, name)
	kit := thalwegtest.CombineFn[I, A, O](t, function, string(script.Config))
	for place, step := range script.Steps {
		values := make([]I, len(step.Combine))
		for i := range values {
			decode(t, step.Combine[i], reflect.ValueOf(&values[i]).Elem())
		}
		result, err := kit.Combine(values...)
		var failure *thalweg.Failure
		switch {
		case len(step.Fails) > 0:
			if !errors.As(err, &failure) || failure.Code != step.Fails[0][1] {
				t.Fatalf("step %d: %v", place, err)
			}
		case err != nil || !reflect.DeepEqual(plain(reflect.ValueOf(result)), step.Gives):
			t.Fatalf("step %d gave %v and not %v: %v", place, result, step.Gives, err)
		}
	}
}

// WindowFn runs a script over a WindowFn that merges.
func WindowFn[F thalweg.WindowFn](t *testing.T, name string, function F) {
	t.Helper()
	script := read(t, name)
	kit := thalwegtest.WindowFn(t, function, string(script.Config))
	for place, step := range script.Steps {
		var windows []thalweg.Interval
		var err error
		if step.Assign != nil {
			windows, err = kit.Assign(*step.Assign, nil)
		} else {
			var merged []thalweg.Merged
			var all []thalweg.Interval
			for _, window := range step.Merge {
				all = append(all, thalweg.Interval{Start: window[0], End: window[1]})
			}
			merged, err = kit.Merge(all...)
			for _, one := range merged {
				windows = append(windows, one.Into)
			}
		}
		found := []any{}
		for _, window := range windows {
			found = append(found, []any{window.Start, window.End})
		}
		if err != nil || !slices.Equal(sorted(found), sorted(step.Gives)) {
			t.Fatalf("step %d gave %v and not %v: %v", place, found, step.Gives, err)
		}
	}
}
