package main

import (
	"slices"
	"strings"
	"testing"

	"thalweg/thalwegtest"
)

func TestALineBecomesItsWords(t *testing.T) {
	result := thalwegtest.DoFn(t, &Split{}, "").Run(thalwegtest.At(7, "to be  or"), thalwegtest.At(7, ""), thalwegtest.At(7, "not"))
	if words := thalwegtest.Values[string](result, "words"); !slices.Equal(words, []string{"to", "be", "or", "not"}) {
		t.Fatal(words)
	}
}

func TestLinesBecomeEventsAndBadOnesFailAlone(t *testing.T) {
	lines := []string{"key-1\t1700000000000\t12", "key-2\tx\t1", "key-3", "key-4\t5\t0", "key-5\t+5\t0"}
	var elements []thalwegtest.Element[string]
	for _, line := range lines {
		elements = append(elements, thalwegtest.At(0, line))
	}
	result := thalwegtest.DoFn(t, &Event{}, "").Run(elements...)
	events := thalwegtest.Elements[pair](result, "events")
	if len(events) != 2 || events[0].Time != 1_700_000_000_000 || events[1].Value != (pair{Key: "key-4"}) {
		t.Fatal(events)
	}
	failed := result.Failures()
	if len(failed) != 3 || failed[0].Failure.Code != "NUMBER" || failed[1].Failure.Code != "COLUMNS" || failed[2].Failure.Code != "NUMBER" {
		t.Fatal(failed)
	}
}

func TestCountsGoOnInTheNextBatchWithoutAStateCall(t *testing.T) {
	kit := thalwegtest.DoFn(t, &Count{}, "")
	counts := func(keys ...string) (found []int64) {
		var elements []thalwegtest.Element[pair]
		for _, key := range keys {
			elements = append(elements, thalwegtest.At(0, pair{Key: key}))
		}
		for _, one := range thalwegtest.Values[pair](kit.Run(elements...), "counts") {
			found = append(found, one.Value)
		}
		return found
	}
	if found := counts("a", "b", "a"); !slices.Equal(found, []int64{1, 2, 1}) {
		t.Fatal(found)
	}
	if found := counts("b", "a", "c"); !slices.Equal(found, []int64{3, 2, 1}) {
		t.Fatal(found)
	}
	if kit.StateCalls() != 0 {
		t.Fatal(kit.StateCalls())
	}
}

func TestDocumentsThatAreToGoOnAreChanged(t *testing.T) {
	lines := []string{`{"id": 7, "amount": 1.5, "ok": true}`, `{"id": 8, "ok": false}`, "{"}
	kit := thalwegtest.DoFn(t, &Change{}, "")
	result := kit.Run(thalwegtest.At(0, lines[0]), thalwegtest.At(0, lines[1]), thalwegtest.At(0, lines[2]))
	documents := thalwegtest.Values[pair](result, "documents")
	if len(documents) != 1 || documents[0].Value != 7 || !strings.Contains(documents[0].Key, `"amount":3`) {
		t.Error(documents)
	}
}
