// Package topk keeps the k best of a key, by a CombineFn.
package topk

import (
	"cmp"
	"slices"
	"thalweg"
)

// Scored is a name and its score.
type Scored = thalweg.KV[string, int64]

// TopK keeps the k largest scores, the largest first; of equal ones the first name.
type TopK struct {
	K int `json:"k"`
}

// Open checks the configuration.
func (t *TopK) Open() error {
	if t.K <= 0 {
		return thalweg.Fail("CONFIG", "k must be larger than 0")
	}
	return nil
}

// CreateAccumulator gives nobody.
func (t *TopK) CreateAccumulator() []Scored { return nil }

// AddInput adds somebody.
func (t *TopK) AddInput(best []Scored, one Scored) ([]Scored, error) {
	if one.Value < 0 {
		return best, thalweg.Fail("SCORE", "%d is negative", one.Value)
	}
	if best = append(best, one); len(best) > 2*t.K {
		best = t.Compact(best)
	}
	return best, nil
}

// MergeAccumulators puts two together.
func (t *TopK) MergeAccumulators(a, b []Scored) []Scored { return append(a, b...) }

// Compact drops who is not among the best.
func (t *TopK) Compact(best []Scored) []Scored {
	slices.SortFunc(best, func(a, b Scored) int {
		return cmp.Or(cmp.Compare(b.Value, a.Value), cmp.Compare(a.Key, b.Key))
	})
	return best[:min(t.K, len(best))]
}

// ExtractOutput gives the best.
func (t *TopK) ExtractOutput(best []Scored) []Scored { return t.Compact(best) }
