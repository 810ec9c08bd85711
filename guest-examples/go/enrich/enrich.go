// Package enrich adds the name of an airline, which a table has: it is looked up by the element's key before the call.
package enrich

import "thalweg"

// Delay is a delay in minutes with the airline's name.
type Delay struct {
	Carrier string
	Name    string
	Delay   int64
}

// Enrich adds the names. Elements whose airline the table does not know leave as they are.
type Enrich struct {
	Named    thalweg.Output[Delay]
	Unknown  thalweg.Output[thalweg.KV[string, int64]]
	Airlines thalweg.Table[string, string] `thalweg:"airlines,joined"`
}

// Process adds a name.
func (e *Enrich) Process(ctx *thalweg.Context, delay thalweg.KV[string, int64]) error {
	if name, known := e.Airlines.Joined(); known {
		e.Named.Emit(Delay{delay.Key, name, delay.Value})
	} else {
		e.Unknown.Emit(delay)
	}
	return nil
}
