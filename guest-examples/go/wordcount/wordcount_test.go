package wordcount

import (
	"testing"

	"guests/internal/script"
	"thalweg"
)

func TestLinesBecomeWords(t *testing.T) {
	script.DoFn(t, "words", &Words{}, script.Output[thalweg.KV[string, int64]]("words"))
}

func TestNumbersAreSummedUp(t *testing.T) {
	script.CombineFn(t, "sum", &Sum{})
}
