// Package daysessions has a WindowFn of its own that merges: sessions that end at midnight (UTC). Windows that overlap or touch become one, if they lie in the
// same day; so the result is the same in whatever order they come.
package daysessions

import "thalweg"

const day = 86_400_000

// DaySessions makes sessions within a day.
type DaySessions struct {
	GapMS int64 `json:"gap_ms"`
}

// Open checks the configuration.
func (d *DaySessions) Open() error {
	if d.GapMS <= 0 {
		return thalweg.Fail("CONFIG", "gap_ms must be larger than 0")
	}
	return nil
}

// dayOf is the number of a day since 1970; division in Go goes towards zero.
func dayOf(time thalweg.EventTime) int64 {
	number := int64(time) / day
	if int64(time)%day < 0 {
		number--
	}
	return number
}

// Assign gives a window from an element to the gap behind it, or to midnight.
func (d *DaySessions) Assign(time thalweg.EventTime) ([]thalweg.Interval, error) {
	midnight := (dayOf(time) + 1) * day
	return []thalweg.Interval{{Start: time, End: thalweg.EventTime(min(midnight, int64(time)+d.GapMS))}}, nil
}

// Merge merges the windows of a day that overlap or touch.
func (d *DaySessions) Merge(windows []thalweg.Interval) []thalweg.Merged {
	return thalweg.MergeWhere(windows, func(before, next thalweg.Interval) bool {
		return next.Start <= before.End && dayOf(next.Start) == dayOf(before.Start)
	})
}
