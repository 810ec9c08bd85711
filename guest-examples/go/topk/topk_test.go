package topk

import (
	"testing"

	"guests/internal/script"
)

func TestTheBestAreKeptInWhateverPartsTheyCome(t *testing.T) {
	script.CombineFn(t, "top_k", &TopK{K: 3})
}
