// One function for everything that the guest contract has, as guest-examples/conformance has it in Rust: the host runs the same
// scripts over both.
package main

import "thalweg"

func init() {
	thalweg.RegisterDoFn("ledger", &Ledger{})
	thalweg.RegisterDoFn("timers", &Timers{})
	thalweg.RegisterDoFn("buffer", &Buffer{})
	thalweg.RegisterDoFn("lookups", &Lookups{})
	thalweg.RegisterDoFn("total", &Total{})
	thalweg.RegisterDoFn("walks", &Walks{})
	thalweg.RegisterCombineFn("top", &Top{N: 3})
	thalweg.RegisterWindowFn("sessions", &Sessions{})
	thalweg.RegisterElementWindowFn("spans", &Spans{})
	thalweg.RegisterKeySelector("first_word", &FirstWord{})
}

func main() {}
