package thalweg_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"thalweg"
	"thalweg/thalwegtest"
)

type pair = thalweg.KV[string, int64]

// sum sums per key; 0 tells what the bag holds and empties it; a negative number does much and then fails; 99 panics.
type sum struct {
	Limit int64

	Main  thalweg.Output[pair]
	Seen  thalweg.Output[string]
	Total thalweg.Value[int64] `thalweg:"total,eager"`
	Last  thalweg.Value[string]
	All   thalweg.Bag[int64]
	Marks thalweg.Map[string, int64]
	Gap   thalweg.EventTimer
	Good  thalweg.Counter
	Sizes thalweg.Distribution
}

func (s *sum) Open() error {
	if s.Limit < 0 {
		return errors.New("it is bad")
	}
	return nil
}

func (s *sum) Process(ctx *thalweg.Context, element pair) error {
	n := element.Value
	if n == 99 {
		panic("ninety-nine")
	}
	if n == 0 {
		last, known := s.Last.Get()
		if !known {
			last = "none"
		}
		s.Seen.Emit(fmt.Sprintf("%s: %v last %s", element.Key, slices.Collect(s.All.All()), last))
		s.All.Clear()
		return nil
	}
	total := s.Total.Or(0) + n
	s.Total.Set(total)
	s.All.Add(n)
	s.Last.Set(fmt.Sprint(element.Key, n))
	s.Gap.Tag(fmt.Sprint(n)).Set(n)
	s.Main.EmitAt(thalweg.EventTime(n), pair{Key: element.Key, Value: total})
	s.Good.Add(1)
	s.Sizes.Report(n)
	if n < 0 {
		s.All.Clear()
		s.Total.Clear()
		s.Marks.Put("bad", n)
		ctx.Log(thalweg.Warn, "negative")
		return thalweg.Fail("NEGATIVE", "%d is negative", n)
	}
	return nil
}

func batch(pairs ...any) (all []thalwegtest.Element[pair]) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, thalwegtest.At(100, pair{Key: pairs[i].(string), Value: int64(pairs[i+1].(int))}))
	}
	return all
}

func equal[T comparable](t *testing.T, found []T, wanted ...T) {
	t.Helper()
	if !slices.Equal(found, wanted) {
		t.Fatalf("%v and not %v", found, wanted)
	}
}

func TestOutputsHaveTheirTimesAndNames(t *testing.T) {
	result := thalwegtest.DoFn(t, &sum{}, "").Run(batch("a", 1, "a", 0, "a", 2)...)
	main := thalwegtest.Elements[pair](result, "main")
	if len(main) != 2 || main[0].Time != 1 || main[1].Value.Value != 3 || !main[0].Windows[0].IsGlobal() {
		t.Fatal(main)
	}
	seen := thalwegtest.Elements[string](result, "seen")
	if seen[0].Time != 100 || seen[0].Value != "a: [1] last a1" {
		t.Fatal(seen)
	}
}

func TestStateLivesOnAndStaysWithItsKey(t *testing.T) {
	kit := thalwegtest.DoFn(t, &sum{}, "")
	kit.Run(batch("a", 1, "b", 10, "a", 2)...)
	result := kit.Run(batch("b", 5, "a", 0, "b", 0, "c", 0)...)
	equal(t, thalwegtest.Values[pair](result, "main"), pair{Key: "b", Value: 15})
	equal(t, thalwegtest.Values[string](result, "seen"), "a: [1 2] last a2", "b: [10 5] last b5", "c: [] last none")
	equal(t, thalwegtest.Values[string](kit.Run(batch("a", 0)...), "seen"), "a: [] last a2")
}

func TestAFailedElementLeavesNoTraceButItsFailure(t *testing.T) {
	kit := thalwegtest.DoFn(t, &sum{}, "")
	kit.Run(batch("a", 1)...)
	// the failing element comes first, between and after others of its key
	result := kit.Run(batch("a", -1, "a", 2, "a", -2, "a", 0, "a", 3, "a", -3)...)
	equal(t, thalwegtest.Values[pair](result, "main"), pair{Key: "a", Value: 3}, pair{Key: "a", Value: 6})
	equal(t, thalwegtest.Values[string](result, "seen"), "a: [1 2] last a2")
	var failed []string
	for _, one := range result.Failures() {
		failed = append(failed, fmt.Sprint(one.Place, " ", one.Failure))
	}
	equal(t, failed, "0 NEGATIVE: -1 is negative", "2 NEGATIVE: -2 is negative", "5 NEGATIVE: -3 is negative")
	if sizes, _ := result.Metric("sizes"); sizes != [4]int64{2, 5, 2, 3} {
		t.Fatal(sizes)
	}
	if len(result.Logs()) != 3 {
		t.Fatal(result.Logs())
	}
	var set []string
	for _, timer := range kit.Timers() {
		set = append(set, timer.Tag)
	}
	equal(t, set, "1", "2", "3")
	result = kit.Run(batch("a", 0, "a", 1)...)
	equal(t, thalwegtest.Values[string](result, "seen"), "a: [3] last a3")
	equal(t, thalwegtest.Values[pair](result, "main"), pair{Key: "a", Value: 7})
}

