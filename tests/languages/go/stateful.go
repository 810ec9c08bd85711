package main

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/mtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/sdf"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/timers"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/rtrackers/offsetrange"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/transforms/stats"
)

func init() {
	register.DoFn6x0[beam.Window, state.Provider, timers.Provider, string, int64, func(string)](&everyState{})
	register.DoFn5x0[beam.Window, timers.Provider, string, int64, func(string)](&families{})
	register.DoFn5x0[state.Provider, timers.Provider, string, int64, func(string)](&once{})
	register.DoFn3x0[*sdf.LockRTracker, int64, func(string)](&ranges{})
	register.DoFn5x1[context.Context, *sdf.ManualWatermarkEstimator, *sdf.LockRTracker, []byte, func(beam.EventTime, string, int64), sdf.ProcessContinuation](&slow{})
	register.Emitter3[beam.EventTime, string, int64]()
	register.Function2x0(twoBases)
}

// everyState keeps of a key all kinds of state, and tells them at the end of its window.
type everyState struct {
	Sum   state.Value[int64]
	All   state.Bag[int64]
	Kinds state.Set[int64]
	Count state.Map[int64, int64]
	Most  state.Combining[int64, int64, int64]
	End   timers.EventTime
}

func (fn *everyState) ProcessElement(w beam.Window, sp state.Provider, tp timers.Provider, key string, n int64, emit func(string)) {
	sum, _, err := fn.Sum.Read(sp)
	must(err)
	must(fn.Sum.Write(sp, sum+n))
	must(fn.All.Add(sp, n))
	must(fn.Kinds.Add(sp, n%3))
	count, _, err := fn.Count.Get(sp, n%5)
	must(err)
	must(fn.Count.Put(sp, n%5, count+1))
	must(fn.Most.Add(sp, n))
	fn.End.Set(tp, w.MaxTimestamp().ToTime())
}

