// What a function in Go sees of the machine, by questions: with capabilities, and without any.
package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"runtime"
	"thalweg"
	"time"
)

func init() {
	thalweg.RegisterDoFn("seen", &Seen{})
	thalweg.RegisterDoFn("blind", &Blind{})
}

func main() {}

// Seen asks for all there is.
type Seen struct {
	Said thalweg.Output[string]
}

// Capabilities are what it wants to see.
func (*Seen) Capabilities() []thalweg.Capability {
	return []thalweg.Capability{thalweg.Clock(), thalweg.Random(), thalweg.Env("REGION")}
}

// Process answers a question.
func (s *Seen) Process(_ *thalweg.Context, question string) error {
	return answer(question, &s.Said)
}

// Blind asks for nothing.
type Blind struct {
	Said thalweg.Output[string]
}

// Process answers a question.
func (b *Blind) Process(_ *thalweg.Context, question string) error {
	return answer(question, &b.Said)
}

func answer(question string, said *thalweg.Output[string]) error {
	switch question {
	case "year":
		said.Emit(fmt.Sprint(time.Now().UTC().Year()))
	case "clock":
		start := time.Now()
		for range 1_000_000 {
			if time.Since(start) > time.Millisecond {
				said.Emit("passes")
				return nil
			}
		}
		said.Emit("stands")
	case "garbage":
		// a collector that runs asks for the time, wherever it was woken
		for range 100 {
			runtime.KeepAlive(make([]byte, 1<<20))
		}
		runtime.GC()
		said.Emit("collected")
	case "random":
		var random [8]byte
		rand.Read(random[:])
		said.Emit(hex.EncodeToString(random[:]))
	default:
		said.Emit(fmt.Sprint(os.Getenv("REGION"), len(os.Environ())))
	}
	return nil
}
