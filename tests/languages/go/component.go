package main

import (
	"flag"
	"fmt"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/mtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/typex"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/transforms/stats"
)

var (
	component = flag.String("component", "", "a component, as the server finds it")
	expansion = flag.String("expansion", "", "host:port of the service that expands a call of a component")
)

var reflectString = reflect.TypeOf("")

func init() {
	register.Function2x0(commands)
	register.Function2x0(sentences)
	register.Function2x1(answerLine)
	register.Function2x1(wordLine)
	register.Function2x0(visits)
	register.Function3x1(spanLine)
	register.Emitter2[string, string]()
	register.Emitter3[beam.EventTime, string, int64]()
}

// call is what the service must know. The tags are its names.
type call struct {
	Component string `beam:"component"`
	Config    string `beam:"config"`
	Function  string `beam:"function"`
}

// function applies a function of the component.
func function(s beam.Scope, name string, input beam.PCollection, output beam.FullType) beam.PCollection {
	payload := beam.CrossLanguagePayload(call{Component: *component, Config: `{"from": "go"}`, Function: name})
	outputs := beam.CrossLanguage(s, "thalweg:transform:wasm:v1", payload, *expansion, beam.UnnamedInput(input), beam.UnnamedOutput(output))
	return outputs[beam.UnnamedOutputTag()]
}

func commands(_ []byte, emit func(string, string)) {
	for i := 0; i < 7; i++ {
		emit(fmt.Sprintf("k%d", i), fmt.Sprintf("sum.add %d; sum.add 10; sum.get; map.put a %d; map.get a", i, i))
	}
}

func sentences(_ []byte, emit func(string)) {
	for _, line := range []string{"to be", "or", "to do"} {
		emit(line)
	}
}

func answerLine(key, answer string) string { return key + " " + answer }

func wordLine(word string, lines func(*string) bool) string {
	n := 0
	for line := ""; lines(&line); {
		n++
	}
	return fmt.Sprintf("%s %d", word, n)
}

// wasm gives what a stateful function and a key selector of a component give.
func wasm(s beam.Scope) beam.PCollection {
	texts := typex.NewKV(typex.New(reflectString), typex.New(reflectString))
	answers := function(s, "ledger", beam.ParDo(s, commands, beam.Impulse(s)), texts)
	keyed := function(s, "first_word", beam.ParDo(s, sentences, beam.Impulse(s)), texts)
	words := beam.ParDo(s, wordLine, beam.GroupByKey(s, keyed))
	return beam.Flatten(s, beam.ParDo(s, answerLine, answers), words)
}

// visits are at 0, 4 and 8 ms for one key and at 50 ms for another.
func visits(_ []byte, emit func(beam.EventTime, string, int64)) {
	for _, ms := range []int64{0, 4, 8} {
		emit(mtime.FromMilliseconds(ms), "a", 5)
	}
	emit(mtime.FromMilliseconds(50), "b", 20)
}

func spanLine(w beam.Window, key string, n int64) string {
	i := w.(window.IntervalWindow)
	return fmt.Sprintf("%s %d %d %d", key, i.Start.Milliseconds(), i.End.Milliseconds(), n)
}

// windows sums in windows of a component: sessions, which merge, and spans, of which an element has two as long as it says.
func windows(s beam.Scope) beam.PCollection {
	in := beam.ParDo(s, visits, beam.Impulse(s))
	pairs := typex.NewKV(typex.New(reflectString), typex.New(reflect.TypeOf(int64(0))))
	var lines []beam.PCollection
	for _, name := range []string{"sessions", "spans"} {
		sums := stats.SumPerKey(s, function(s, name, in, pairs))
		lines = append(lines, beam.WindowInto(s, window.NewGlobalWindows(), beam.ParDo(s, spanLine, sums)))
	}
	return beam.Flatten(s, lines...)
}
