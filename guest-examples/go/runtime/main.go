// What the runtime of Go does in a component, by commands: the clock, randomness, standard output, garbage, and all the ways in which a call goes wrong.
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"thalweg"
	"time"
)

func init() {
	thalweg.RegisterDoFn("run", &Run{})
	thalweg.RegisterDoFn("waste", &Waste{})
}

func main() {}

// Run runs the command of an element.
type Run struct {
	Said thalweg.Output[string]
}

// Process runs a command.
func (r *Run) Process(ctx *thalweg.Context, command string) error {
	switch command {
	case "clock":
		start := time.Now()
		time.Sleep(time.Hour)
		r.Said.Emit(fmt.Sprint(start.UnixMilli(), " ", time.Now().UnixMilli(), " ", time.Since(start)))
	case "random":
		var random [8]byte
		rand.Read(random[:])
		r.Said.Emit(hex.EncodeToString(random[:]))
	case "files":
		_, err := os.ReadFile("/etc/passwd")
		r.Said.Emit(fmt.Sprint(err != nil, " ", len(os.Args), " ", len(os.Environ())))
	case "print":
		fmt.Print("one ")
		fmt.Println("line \u00fc")
		os.Stderr.WriteString("bad \xff byte\nand a rest")
		ctx.Log(thalweg.Info, "logged")
	case "goroutines":
		var sum sync.WaitGroup
		parts := make([]int, 10)
		for i := range parts {
			sum.Go(func() { parts[i] = i })
		}
		sum.Wait()
		r.Said.Emit(fmt.Sprint(parts))
	default:
		return fail(command)
	}
	return nil
}

// fail goes wrong as it is told.
func fail(how string) error {
	switch how {
	case "error":
		return thalweg.Fail("TOLD", "as it was told")
	case "panic":
		var none map[string]int
		none["x"] = 1
	case "deadlock":
		select {}
	case "exit":
		os.Exit(3)
	case "goroutine":
		go func() { panic("in a goroutine") }()
		time.Sleep(time.Second)
	case "recursion":
		return fmt.Errorf("%w", fail(how))
	case "loop":
		for {
		}
	case "memory":
		var all [][]byte
		for {
			all = append(all, bytes.Repeat([]byte{1}, 1<<20))
		}
	}
	return nil
}

// Waste makes garbage while it reads state, so that the collector runs wherever it can: also where the host asks for memory.
type Waste struct {
	Found thalweg.Output[thalweg.KV[string, string]]
	Texts thalweg.Bag[string]
	Map   thalweg.Map[string, string]

	// Collections that ended between the question to the host and its answer.
	collected uint32
}

// Open has the collector begin at nearly every allocation.
func (w *Waste) Open() error {
	debug.SetGCPercent(1)
	return nil
}

// Process reads what is kept and adds a text.
func (w *Waste) Process(ctx *thalweg.Context, element thalweg.KV[string, string]) error {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	texts, pairs := w.Texts.All(), w.Map.All()
	runtime.ReadMemStats(&after)
	w.collected += after.NumGC - before.NumGC
	sum := 0
	for text := range texts {
		sum += len(strings.Repeat(text, 3))
	}
	for _, text := range pairs {
		sum += len(strings.Repeat(text, 5))
	}
	w.Texts.Add(element.Value)
	w.Map.Put(element.Value[:1], element.Value)
	w.Found.Emit(thalweg.KV[string, string]{Key: element.Key, Value: fmt.Sprint(sum, " ", w.collected > 0)})
	return nil
}
