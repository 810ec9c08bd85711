package sessionize

import (
	"testing"

	"guests/internal/script"
	"thalweg/thalwegtest"
)

func TestSessionsLeaveWhenTheyAreOver(t *testing.T) {
	script.DoFn(t, "sessionize", &Sessionize{GapMS: 5000}, script.Output[Session]("sessions"))
}

func TestAGapOfNothingIsRefused(t *testing.T) {
	if _, err := thalwegtest.TryDoFn(t, &Sessionize{}, `{"gap_ms": 0}`); err == nil {
		t.Fatal("it was opened")
	}
}
