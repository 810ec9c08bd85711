// Package wordcount has what a word count needs: lines become words with 1, which a CombineFn sums up.
package wordcount

import (
	"strings"
	"thalweg"
)

// Words splits lines into words: runs of ASCII letters, digits and apostrophes, in small letters.
type Words struct {
	Words   thalweg.Output[thalweg.KV[string, int64]]
	Counted thalweg.Counter `thalweg:"words"`
}

func letter(r rune) bool {
	return r == '\'' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}

// Process splits a line.
func (w *Words) Process(ctx *thalweg.Context, line string) error {
	for word := range strings.FieldsFuncSeq(line, func(r rune) bool { return !letter(r) }) {
		w.Words.Emit(thalweg.KV[string, int64]{Key: strings.ToLower(word), Value: 1})
		w.Counted.Add(1)
	}
	return nil
}

// Sum sums up.
type Sum struct{}

// CreateAccumulator gives nothing.
func (s *Sum) CreateAccumulator() int64 { return 0 }

// AddInput adds a number.
func (s *Sum) AddInput(sum, number int64) (int64, error) { return sum + number, nil }

// MergeAccumulators adds two sums.
func (s *Sum) MergeAccumulators(a, b int64) int64 { return a + b }

// ExtractOutput gives the sum.
func (s *Sum) ExtractOutput(sum int64) int64 { return sum }