func (fn *everyState) OnTimer(ctx context.Context, ts beam.EventTime, sp state.Provider, tp timers.Provider, key string, timer timers.Context, emit func(string)) {
	sum, _, err := fn.Sum.Read(sp)
	must(err)
	all, _, err := fn.All.Read(sp)
	must(err)
	kinds, _, err := fn.Kinds.Keys(sp)
	must(err)
	slots, _, err := fn.Count.Keys(sp)
	must(err)
	most, _, err := fn.Most.Read(sp)
	must(err)
	counts := []string{}
	for _, slot := range slots {
		count, _, err := fn.Count.Get(sp, slot)
		must(err)
		counts = append(counts, fmt.Sprintf("%d=%d", slot, count))
	}
	sort.Strings(counts)
	sort.Slice(kinds, func(a, b int) bool { return kinds[a] < kinds[b] })
	emit(fmt.Sprintf("%s sum %d all %d kinds %v counts %s most %d", key, sum, len(all), kinds, strings.Join(counts, ","), most))
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func states(s beam.Scope) beam.PCollection {
	fn := &everyState{
		Sum:   state.MakeValueState[int64]("sum"),
		All:   state.MakeBagState[int64]("all"),
		Kinds: state.MakeSetState[int64]("kinds"),
		Count: state.MakeMapState[int64, int64]("count"),
		Most:  state.MakeCombiningState[int64, int64, int64]("most", greatest),
		End:   timers.InEventTime("end"),
	}
	return beam.ParDo(s, fn, beam.ParDo(s, keyed, numbers(s)))
}

// families sets two event-time timers with tags of their own per key and window.
type families struct {
	First, Second timers.EventTime
}

func (fn *families) ProcessElement(w beam.Window, tp timers.Provider, key string, n int64, emit func(string)) {
	fn.First.Set(tp, w.MaxTimestamp().ToTime(), timers.WithTag("x"))
	fn.First.Set(tp, w.MaxTimestamp().ToTime(), timers.WithTag("y"))
	fn.Second.Set(tp, w.MaxTimestamp().ToTime(), timers.WithTag("z"))
	fn.Second.ClearTag(tp, "z")
	fn.Second.Set(tp, w.MaxTimestamp().ToTime())
}

func (fn *families) OnTimer(ctx context.Context, w beam.Window, tp timers.Provider, key string, timer timers.Context, emit func(string)) {
	start := w.(window.IntervalWindow).Start.Milliseconds() / 1000
	emit(fmt.Sprintf("%s %d %s %q", key, start, timer.Family, timer.Tag))
}

func timerFamilies(s beam.Scope) beam.PCollection {
	in := beam.WindowInto(s, window.NewFixedWindows(50*time.Second), beam.ParDo(s, keyed, numbers(s)))
	return beam.ParDo(s, &families{First: timers.InEventTime("first"), Second: timers.InEventTime("second")}, in)
}

// once sets one processing-time timer per key, which sets itself again twice.
type once struct {
	Rounds state.Value[int64]
	Soon   timers.ProcessingTime
}

func (fn *once) ProcessElement(sp state.Provider, tp timers.Provider, key string, n int64, emit func(string)) {
	if _, set, err := fn.Rounds.Read(sp); err == nil && !set {
		must(fn.Rounds.Write(sp, 0))
		fn.Soon.Set(tp, time.Now().Add(50*time.Millisecond))
	}
}

func (fn *once) OnTimer(ctx context.Context, sp state.Provider, tp timers.Provider, key string, timer timers.Context, emit func(string)) {
	round, _, err := fn.Rounds.Read(sp)
	must(err)
	emit(fmt.Sprintf("%s %d", key, round))
	if round < 2 {
		must(fn.Rounds.Write(sp, round+1))
		fn.Soon.Set(tp, time.Now().Add(50*time.Millisecond))
	}
}

func processingTimers(s beam.Scope) beam.PCollection {
	fn := &once{Rounds: state.MakeValueState[int64]("rounds"), Soon: timers.InProcessingTime("soon")}
	return beam.ParDo(s, fn, beam.ParDo(s, keyed, numbers(s)))
}

func twoBases(_ []byte, emit func(int64)) {
	emit(0)
	emit(1000)
}

// ranges counts 50 numbers from each base on.
type ranges struct{}

func (fn *ranges) CreateInitialRestriction(base int64) offsetrange.Restriction {
	return offsetrange.Restriction{Start: base, End: base + 50}
}

func (fn *ranges) SplitRestriction(_ int64, rest offsetrange.Restriction) []offsetrange.Restriction {
	return rest.EvenSplits(4)
}

func (fn *ranges) RestrictionSize(_ int64, rest offsetrange.Restriction) float64 { return rest.Size() }

func (fn *ranges) CreateTracker(rest offsetrange.Restriction) *sdf.LockRTracker {
	return sdf.NewLockRTracker(offsetrange.NewTracker(rest))
}

func (fn *ranges) ProcessElement(tracker *sdf.LockRTracker, _ int64, emit func(string)) {
	for at := tracker.GetRestriction().(offsetrange.Restriction).Start; tracker.TryClaim(at); at++ {
		emit(fmt.Sprint(at))
	}
}

func splittable(s beam.Scope) beam.PCollection {
	return beam.ParDo(s, &ranges{}, beam.ParDo(s, twoBases, beam.Impulse(s)))
}

// slow gives ten numbers at a time and asks to be called again; its watermark follows them.
type slow struct{}

func (fn *slow) CreateInitialRestriction(_ []byte) offsetrange.Restriction {
	return offsetrange.Restriction{Start: 0, End: 100}
}

func (fn *slow) SplitRestriction(_ []byte, rest offsetrange.Restriction) []offsetrange.Restriction {
	return []offsetrange.Restriction{rest}
}

func (fn *slow) RestrictionSize(_ []byte, rest offsetrange.Restriction) float64 { return rest.Size() }

func (fn *slow) CreateTracker(rest offsetrange.Restriction) *sdf.LockRTracker {
	return sdf.NewLockRTracker(offsetrange.NewTracker(rest))
}

func (fn *slow) InitialWatermarkEstimatorState(_ beam.EventTime, _ offsetrange.Restriction, _ []byte) int64 {
	return 0
}

func (fn *slow) CreateWatermarkEstimator(millis int64) *sdf.ManualWatermarkEstimator {
	return &sdf.ManualWatermarkEstimator{State: time.UnixMilli(millis)}
}

func (fn *slow) WatermarkEstimatorState(e *sdf.ManualWatermarkEstimator) int64 {
	return e.State.UnixMilli()
}

func (fn *slow) ProcessElement(_ context.Context, e *sdf.ManualWatermarkEstimator, tracker *sdf.LockRTracker, _ []byte, emit func(beam.EventTime, string, int64)) sdf.ProcessContinuation {
	start := tracker.GetRestriction().(offsetrange.Restriction).Start
	for at := start; at < start+10; at++ {
		if !tracker.TryClaim(at) {
			return sdf.StopProcessing()
		}
		emit(mtime.FromMilliseconds(at*1000), "all", at)
		e.UpdateWatermark(time.UnixMilli(at * 1000))
	}
	return sdf.ResumeProcessingIn(5 * time.Millisecond)
}

func checkpoint(s beam.Scope) beam.PCollection {
	in := beam.WindowInto(s, window.NewFixedWindows(25*time.Second), beam.ParDo(s, &slow{}, beam.Impulse(s)))
	return beam.ParDo(s, windowLine, stats.SumPerKey(s, in))
}
