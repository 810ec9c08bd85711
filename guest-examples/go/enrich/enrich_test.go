package enrich

import (
	"testing"

	"guests/internal/script"
	"thalweg"
)

func TestNamesAreAddedAndUnknownAirlinesSetApart(t *testing.T) {
	script.DoFn(t, "enrich", &Enrich{}, script.Output[Delay]("named"), script.Output[thalweg.KV[string, int64]]("unknown"))
}