func TestMetricsAreDeltasOfTheBatch(t *testing.T) {
	kit := thalwegtest.DoFn(t, &sum{}, "")
	result := kit.Run(batch("a", 4, "b", 6)...)
	if sizes, _ := result.Metric("sizes"); sizes != [4]int64{2, 10, 4, 6} {
		t.Fatal(sizes)
	}
	if good, _ := kit.Run(batch("a", 1)...).Metric("good"); good != [4]int64{1} {
		t.Fatal(good)
	}
	if _, told := kit.Run(batch("a", 0)...).Metric("good"); told {
		t.Fatal("nothing was counted")
	}
}

func TestLazyCellsAreReadAPageAtATimeAndWrittenWithoutACall(t *testing.T) {
	kit := thalwegtest.DoFn(t, &sum{}, "")
	var zeros []any
	for i := range 200 {
		zeros = append(zeros, fmt.Sprintf("%03d", i), 0)
	}
	kit.Run(batch(zeros...)...)
	// 200 groups in pages of 64, for the bag and for the lazy value; changes leave with the result
	if kit.StateCalls() != 4+4 {
		t.Fatal(kit.StateCalls())
	}
}

// many puts out more than fits into a frame.
type many struct{ Big thalweg.Output[[]byte] }

func (m *many) Process(ctx *thalweg.Context, n int64) error {
	for i := range 2000 {
		m.Big.Emit(slices.Repeat([]byte{byte(i)}, 400))
	}
	if n == 1 {
		return thalweg.Fail("LATE", "after all the outputs")
	}
	return nil
}

func TestOutputsOfOneElementMayBeMany(t *testing.T) {
	result := thalwegtest.DoFn(t, &many{}, "").Run(thalwegtest.At[int64](0, 0), thalwegtest.At[int64](0, 1), thalwegtest.At[int64](0, 2))
	big := thalwegtest.Values[[]byte](result, "big")
	if len(big) != 4000 || big[0][0] != 0 || big[1][0] != 1 || big[2][399] != 2 {
		t.Fatal(len(big), "the outputs of the failed element are dropped")
	}
}

func TestAConfigurationIsReadOverTheDefaultsAndMayBeRefused(t *testing.T) {
	for _, config := range []string{`{"limit": -1}`, `{"limit": "x"}`, `[`} {
		if _, err := thalwegtest.TryDoFn(t, &sum{}, config); err == nil {
			t.Fatal(config)
		}
	}
	proto := &sum{Limit: 3}
	thalwegtest.DoFn(t, proto, `{"limit": 4}`)
	if proto.Limit != 3 {
		t.Fatal("what is registered is copied")
	}
}

