package main

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
	"thalweg"
)

// Ledger runs commands on all kinds of state: `map.put a 1`, `multi.get k`, `fail set.add x`. What is asked for comes out as a text.
type Ledger struct {
	Answers thalweg.Output[thalweg.KV[string, string]]
	Value   thalweg.Value[string]
	Sum     thalweg.Combining[Sum, int64, int64, int64] `thalweg:"sum,eager"`
	Bag     thalweg.Bag[string]
	Map     thalweg.Map[string, int64]
	Set     thalweg.Set[string]
	Multi   thalweg.Multimap[string, string]
	List    thalweg.OrderedList[string]
}

// Sum sums up.
type Sum struct{}

// CreateAccumulator gives nothing.
func (Sum) CreateAccumulator() int64 { return 0 }

// AddInput adds a number.
func (Sum) AddInput(sum, value int64) (int64, error) {
	if value > 0 && sum+value < sum || value < 0 && sum+value > sum {
		return sum, thalweg.Fail("OVERFLOW", "the sum is too large")
	}
	return sum + value, nil
}

// MergeAccumulators adds sums.
func (Sum) MergeAccumulators(a, b int64) int64 { return a + b }

// ExtractOutput gives the sum.
func (Sum) ExtractOutput(sum int64) int64 { return sum }

// Process runs the commands of an element.
func (l *Ledger) Process(ctx *thalweg.Context, element thalweg.KV[string, string]) error {
	for command := range strings.SplitSeq(element.Value, "; ") {
		command, fails := strings.CutPrefix(command, "fail ")
		words := append(strings.Split(command, " "), "", "")
		kind, verb, _ := strings.Cut(words[0], ".")
		answer, err := l.run(kind, verb, words[1], words[2])
		if err != nil {
			return err
		}
		if answer != nil {
			l.Answers.Emit(thalweg.KV[string, string]{Key: element.Key, Value: *answer})
		}
		if fails {
			return thalweg.Fail("FAIL", "as it was told")
		}
	}
	return nil
}

func unknown(verb string) error { return thalweg.Fail("COMMAND", "%q is no command", verb) }

func number(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, thalweg.Fail("NUMBER", "%q is no number", text)
	}
	return n, nil
}

func (l *Ledger) run(kind, verb, a, b string) (*string, error) {
	switch kind {
	case "map":
		return l.onMap(verb, a, b)
	case "list":
		return l.onList(verb, a, b)
	case "value", "sum", "bag":
		return l.onCells(kind, verb, a)
	case "set":
		return l.onSet(verb, a)
	case "multi":
		return l.onMultimap(verb, a, b)
	}
	return nil, unknown(kind + "." + verb)
}

func say(format string, args ...any) (*string, error) {
	text := fmt.Sprintf(format, args...)
	return &text, nil
}

func joined(values iter.Seq[string], with string) string {
	var all []string
	for value := range values {
		all = append(all, value)
	}
	return strings.Join(all, with)
}

func (l *Ledger) onMap(verb, a, b string) (*string, error) {
	switch verb {
	case "put":
		n, err := number(b)
		if err == nil {
			l.Map.Put(a, n)
		}
		return nil, err
	case "remove":
		l.Map.Remove(a)
	case "clear":
		l.Map.Clear()
	case "fetch":
		l.Map.Prefetch(a, b)
	case "has":
		return say("%v", l.Map.Has(a))
	case "get":
		if n, ok := l.Map.Get(a); ok {
			return say("Some(%d)", n)
		}
		return say("None")
	case "all":
		var all []string
		for key, n := range l.Map.All() {
			all = append(all, fmt.Sprintf("(%q, %d)", key, n))
		}
		return say("[%s]", strings.Join(all, ", "))
	default:
		return nil, unknown(verb)
	}
	return nil, nil
}

func (l *Ledger) onList(verb, a, b string) (*string, error) {
	if verb == "clear" {
		l.List.Clear()
		return nil, nil
	}
	if verb == "all" {
		return timed(l.List.All())
	}
	from, err := number(a)
	if err != nil {
		return nil, err
	}
	if verb == "add" {
		l.List.Add(thalweg.EventTime(from), b)
		return nil, nil
	}
	to, err := number(b)
	switch {
	case err != nil:
		return nil, err
	case verb == "drop":
		l.List.RemoveRange(thalweg.EventTime(from), thalweg.EventTime(to))
		return nil, nil
	case verb == "range":
		return timed(l.List.Range(thalweg.EventTime(from), thalweg.EventTime(to)))
	}
	return nil, unknown(verb)
}

func timed(values iter.Seq2[thalweg.EventTime, string]) (*string, error) {
	var all []string
	for time, text := range values {
		all = append(all, fmt.Sprintf("%d:%s", time, text))
	}
	return say("%s", strings.Join(all, ","))
}

func (l *Ledger) onCells(kind, verb, a string) (*string, error) {
	switch kind + "." + verb {
	case "value.set":
		l.Value.Set(a)
	case "value.clear":
		l.Value.Clear()
	case "value.get":
		if text, ok := l.Value.Get(); ok {
			return say("Some(%q)", text)
		}
		return say("None")
	case "sum.add":
		n, err := number(a)
		if err == nil {
			err = l.Sum.Add(n)
		}
		return nil, err
	case "sum.clear":
		l.Sum.Clear()
	case "sum.get":
		return say("%d", l.Sum.Get())
	case "bag.add":
		l.Bag.Add(a)
	case "bag.clear":
		l.Bag.Clear()
	case "bag.all":
		return say("%s", joined(l.Bag.All(), ","))
	case "bag.walk":
		return say("%s", joined(l.Bag.Walk(), ","))
	case "bag.sizes":
		count, bytes := 0, 0
		for text := range l.Bag.Walk() {
			count, bytes = count+1, bytes+len(text)
			if count == 1 {
				l.Bag.Add(a) // what is added on the way is not in the walk
			}
		}
		return say("%d of %d bytes", count, bytes)
	default:
		return nil, unknown(verb)
	}
	return nil, nil
}

func (l *Ledger) onSet(verb, a string) (*string, error) {
	switch verb {
	case "add":
		l.Set.Add(a)
	case "remove":
		l.Set.Remove(a)
	case "clear":
		l.Set.Clear()
	case "has":
		return say("%v", l.Set.Has(a))
	case "all":
		return say("%s", joined(l.Set.All(), ","))
	default:
		return nil, unknown(verb)
	}
	return nil, nil
}

func (l *Ledger) onMultimap(verb, a, b string) (*string, error) {
	switch verb {
	case "add":
		l.Multi.Add(a, b)
	case "remove":
		l.Multi.Remove(a)
	case "clear":
		l.Multi.Clear()
	case "get":
		return say("%s", joined(l.Multi.Get(a), ","))
	case "all":
		var all []string
		for key, values := range l.Multi.All() {
			all = append(all, key+":"+joined(values, "+"))
		}
		return say("%s", strings.Join(all, ","))
	default:
		return nil, unknown(verb)
	}
	return nil, nil
}
