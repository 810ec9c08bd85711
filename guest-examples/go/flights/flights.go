// Package flights parses lines of the flights table: rows with their event time, and what cannot be used with its reason. The rules are in
// guest-examples/flights/README.md.
package flights

import (
	"fmt"
	"strconv"
	"strings"
	"thalweg"
	"time"
)

// Line is one line of the table.
type Line struct {
	Line string
	Row  int64
}

// Flight is a flight that departed.
type Flight struct {
	Carrier  string
	Origin   string
	Dest     string
	DepDelay int64 `beam:"dep_delay"`
	Distance int64
	Hour     int64
}

// DeadLetter is a line that gave no flight.
type DeadLetter struct {
	Row    int64
	Reason string
}

// Parse parses lines.
type Parse struct {
	Flights     thalweg.Output[Flight]
	DeadLetters thalweg.Output[DeadLetter]
	Cancelled   thalweg.Counter
	Malformed   thalweg.Counter
}

// Process parses a line.
func (p *Parse) Process(ctx *thalweg.Context, line Line) error {
	columns := columns{texts: strings.Split(line.Line, ",")}
	flight, at := columns.flight()
	switch columns.flaw {
	case "":
		p.Flights.EmitAt(at, flight)
		return nil
	case cancelled:
		p.Cancelled.Add(1)
	default:
		p.Malformed.Add(1)
	}
	p.DeadLetters.Emit(DeadLetter{line.Row, columns.flaw})
	return nil
}

const cancelled = "cancelled"

// columns are those of a line, and the first flaw that was found.
type columns struct {
	texts []string
	flaw  string
}

func (c *columns) flight() (flight Flight, at thalweg.EventTime) {
	if len(c.texts) != 19 {
		c.bad("row", fmt.Sprintf("expected 19 columns, found %d", len(c.texts)))
		return flight, at
	}
	if absent(c.texts[3]) {
		c.flaw = cancelled
		return flight, at
	}
	flight.DepDelay = c.whole(5, "dep_delay", -10_000, 10_000)
	flight.Carrier = c.code(9, "carrier", 2)
	flight.Origin = c.code(12, "origin", 3)
	flight.Dest = c.code(13, "dest", 3)
	flight.Distance = c.whole(15, "distance", 0, 100_000)
	flight.Hour = c.whole(16, "hour", 0, 23)
	minute := c.whole(17, "minute", 0, 59)
	return flight, c.hour(18, "time_hour") + thalweg.EventTime(minute*60_000)
}

func absent(text string) bool { return text == "" || text == "NA" }

// bad notes a flaw, unless there is one already.
func (c *columns) bad(column, why string) {
	if c.flaw == "" {
		c.flaw = "malformed: " + column + ": " + why
	}
}

func (c *columns) present(i int, column string) string {
	if absent(c.texts[i]) {
		c.bad(column, "missing")
	}
	return c.texts[i]
}

// code gives a code of some capital letters and digits.
func (c *columns) code(i int, column string, length int) string {
	text := c.present(i, column)
	other := func(r rune) bool { return (r < 'A' || r > 'Z') && (r < '0' || r > '9') }
	if len(text) != length || strings.ContainsFunc(text, other) {
		c.bad(column, "not a code")
	}
	return text
}

// whole gives a whole number in a range: an optional minus and digits.
func (c *columns) whole(i int, column string, low, high int64) int64 {
	text := c.present(i, column)
	digits := strings.TrimPrefix(text, "-")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		c.bad(column, "not a whole number")
	}
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || number < low || number > high {
		c.bad(column, "out of range")
	}
	return number
}

func (c *columns) hour(i int, column string) thalweg.EventTime {
	text := c.present(i, column)
	found, err := time.Parse("2006-01-02T15:04:05Z", text)
	if err != nil || len(text) != 20 || found.Year() < 1 {
		c.bad(column, "not a time")
	}
	return thalweg.At(found)
}