func TestAPanicIsTheFailureOfTheCallWithItsStack(t *testing.T) {
	instance, err := thalweg.DoFnOf[pair]("it", &sum{}).Open(nil, silent{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = instance.Call(0, keyed("a", 99))
	var failure *thalweg.Failure
	if !errors.As(err, &failure) || failure.Code != "PANIC" || failure.Message != "panic: ninety-nine" {
		t.Fatal(err)
	}
	if first, _, _ := strings.Cut(failure.Trace, "\n"); !strings.Contains(first, "(*sum).Process") {
		t.Fatal("the stack begins with the function that panicked:\n" + failure.Trace)
	}
}

// wanderer looks things up, and tells the window.
type wanderer struct {
	Found   thalweg.Output[string]
	Numbers thalweg.SideList[int64]
	Names   thalweg.SideMultimap[string, string]
	Own     thalweg.Table[string, string] `thalweg:"own,joined"`
	Other   thalweg.Table[string, *int64]
}

func (w *wanderer) Process(ctx *thalweg.Context, element pair) error {
	own, _ := w.Own.Joined()
	other, known := w.Other.Lookup(element.Key)
	window, _ := ctx.Window().Interval()
	w.Found.Emit(fmt.Sprintln(slices.Collect(w.Numbers.All()), slices.Collect(w.Names.Get(element.Key)), slices.Collect(w.Names.Keys()),
		own, known && other == nil, window.Start, window.End))
	return nil
}

func TestSideInputsTablesAndWindowsAreRead(t *testing.T) {
	kit := thalwegtest.DoFn(t, &wanderer{}, "")
	thalwegtest.FillList[pair, int64](kit, "numbers", 1, 2, 3, 4, 5, 6, 7)
	thalwegtest.FillMultimap(kit, "names", thalweg.KV[string, string]{Key: "a", Value: "Ann"}, thalweg.KV[string, string]{Key: "b", Value: "Bea"},
		thalweg.KV[string, string]{Key: "a", Value: "Ada"})
	thalwegtest.FillTable(kit, "own", map[string]string{"a": "A"})
	thalwegtest.FillTable(kit, "other", map[string]*int64{"a": nil})
	window := thalweg.Interval{Start: 0, End: 10}.Window()
	result := kit.Run(thalwegtest.In(5, window, pair{Key: "a"}), thalwegtest.In(5, window, pair{Key: "c"}))
	equal(t, thalwegtest.Values[string](result, "found"), "[1 2 3 4 5 6 7] [Ann Ada] [a b] A true 0 10\n", "[1 2 3 4 5 6 7] [] [a b]  false 0 10\n")
}

func TestOnlyADoFnHasOutputsAndAFunctionIsAPointerToAStruct(t *testing.T) {
	for _, register := range []func(){
		func() { thalweg.WindowFnOf("it", &windowed{}) },
		func() { thalweg.DoFnOf[pair]("it", value{}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("it was registered")
				}
			}()
			register()
		}()
	}
}

type windowed struct{ Out thalweg.Output[string] }

func (w *windowed) Assign(thalweg.EventTime) ([]thalweg.Interval, error) { return nil, nil }

type value struct{}

func (value) Process(*thalweg.Context, pair) error { return nil }

// retyped keeps texts where another version kept numbers.
type retyped struct {
	Out thalweg.Output[int64]
	N   thalweg.Value[int64]
}

func (r *retyped) Process(ctx *thalweg.Context, element pair) error {
	r.Out.Emit(r.N.Or(0) + thalweg.Key[int64](ctx))
	return nil
}

func TestWhatCannotBeDecodedFailsItsElementAlone(t *testing.T) {
	result := thalwegtest.DoFn(t, &retyped{}, "").Run(batch("\x01", 1, "text", 2, "\x03", 3, "", 4)...)
	equal(t, thalwegtest.Values[int64](result, "out"), 1, 3)
	var failed []string
	for _, one := range result.Failures() {
		failed = append(failed, fmt.Sprint(one.Place, one.Failure.Code))
	}
	equal(t, failed, "3DECODE", "1DECODE") // in the order of their keys
}

// words puts bytes out as a string and keeps them, whether they are UTF-8 or not.
type words struct {
	Main thalweg.Output[string]
	Last thalweg.Value[string]
	Seen thalweg.Map[string, int64]
}

func (w *words) Process(ctx *thalweg.Context, element thalweg.KV[string, []byte]) error {
	text := string(element.Value)
	switch element.Key {
	case "state":
		w.Last.Set(text)
	case "key":
		w.Seen.Put(text, 1)
	default:
		w.Main.Emit(text)
	}
	w.Main.Emit("done")
	return nil
}

func TestAStringThatIsNoUTF8FailsItsElementAlone(t *testing.T) {
	element := func(key, value string) thalwegtest.Element[thalweg.KV[string, []byte]] {
		return thalwegtest.At(0, thalweg.KV[string, []byte]{Key: key, Value: []byte(value)})
	}
	kit := thalwegtest.DoFn(t, &words{}, "")
	for _, key := range []string{"out", "state", "key"} {
		result := kit.Run(element(key, "good"), element(key, "b\xffd"), element(key, "güt"))
		failures := result.Failures()
		if len(failures) != 1 || failures[0].Place != 1 || !strings.HasPrefix(fmt.Sprint(failures[0].Failure), "ENCODE: a string of UTF-8 is wanted") {
			t.Fatal(key, failures)
		}
		wanted := []string{"good", "done", "güt", "done"}
		if key != "out" {
			wanted = []string{"done", "done"}
		}
		equal(t, thalwegtest.Values[string](result, "main"), wanted...)
	}
}
