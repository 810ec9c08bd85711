package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/mtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window/trigger"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/typex"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/textio"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/teststream"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/transforms/stats"
)

var words = regexp.MustCompile(`[A-Za-z0-9_']+`)

var seen = beam.NewCounter("languages", "seen")

func init() {
	register.Function2x0(extract)
	register.Function2x1(countLine)
	register.Function2x0(expand)
	register.Function2x2(timed)
	register.Function1x2(keyed)
	register.Function3x1(windowLine)
	register.Function3x1(sessionLine)
	register.Function3x1(sidesLine)
	register.Function2x1(add)
	register.Function2x1(greatest)
	register.Function1x1(sumLine)
	register.Function2x1(maxLine)
	register.Function2x0(even)
	register.Function1x1(plus100)
	register.Function3x1(cogroupLine)
	register.Function2x1(groupLine)
	register.Function1x2(oneKey)
	register.Function3x1(paneLine)
	register.Emitter1[string]()
	register.Emitter1[int64]()
	register.Iter1[int64]()
	register.Iter1[string]()
}

func extract(line string, emit func(string)) {
	for _, word := range words.FindAllString(line, -1) {
		emit(word)
	}
}

func countLine(word string, n int) string { return fmt.Sprintf("%s: %d", word, n) }

func wordcount(s beam.Scope) beam.PCollection {
	found := beam.ParDo(s, extract, textio.Read(s, *input))
	return beam.ParDo(s, countLine, stats.Count(s, found))
}

func expand(_ []byte, emit func(int64)) {
	for n := int64(0); n < 100; n++ {
		emit(n)
	}
}

func timed(ctx context.Context, n int64) (beam.EventTime, int64) {
	seen.Inc(ctx, 1)
	return mtime.FromMilliseconds(n * 1000), n
}

// The numbers from 0 to 99, each at its second.
func numbers(s beam.Scope) beam.PCollection {
	return beam.ParDo(s, timed, beam.ParDo(s, expand, beam.Impulse(s)))
}

func keyed(n int64) (string, int64) { return fmt.Sprintf("k%d", n%7), n }

func windowLine(w beam.Window, key string, n int64) string {
	return fmt.Sprintf("%d %s %d", w.(window.IntervalWindow).Start.Milliseconds()/1000, key, n)
}

func windowed(s beam.Scope) beam.PCollection {
	in := beam.WindowInto(s, window.NewFixedWindows(10*time.Second), beam.ParDo(s, keyed, numbers(s)))
	return beam.ParDo(s, windowLine, stats.SumPerKey(s, in))
}

func sessionLine(w beam.Window, key string, n int64) string {
	i := w.(window.IntervalWindow)
	return fmt.Sprintf("%s %d %d %d", key, i.Start.Milliseconds()/1000, i.End.Milliseconds()/1000, n)
}

func sessions(s beam.Scope) beam.PCollection {
	in := beam.WindowInto(s, window.NewSessions(5*time.Second), beam.ParDo(s, keyed, numbers(s)))
	return beam.ParDo(s, sessionLine, stats.SumPerKey(s, in))
}

func sidesLine(n int64, all func(*int64) bool, byKey func(string) func(*int64) bool) string {
	var total, of, one int64
	for all(&one) {
		total += one
	}
	for next := byKey(fmt.Sprintf("k%d", n%7)); next(&one); {
		of += one
	}
	return fmt.Sprintf("%d %d %d", n, total, of)
}

func sides(s beam.Scope) beam.PCollection {
	all := numbers(s)
	byKey := beam.ParDo(s, keyed, all)
	return beam.ParDo(s, sidesLine, all, beam.SideInput{Input: all}, beam.SideInput{Input: byKey})
}

func even(n int64, emit func(int64)) {
	if n%2 == 0 {
		emit(n)
	}
}

func cogroupLine(key string, left, right func(*int64) bool) string {
	var count, sum, one int64
	for left(&one) {
		count++
	}
	for right(&one) {
		sum += one
	}
	return fmt.Sprintf("%s %d %d", key, count, sum)
}

func cogroup(s beam.Scope) beam.PCollection {
	all := numbers(s)
	some := beam.ParDo(s, even, all)
	return beam.ParDo(s, cogroupLine, beam.CoGroupByKey(s, beam.ParDo(s, keyed, all), beam.ParDo(s, keyed, some)))
}

func add(a, b int64) int64 { return a + b }

func greatest(a, b int64) int64 { return max(a, b) }

func sumLine(n int64) string { return fmt.Sprintf("sum %d", n) }

func maxLine(key string, n int64) string { return fmt.Sprintf("max %s %d", key, n) }

func combine(s beam.Scope) beam.PCollection {
	all := numbers(s)
	sum := beam.ParDo(s, sumLine, beam.Combine(s, add, all))
	most := beam.ParDo(s, maxLine, beam.CombinePerKey(s, greatest, beam.ParDo(s, keyed, all)))
	return beam.Flatten(s, sum, most)
}

func plus100(n int64) int64 { return n + 100 }

func groupLine(key string, values func(*int64) bool) string {
	var count, sum, one int64
	for values(&one) {
		count++
		sum += one
	}
	return fmt.Sprintf("%s %d %d", key, count, sum)
}

func flatten(s beam.Scope) beam.PCollection {
	all := numbers(s)
	both := beam.Reshuffle(s, beam.Flatten(s, all, beam.ParDo(s, plus100, all)))
	return beam.ParDo(s, groupLine, beam.GroupByKey(s, beam.ParDo(s, keyed, both)))
}

func oneKey(word string) (string, string) { return "all", word }

func paneLine(p typex.PaneInfo, _ string, values func(*string) bool) string {
	found := []string{}
	var one string
	for values(&one) {
		found = append(found, one)
	}
	timing := []string{"EARLY", "ON_TIME", "LATE", "UNKNOWN"}[p.Timing]
	return fmt.Sprintf("%s %d %d %s", timing, p.Index, len(found), strings.Repeat("+", len(found)))
}

// Three elements in a window of ten seconds, and one that comes late.
func testStream(s beam.Scope) beam.PCollection {
	script := teststream.NewConfig()
	script.AddElements(1000, "a")
	script.AddElements(2000, "b")
	script.AddElements(3000, "c")
	script.AdvanceWatermark(10000)
	script.AddElements(4000, "d")
	script.AdvanceWatermark(12000)
	script.AdvanceWatermarkToInfinity()
	when := trigger.AfterEndOfWindow().EarlyFiring(trigger.Repeat(trigger.AfterCount(2))).LateFiring(trigger.Repeat(trigger.AfterCount(1)))
	in := beam.WindowInto(s, window.NewFixedWindows(10*time.Second), teststream.Create(s, script),
		beam.Trigger(when), beam.PanesAccumulate(), beam.AllowedLateness(20*time.Second))
	return beam.ParDo(s, paneLine, beam.GroupByKey(s, beam.ParDo(s, oneKey, in)))
}
