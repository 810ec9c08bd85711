package main

import (
	"bytes"
	"slices"
	"testing"
	"thalweg"
	"thalweg/thalwegtest"
)

func TestGroupedValuesComeByPageAndMayBeWalkedOverAgain(t *testing.T) {
	var values [][]byte
	for _, length := range slices.Repeat([]int{3, 0, 2}, 7) {
		values = append(values, bytes.Repeat([]byte("x"), length))
	}
	row := func(key string, values ...[]byte) thalwegtest.Element[thalweg.KV[string, thalweg.Iter[[]byte]]] {
		return thalwegtest.At(0, thalweg.KV[string, thalweg.Iter[[]byte]]{Key: key, Value: thalweg.IterOf(values...)})
	}
	kit := thalwegtest.DoFn(t, &Walks{}, "")
	kit.PageBytes(8)
	result := kit.Run(row("a", values...), row("b", []byte("abcdef")), row("a"), row("bad", values...))
	expected := []string{
		"21 of 35 bytes, the first of 3, 21 again, 21 seen",
		"0 of 0 bytes, the first of 0, 0 again, 21 seen",
		"1 of 6 bytes, the first of 6, 1 again, 1 seen",
	}
	var texts []string
	for _, pair := range thalwegtest.Values[thalweg.KV[string, string]](result, "walked") {
		texts = append(texts, pair.Value)
	}
	if !slices.Equal(texts, expected) || len(result.Failures()) != 1 {
		t.Fatal(texts, result.Failures())
	}
}

// whole counts the values of a slice.
type whole struct{ Counts thalweg.Output[int64] }

func (w *whole) Process(_ *thalweg.Context, values []string) error {
	w.Counts.Emit(int64(len(values)))
	return nil
}

func TestASliceIsReadWholeHoweverLongItIs(t *testing.T) {
	kit := thalwegtest.DoFn(t, &whole{}, "")
	kit.PageBytes(4)
	result := kit.Run(thalwegtest.At(0, []string{"a", "bcd", "e", "fgh"}))
	if counts := thalwegtest.Values[int64](result, "counts"); !slices.Equal(counts, []int64{4}) {
		t.Fatal(counts)
	}
}
