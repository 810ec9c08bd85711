package main

import (
	"flag"
	"fmt"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/typex"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
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
	register.Emitter2[string, string]()
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
