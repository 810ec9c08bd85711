// The functions of the benchmarks in Go, as guest-examples/bench has them in Rust.
package main

import (
	"encoding/json"
	"strconv"
	"strings"
	"thalweg"
)

func init() {
	thalweg.RegisterDoFn("split", &Split{})
	thalweg.RegisterDoFn("event", &Event{})
	thalweg.RegisterDoFn("change", &Change{})
	thalweg.RegisterDoFn("count", &Count{})
	thalweg.RegisterDoFn("join", &Join{})
}

func main() {}

type pair = thalweg.KV[string, int64]

// Split is W1: a line of words in, one element per word out.
type Split struct{ Words thalweg.Output[string] }

// Process splits at spaces.
func (s *Split) Process(ctx *thalweg.Context, line string) error {
	for word := range strings.SplitSeq(line, " ") {
		if word != "" {
			s.Words.Emit(word)
		}
	}
	return nil
}

// Event is W2: a line `key<TAB>milliseconds<TAB>value` in, the pair of key and value with its event time out.
type Event struct{ Events thalweg.Output[pair] }

// Process parses a line.
func (e *Event) Process(ctx *thalweg.Context, line string) error {
	key, rest, found := strings.Cut(line, "\t")
	time, value, also := strings.Cut(rest, "\t")
	if !found || !also || strings.Contains(value, "\t") {
		return thalweg.Fail("COLUMNS", "the line does not have 3 columns")
	}
	at, good := number(time)
	n, fine := number(value)
	if !good || !fine {
		return thalweg.Fail("NUMBER", "time or value is not a whole number")
	}
	e.Events.EmitAt(thalweg.EventTime(at), pair{Key: key, Value: n})
	return nil
}

// number reads 1 to 18 digits, which cannot overflow.
func number(digits string) (int64, bool) {
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, err == nil && len(digits) <= 18 && digits[0] >= '0'
}

// Change is W3: a JSON document in; those that are ok go out with twice their amount, as the pair of text and id.
type Change struct{ Documents thalweg.Output[pair] }

type document struct {
	ID     int64    `json:"id"`
	User   string   `json:"user"`
	TS     int64    `json:"ts"`
	Page   string   `json:"page"`
	Amount float64  `json:"amount"`
	OK     bool     `json:"ok"`
	Tags   []string `json:"tags"`
}

// Process changes a document.
func (c *Change) Process(ctx *thalweg.Context, line string) error {
	var doc document
	if err := json.Unmarshal([]byte(line), &doc); err != nil {
		return thalweg.Fail("JSON", "%v", err)
	}
	if !doc.OK {
		return nil
	}
	doc.Amount *= 2
	text, err := json.Marshal(&doc)
	if err != nil {
		return thalweg.Fail("JSON", "%v", err)
	}
	c.Documents.Emit(pair{Key: string(text), Value: doc.ID})
	return nil
}

// Count is W4: counts the elements of each key; every element gives its key with the count so far.
type Count struct {
	Counts thalweg.Output[pair]
	N      thalweg.Value[int64] `thalweg:"n,eager"`
}

// Process counts an element.
func (c *Count) Process(ctx *thalweg.Context, element pair) error {
	seen := c.N.Or(0) + 1
	c.N.Set(seen)
	c.Counts.Emit(pair{Key: element.Key, Value: seen})
	return nil
}

// Join is W5: a pair of key and value in; if the table has the key, the pair of key and product goes out.
type Join struct {
	Joined  thalweg.Output[pair]
	Factors thalweg.Table[string, int64] `thalweg:"factors,joined"`
}

// Process joins.
func (j *Join) Process(ctx *thalweg.Context, element pair) error {
	if factor, known := j.Factors.Joined(); known {
		j.Joined.Emit(pair{Key: element.Key, Value: element.Value * factor})
	}
	return nil
}
