package daysessions

import (
	"testing"

	"guests/internal/script"
)

func TestSessionsEndAtMidnight(t *testing.T) {
	script.WindowFn(t, "day_sessions", &DaySessions{GapMS: 1_800_000})
}
