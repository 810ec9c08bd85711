package flights

import (
	"testing"

	"guests/internal/script"
	"thalweg/thalwegtest"
)

func TestLinesBecomeFlightsOrDeadLettersWithTheirReason(t *testing.T) {
	script.DoFn(t, "parse", &Parse{}, script.Output[Flight]("flights"), script.Output[DeadLetter]("dead_letters"))
}

func TestWhatIsNoFlightIsCounted(t *testing.T) {
	result := thalwegtest.DoFn(t, &Parse{}, "").Run(thalwegtest.At(0, Line{"", 1}), thalwegtest.At(0, Line{",", 2}))
	if counted, ok := result.Metric("malformed"); !ok || counted[0] != 2 {
		t.Fatal(counted, ok)
	}
	if _, ok := result.Metric("cancelled"); ok {
		t.Fatal("none was cancelled")
	}
}
