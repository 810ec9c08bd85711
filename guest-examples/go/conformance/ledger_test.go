package main

import (
	"slices"
	"testing"
	"thalweg"
	"thalweg/thalwegtest"
)

func answers(kit *thalwegtest.Kit[thalweg.KV[string, string]], commands ...string) (found []string) {
	for _, command := range commands {
		result := kit.Run(thalwegtest.At(0, thalweg.KV[string, string]{Key: "a", Value: command}))
		for _, pair := range thalwegtest.Values[thalweg.KV[string, string]](result, "answers") {
			found = append(found, pair.Value)
		}
	}
	return found
}

func TestABagIsReadByPage(t *testing.T) {
	kit := thalwegtest.DoFn(t, &Ledger{}, "")
	found := answers(kit,
		"bag.walk; bag.add 1; bag.add 2; bag.walk; bag.add 3; bag.add 4",
		"bag.add 5; bag.walk; bag.all; bag.walk; bag.sizes 6",
		"bag.walk; bag.clear; bag.walk; bag.add x; bag.walk",
		"bag.walk")
	expected := []string{"", "1,2", "1,2,3,4,5", "1,2,3,4,5", "1,2,3,4,5", "5 of 5 bytes", "1,2,3,4,5,6", "", "x", "x"}
	if !slices.Equal(found, expected) {
		t.Fatalf("%q", found)
	}
}

func TestAWalkAsksForAPageAtATime(t *testing.T) {
	kit := thalwegtest.DoFn(t, &Ledger{}, "")
	answers(kit, "bag.add 1; bag.add 2; bag.add 3; bag.add 4; bag.add 5; bag.add 6; bag.add 7")
	before := kit.StateCalls()
	answers(kit, "bag.walk")
	if calls := kit.StateCalls() - before; calls != 3 {
		t.Fatalf("%d pages", calls)
	}
}
